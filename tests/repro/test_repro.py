"""`python -m earmark repro --jobs N` on a small graph of DVC: the promises of its help."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from earmark.params.reading import read_yaml
from tests.processes import children_of, is_running, wait_until
from tests.source_graph import ROOT

pytestmark = pytest.mark.slow

DVC = [sys.executable, "-m", "dvc"]
# A stage: waits until a file `wait` is gone, fails if there is a file `fail_NAME`, and counts its
# runs outside of what DVC tracks.
WORK = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, os.environ["SOURCES"])
from earmark.interrupts import raise_again
from earmark.processes import die_with_parent
die_with_parent()
raise_again()
name, *deps = sys.argv[1:]
with open(f"runs_{name}", "a") as runs:
    print(os.getpid(), os.environ.get("DVC_EXP_NAME"), file=runs)
while Path("wait").exists() and name in ("a", "b"):
    together = [Path(f"runs_{one}").exists() for one in "ab"]
    if all(together):
        Path("met").touch()
    time.sleep(0.02)
if Path(f"fail_{name}").exists():
    sys.exit(f"train: {name}.wav: cannot be read")
seed = [line for line in Path("params.yaml").read_text().splitlines() if line.startswith("seed:")]
text = name + seed[0].split()[1] + "".join(Path(dep).read_text() for dep in deps)
Path(f"out_{name}").write_text(text)
"""
ABOVE = {
    "decode": [], "plan": ["decode"], "a": ["decode"], "b": ["decode"],
    "ensemble": ["a", "b", "plan"], "evaluate": ["ensemble"], "audit": ["decode"],
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "work.py").write_text(WORK)
    stages = {
        "code": {
            "cmd": "echo {} > code.json", "deps": ["work.py"],
            "outs": [{"code.json": {"cache": False}}],
        }
    }  # fmt: skip
    stages |= {
        name: {
            "cmd": " ".join([sys.executable, "work.py", name, *(f"out_{one}" for one in above)]),
            "deps": ["code.json", *(f"out_{one}" for one in above)],
            "params": ["seed", *(["runtime.threads"] if name in "ab" else [])],
            "outs": [f"out_{name}"],
        }
        for name, above in ABOVE.items()
    }
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    (tmp_path / ".gitignore").write_text("runs_*\nout_*\nwait\nmet\nfail_*\n/.earmark/\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in ([*git, "init", "-q"], [*DVC, "init", "-q"], [*git, "add", "."]):
        subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "start"], cwd=tmp_path, check=True)
    return tmp_path


