# Everything that a fresh machine with a Python from 3.11 to 3.14 needs is set up by these targets; each
# says what it does, and doing it twice does nothing. GNU make 3.81 and bash 3.2, of macOS, suffice.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro test quick lint ci bench experiments docs mlflow wheel setup lock

repro: setup ## run the pipeline of params.yaml to its metrics and report; JOBS=2: two stages at a time
	@python -m earmark validate --params-only >/dev/null
	@python -m stages.code # where another sox is here, what it made is stale: no reason to refuse
	python -m earmark validate
	python -m earmark repro --jobs $(or $(JOBS),1)

# Two processes of one thread each: two of two threads slow each other down. They take the files in the
# order of tests/conftest.py, the longest first. Bytecode is kept even where the shell forbids it: the
# tests start hundreds of processes, each of which would compile the sources again.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE= python -m pytest -n 2 \
  --dist loadfile --no-loadscope-reorder

test: setup lint ## all tests, one real pipeline included
	$(PYTEST)

quick: setup lint ## the unit tests alone
	$(PYTEST) -m "not slow"

lint: setup ## what the hooks of .pre-commit-config.yaml run before each commit
	ruff check .
	ruff format --check .
	mypy

ci: test ## what pull requests pass: tests, the gate, and a retrain of a small profile
	.ci/gate
	.ci/retrain

bench: setup ## preparation and training step beside the usual ways, into docs/performance.md
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python -m benchmarks

experiments: setup ## what differs between experiments: params and the figures of metrics/summary.json
	dvc exp show --only-changed --drop '.*/|(earmark|stages|requirements.txt)$$'

docs: setup ## the API reference of docs/api.txt, as pages in docs/api/
	python -m pdoc --docformat google --no-show-source -o docs/api \
	  $$(grep -oE '^[a-z_.]+' docs/api.txt | sort -u)
	@echo "docs: see docs/api/index.html"

mlflow: setup ## the MLflow page of this repository's runs, or of MLFLOW_TRACKING_URI
	@uri="$$(python -m earmark mlflow-uri)" || exit 1; \
	case "$$uri" in http*|databricks*) echo "mlflow: open $$uri"; exit 0;; esac; \
	echo "mlflow: open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"; \
	export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_BACKEND_STORE_URI="$${MLFLOW_TRACKING_URI:-$$uri}"; \
	mlflow ui # its address stands in the environment: arguments show in ps, passwords too

wheel: setup ## the package that uses exported taggers, into dist/
	uv build --quiet --wheel --no-build-isolation --out-dir dist
	@echo "wheel: pip install $$(ls -t dist/*.whl | head -1)"

setup: ## .venv of what requirements.txt pins, and the sox program
	@.ci/setup

lock: ## requirements.txt out of requirements.in: pins that still fit stay; .ci's own likewise
	uv pip compile $(LOCK) requirements.in -o requirements.txt
	printf 'ray\nsubmitit\n' | uv pip compile $(LOCK) -c requirements.txt - -o requirements-cluster.txt
	uv pip compile $(LOCK) --no-deps .ci/requirements.in -o .ci/requirements.txt

LOCK := --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
  --no-annotate --custom-compile-command "make lock"
