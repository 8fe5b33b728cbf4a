"""What CI may do and whom it trusts, and how a retrain is compared."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.source_graph import ROOT

SETUP = ROOT / ".github/actions/setup/action.yml"


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


WORKFLOW = read(ROOT / ".github/workflows/ci.yml")
JOBS = WORKFLOW["jobs"]
STEPS = [*(step for job in JOBS.values() for step in job["steps"]), *read(SETUP)["runs"]["steps"]]


def test_every_action_of_others_is_pinned_by_its_commit():
    used = {step["uses"] for step in STEPS if "uses" in step}
    assert len(used) >= 3
    for name in used - {"./.github/actions/setup"}:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name), name


def test_the_tests_run_on_the_oldest_and_the_newest_python_and_set_up_on_macos():
    tested, installed = (JOBS[job]["strategy"]["matrix"]["python"] for job in ("test", "install"))
    assert tested == installed == ["3.11", "3.14"]
    assert installed[0] == read(SETUP)["inputs"]["python"]["default"], "other jobs find its cache"
    assert JOBS["macos"]["runs-on"].startswith("macos")


def test_every_job_has_its_own_rights_and_a_time_limit():
    assert WORKFLOW["permissions"] == {}
    for name, job in JOBS.items():
        assert 0 < job["timeout-minutes"] <= 60, name
        writes = {key for key, right in job["permissions"].items() if right == "write"}
        assert writes == ({"pull-requests"} if name == "comment" else set()), name
    assert not any("uses" in step for step in JOBS["comment"]["steps"]), "no code of the branch"


def test_runs_of_main_are_not_cancelled_and_those_of_a_pull_request_are():
    concurrency = WORKFLOW["concurrency"]
    assert concurrency["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"
    assert "github.sha" in concurrency["group"], "two pushes to main do not wait for each other"


def test_a_fork_without_secrets_skips_what_needs_them_with_a_notice():
    with_secrets = [name for name, job in JOBS.items() if "secrets." in json.dumps(job)]
    assert with_secrets == ["gate"]
    notice, *others = JOBS["gate"]["steps"]
    assert "::notice::" in notice["run"]
    assert notice["if"] == "env.CAN_READ != 'true'"
    assert all(step["if"] == "env.CAN_READ == 'true'" for step in others)


def test_no_shell_line_has_an_expression_of_the_workflow_put_into_it():
    """A branch may be named so that it would run as a command."""
    scripts = [step["run"] for step in STEPS if "run" in step]
    assert len(scripts) >= 8
    for script in scripts:
        assert "${{" not in script, script
        subprocess.run(["bash", "-n", "-c", script], check=True)


@pytest.fixture
def compare():
    spec = importlib.util.spec_from_file_location("compare", ROOT / ".ci/compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOLERANCE = {"scores": 0.05, "curves": {"others": 0.01, "samplecnn": 0.1}}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """What a retrain of one model and one fold leaves behind, and its expected figures."""
    (tmp_path / "metrics").mkdir()
    write_scores(tmp_path, out_of_fold=0.7)
    (tmp_path / "data/training").mkdir(parents=True)
    write_curve(tmp_path, [2.0, 1.5, 1.2])
    (tmp_path / "expected.json").write_text(json.dumps({"tolerance": TOLERANCE, "why": "tests"}))
    return tmp_path


def write_scores(workspace: Path, *, out_of_fold: float) -> None:
    of_test = {"all": {"map_at_3": {"value": 0.8}}}
    of_one = {"out_of_fold": {"map_at_3": {"value": out_of_fold}}, "test": of_test}
    scores = {"ensemble": of_one, "models": {"densenet": of_one}}
    (workspace / "metrics/scores.json").write_text(json.dumps(scores))


def write_curve(
    workspace: Path, train_loss: list[float], *, name: str = "densenet", rate: float = 0.001
) -> None:
    curve = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": train_loss, "validation_loss": 1.0})
    curve["learning_rate"] = rate
    curve.to_csv(workspace / "data/training" / f"{name}-0.csv", index=False)


def test_a_recorded_retrain_equals_itself_and_keeps_its_tolerances(compare, workspace: Path):
    expected = workspace / "expected.json"
    assert compare.main(expected, workspace, is_recorded=True) == 0
    recorded = json.loads(expected.read_text())
    assert recorded["tolerance"] == TOLERANCE
    assert recorded["scores"]["densenet/out_of_fold/map_at_3"] == 0.7
    assert len(recorded["scores"]) == 4
    assert recorded["curves"]["densenet-0/2/train_loss"] == 1.5
    assert len(recorded["curves"]) == 6, "two epochs"
    assert compare.main(expected, workspace, is_recorded=False) == 0


def test_scores_curves_and_lost_trainings_beyond_the_tolerance_are_off(
    compare, workspace: Path, capsys
):
    expected = workspace / "expected.json"
    compare.main(expected, workspace, is_recorded=True)
    write_curve(workspace, [2.019, 1.52, 9.0])  # the third epoch is not compared
    assert compare.main(expected, workspace, is_recorded=False) == 1
    line = "densenet-0/2/train_loss: 1.52, expected 1.5 +- 0.015  OFF"
    assert line in capsys.readouterr().out.splitlines()
    write_curve(workspace, [2.0, float("nan"), 1.2])
    assert compare.main(expected, workspace, is_recorded=False) == 1
    write_curve(workspace, [2.0, 1.5, 1.2])
    write_scores(workspace, out_of_fold=0.76)
    assert compare.main(expected, workspace, is_recorded=False) == 2
    (workspace / "data/training/densenet-0.csv").unlink()
    assert compare.main(expected, workspace, is_recorded=False) == 8


def test_a_network_has_its_own_tolerance_and_the_learning_rate_none(compare, workspace: Path):
    expected = workspace / "expected.json"
    write_curve(workspace, [2.0, 1.5, 1.2], name="samplecnn")
    compare.main(expected, workspace, is_recorded=True)
    write_curve(workspace, [2.0, 1.6, 1.2], name="samplecnn")
    assert compare.main(expected, workspace, is_recorded=False) == 0
    write_curve(workspace, [2.0, 1.6, 1.2], name="samplecnn", rate=0.001001)
    assert compare.main(expected, workspace, is_recorded=False) == 2