def start(workspace: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "SOURCES": str(ROOT), "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "earmark", "repro", *arguments],
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def repro(workspace: Path, *arguments: str) -> tuple[int, str]:
    process = start(workspace, arguments)
    output = process.communicate(timeout=300)[0]
    return process.returncode, output


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Wait while a run goes on; if it ends before, or takes too long, show what it printed."""
    wait_until(lambda: condition() or process.poll() is not None, seconds=120)
    if not condition():
        process.kill()
        pytest.fail(process.communicate()[0])


def runs(workspace: Path) -> dict[str, int]:
    logs = {name: workspace / f"runs_{name}" for name in ABOVE}
    return {name: len(log.read_text().splitlines()) for name, log in logs.items() if log.exists()}


def test_stages_run_together_a_failed_one_stops_no_other_and_dvc_has_nothing_left_to_do(
    workspace: Path,
) -> None:
    for name in ("wait", "fail_b"):
        (workspace / name).touch()
    process = start(workspace, ["--jobs", "3"])
    wait_for(process, (workspace / "met").exists)  # a and b run at the same time
    (workspace / "wait").unlink()
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert "b: FAILED" in output
    assert "train: b.wav: cannot be read" in output
    assert "failed: b; 2 that need them were not run" in output
    assert (workspace / "out_a").exists()
    assert (workspace / "out_audit").exists()
    assert not (workspace / "out_ensemble").exists()

    (workspace / "fail_b").unlink()
    code, output = repro(workspace, "--jobs", "3")
    assert code == 0, output
    assert "FAILED" not in output
    assert runs(workspace) == dict.fromkeys(ABOVE, 1) | {"b": 2}
    assert "Data and pipelines are up to date" in output  # the last `dvc repro` ran nothing


def test_stages_that_are_named_run_with_what_they_read_from_and_no_other(workspace: Path) -> None:
    code, output = repro(workspace, "--jobs", "2", "plan", "a")
    assert code == 0, output
    assert runs(workspace) == {"decode": 1, "plan": 1, "a": 1}

    code, output = repro(workspace, "--jobs", "2", "-S", "seed=5", "a")
    assert code == 0, output
    assert runs(workspace) == {"decode": 2, "plan": 1, "a": 2}


def test_a_killed_run_leaves_no_process_and_its_values_of_s_go_on_in_the_next(
    workspace: Path,
) -> None:
    params = (workspace / "params.yaml").read_text()
    values = ["--jobs", "2", "-S", "seed=77", "-n", "other-seed"]
    (workspace / "wait").touch()
    process = start(workspace, values)
    wait_for(process, (workspace / "met").exists)
    below = _descendants(process.pid)
    assert len(below) >= 4  # two of dvc, two stages
    process.kill()
    process.wait()
    assert wait_until(lambda: not any(is_running(pid) for pid in below), seconds=20)
    assert read_yaml(workspace / "params.yaml")["seed"] == 77

    process = start(workspace, values)
    wait_for(process, lambda: [runs(workspace).get(one) for one in "ab"] == [2, 2])
    below = _descendants(process.pid)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "stopped; run it again to go on" in output
    assert "Traceback" not in output
    assert not any(is_running(pid) for pid in below)
    assert (workspace / "params.yaml").read_text() == params  # as it was, to the letter

    (workspace / "wait").unlink()
    code, output = repro(workspace, *values)
    assert code == 0, output
    assert (workspace / "out_evaluate").read_text().startswith("evaluate77")
    assert read_yaml(workspace / "params.yaml")["seed"] == 77  # as `dvc exp run -S` leaves it
    assert (workspace / "runs_a").read_text().splitlines()[-1].endswith(" other-seed")
    assert runs(workspace)["decode"] == 1
    named = subprocess.run(
        [*DVC, "exp", "list", "--name-only"], cwd=workspace, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert named.stdout.split() == ["other-seed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-S", "sed=1"], "-S sed=1: "),
        (["-S", "seed=many"], "seed"),
        (["-n", "name"], "--name: names an experiment, and there is one with -S alone"),
        (["-S", "seed=3", "-n", "a b"], "--name 'a b': no name that git can have"),
        (["ensembel"], "dvc: Stage 'ensembel' not found inside 'dvc.yaml' file\n"),
        (["-S", "seed=3", "-n", "a/b"], "--name 'a/b': no name that git can have"),
    ],
)
def test_wrong_values_are_one_line_and_change_nothing(
    workspace: Path, arguments: list[str], message: str
) -> None:
    params = (workspace / "params.yaml").read_text()
    code, output = repro(workspace, "--jobs", "2", *arguments)
    assert code == 1
    assert message in output
    assert "Traceback" not in output
    assert (workspace / "params.yaml").read_text() == params
    assert not list(workspace.glob("runs_*"))


@pytest.mark.parametrize("arguments", [["--together"], ["--jobs", "2", "--together"]])
def test_one_process_is_for_several_jobs_of_this_machine(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    if len(arguments) > 1:
        monkeypatch.setenv("EARMARK_ENGINE", "ray")
    expected = "--together: is for several --jobs on this machine, without EARMARK_ENGINE\n"
    assert repro(workspace, *arguments) == (2, expected)


def test_what_dvc_says_of_stage_code_is_shown(workspace: Path) -> None:
    (workspace / ".git").rename(workspace / "not_git")
    code, output = repro(workspace, "--jobs", "2")
    assert code == 1
    assert "not a git repository" in output
    assert "stage `code` failed; fix that, and run it again" in output
    assert "Traceback" not in output


def _descendants(pid: int) -> list[int]:
    children = children_of(pid)
    return children + [one for child in children for one in _descendants(child)]


@pytest.mark.parametrize("missing", ["params.yaml", "dvc.yaml"])
def test_elsewhere_it_says_what_is_missing_before_any_work(tmp_path: Path, missing: str) -> None:
    for name in {"params.yaml", "dvc.yaml"} - {missing}:
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(
        [sys.executable, "-m", "earmark", "repro", "--jobs", "2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    fix = "go to the folder of the pipeline"
    assert (done.returncode, done.stderr) == (2, f"no {missing} in {tmp_path}; {fix}\n")
    assert not (tmp_path / ".earmark").exists()
