# Everything a fresh Debian machine with Python 3.11 needs is set up by these targets; each says what
# it does, and doing it twice does nothing.
SHELL := /bin/bash
PYTHON ?= python3.11
APT := $(if $(filter 0,$(shell id -u)),,sudo) apt-get
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro test quick lint ci experiments docs mlflow setup

repro: setup ## run the pipeline of params.yaml to its metrics and report
	python -m earmark validate
	dvc repro

# Two processes of one thread each: two of two threads slow each other down.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python -m pytest -n 2 --dist loadfile

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

setup: .venv/.installed
	@command -v sox >/dev/null || { echo "setup: installing the sox program"; \
	  $(APT) update -q && $(APT) install -y -q sox; }

# An index with a CPU build of torch makes .venv 1.5 GB, and CUDA's libraries are left out then.
EARMARK_TORCH_INDEX ?=
PIP_SOURCE := $(if $(EARMARK_TORCH_INDEX),--extra-index-url $(EARMARK_TORCH_INDEX) \
  -r <(grep -vE '^(cuda-|nvidia-|triton)' requirements.txt),-r requirements.txt)

.venv/.installed: requirements.txt
	@echo "setup: installing requirements.txt into .venv (about 5 GB with torch's CUDA build)"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "setup: installing python3-venv"; $(APT) install -y -q python3-venv; $(PYTHON) -m venv .venv; }
	.venv/bin/python -m pip install -q --disable-pip-version-check $(PIP_SOURCE)
	@touch $@
	@echo "setup: done"
