"""What a stage loads before its work begins: seconds of each of a hundred stages."""

import json
import subprocess
import sys

import pytest

from tests.source_graph import ROOT, sources

pytestmark = pytest.mark.slow  # starts each stage's Python

STAGES = [path.stem for path in sources("stages") if path.name != "__init__.py"]
# Each takes from a tenth of a second to three.
HEAVY = ["torch", "torchaudio", "mlflow", "sklearn", "cleanlab", "librosa", "numba", "matplotlib"]
HEAVY += ["rich", "typer", "onnxruntime", "sympy", "scipy.stats", "scipy.signal", "scipy.optimize"]
HEAVY += ["pandera", "jinja2", "pandas", "pyarrow", "numpy"]
TABLES = {"pandas", "pyarrow", "numpy"}
# What the stages load beside tables, and need for every clip, tag or page.
ALSO = {
    "demo": {"scipy.signal", "scipy.stats", "scipy.optimize"},
    "decode": {"pandera"},
    "evaluate": {"jinja2"},
    "audit": {"jinja2"},
}
# These load their work when they are set up.
NOTHING = {"check_labels", "code", "finetune", "train"}
LOADED = """
import importlib, json, os, sys
import stages
read, write = os.pipe()
for name in {modules}:
    if not os.fork():
        importlib.import_module(name)
        line = json.dumps([name, [one for one in {heavy} if one in sys.modules]])
        os.write(write, line.encode() + b"\\n")
        os._exit(0)
    if os.wait()[1]:
        sys.exit(name)
os.close(write)
print(open(read).read(), end="")
"""


def loaded_by(modules: list[str]) -> dict[str, set[str]]:
    """What of the heavy libraries is there after each module is imported in a process of its own,
    which begins with what all stages load.
    """
    code = LOADED.format(modules=modules, heavy=[*HEAVY, "torch._dynamo", "scipy"])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name: set(found) for name, found in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    return loaded_by([f"stages.{name}" for name in STAGES])


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_loads_no_library_that_it_may_not_need(loaded, name):
    allowed = set() if name in NOTHING else TABLES | ALSO.get(name, set())
    assert loaded[f"stages.{name}"] - {"scipy"} - allowed == set()


def test_a_training_loads_torch_and_none_of_what_only_some_need():
    (found,) = loaded_by(["earmark.training.run"]).values()
    assert found - TABLES == {"torch"}


def test_what_stage_evaluate_asks_of_trained_networks_is_read_without_torch():
    (found,) = loaded_by(["earmark.ensemble.network_folders"]).values()
    assert found <= TABLES


def test_the_check_of_params_builds_networks_and_makes_no_sounds():
    (found,) = loaded_by(["earmark.settings.validation"]).values()
    assert found - TABLES - {"scipy"} == {"torch"}


def test_the_command_line_and_its_help_load_no_library_but_their_own():
    (found,) = loaded_by(["earmark.__main__"]).values()
    assert found <= {"typer"}


def test_an_optimiser_of_ours_steps_without_the_compiler_of_torch():
    code = (
        "import sys, torch; from earmark.training.optimizers import _without_compiler as plain\n"
        "for one in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):\n"
        "    p = torch.nn.Parameter(torch.ones(3)); p.grad = torch.ones(3)\n"
        "    optimizer = plain(one)([p], lr=0.1); optimizer.step(); optimizer.zero_grad()\n"
        "    optimizer.load_state_dict(optimizer.state_dict())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
