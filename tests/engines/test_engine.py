"""A stage that waits: its choice, lines and end; with a fake engine where there is no other."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from earmark.engines import body
from earmark.engines.mailbox import Mailbox
from earmark.engines.resources import CLIP_STAGES, NETWORK_STAGES, Resources, resources_of
from earmark.engines.slurm_engine import options_of
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params.reading import read_yaml
from tests.engines.small_stage import FAKE, Waiting, ends, make_repository, nothing_is_left
from tests.processes import wait_until
from tests.source_graph import ROOT

SLURM = {"EARMARK_ENGINE": "slurm", "EARMARK_SLURM_EXECUTOR": "local", "PYTHONPATH": str(FAKE)}


def stage(root: Path, *arguments: str) -> Waiting:
    return Waiting(root, *arguments, **SLURM)


@pytest.mark.slow
def test_the_lines_and_the_end_of_a_body_are_those_of_the_stage(tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    both = [stage(root, "a", "2"), stage(root, "b", "error"), stage(root, "c", "exit3")]
    assert both[0].end() == (0, "a: begins\na: epoch 1\na: epoch 2\n")
    assert both[1].end() == (1, "b: begins\ntrain: clip 7: too short; leave it out\n")
    assert both[2].end() == (3, "c: begins\n")
    assert (root / "a.out").exists()
    assert nothing_is_left(root)


@pytest.mark.slow
def test_ctrl_c_ends_the_body_and_a_rerun_goes_on(tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    first = stage(root, "a", "1000")
    pid = first.body()
    first.interrupt()
    code, text = first.end()
    assert (code, text.splitlines()[-1]) == (130, "train: stopped; run it again to go on")
    assert ends(pid)
    assert nothing_is_left(root)
    done = int((root / "a.epochs").read_text())
    _, text = stage(root, "a", str(done + 1)).end()
    assert text.splitlines()[1] == f"a: epoch {done + 1}"


@pytest.mark.slow
def test_a_killed_stage_ends_its_body(tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    first = stage(root, "a", "1000")
    pid = first.body()
    first.kill()
    assert ends(pid)
    assert nothing_is_left(root)


@pytest.mark.slow
def test_a_work_folder_is_locked_by_the_stage_and_cleared_after_a_good_end(tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    folder = root / "work" / "a"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = stage(root, "a", "hold")
        assert first.process.stderr is not None
        lines = [first.process.stderr.readline() for _ in range(2)]
        assert f"another run trains this very model; waiting for it ({folder})\n" in lines
        assert not (folder / "checkpoint").exists()
    assert first.end()[0] == 0
    assert [path.name for path in folder.iterdir()] == ["run-1"]  # that which was to be kept
    second = stage(root, "a", "hold", "error")
    assert second.end()[0] == 1
    assert (folder / "checkpoint").exists()


@pytest.mark.slow
def test_an_unknown_engine_and_one_that_is_not_installed_end_in_one_line(tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    line = "train: EARMARK_ENGINE=dask: set it to ray or slurm, or unset it\n"
    assert Waiting(root, "a", EARMARK_ENGINE="dask").end() == (1, line)
    (root / "ray.py").write_text("raise ImportError('broken')")  # found, and of no use
    code, text = Waiting(root, "a", EARMARK_ENGINE="ray").end()
    assert (code, text) == (1, "train: ray: broken\n")


def test_no_stage_that_may_wait_imports_torch_or_mlflow() -> None:
    names = sorted(NETWORK_STAGES | CLIP_STAGES)
    imports = "; ".join(f"import stages.{name}" for name in names)
    heavy = "{'torch', 'mlflow', 'ray', 'submitit', 'earmark.engines.engine'} & set(sys.modules)"
    command = [sys.executable, "-c", f"import sys; {imports}; print({heavy})"]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "set()\n"


def test_stages_that_may_get_a_gpu_are_those_whose_results_depend_on_the_device() -> None:
    stages = read_yaml(ROOT / "dvc.yaml")["stages"].values()
    entries = [entry.get("do", entry) for entry in stages]
    asked = {
        entry["cmd"].split()[2].removeprefix("stages.")
        for entry in entries
        for params in entry.get("params", [])
        if isinstance(params, dict) and "runtime.device" in params.get("params.yaml", [])
    }
    assert asked == NETWORK_STAGES


def request(root: Path, mailbox: Mailbox, **others: Any) -> dict[str, Any]:
    return {
        "root": str(root),
        "mailbox": str(mailbox.path),
        "token": mailbox.token,
        "python": sys.executable,
        "command": ["-c", "import os; os.kill(os.getpid(), 9)"],
        "environment": {},
        "title": "train",
        "patience_seconds": 0.0,
        **others,
    }


def test_a_node_without_the_repository_or_with_a_copy_of_it_says_so(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    gone = body.run(request(tmp_path / "gone", mailbox))["problem"]
    assert f"has no folder {tmp_path / 'gone'}; let nodes share it" in gone
    other = body.run(request(tmp_path, mailbox, token="x"))["problem"]
    assert "is another copy of the repository" in other


def test_a_body_that_is_killed_is_left_to_the_engine_to_start_again(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    with pytest.raises(ChildProcessError, match="killed by SIGKILL on node"):
        body.run(request(tmp_path, mailbox))
    assert body.run(request(tmp_path, mailbox, command=["-c", "print(7)"])) == {"exit": 0}
    lines = mailbox.new_lines().splitlines()
    assert "its process ended; it goes on at" in lines[0]
    assert lines[1] == "7"


def test_a_mailbox_of_a_dead_stage_is_removed_and_one_of_a_living_stage_stays(
    tmp_path: Path,
) -> None:
    first = Mailbox(tmp_path)
    dead = tmp_path / "engine" / "dead"
    dead.mkdir()
    (dead / "owner").touch()
    second = Mailbox(tmp_path)
    assert sorted(dead.parent.iterdir()) == sorted([first.path, second.path])


def test_a_line_is_shown_once_it_is_whole(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    with (mailbox.path / "log").open("w") as log:
        log.write("one\ntw")
        log.flush()
        assert mailbox.new_lines() == "one\n"
        log.write("o\nthree")
        log.flush()
        assert mailbox.new_lines() == "two\n"
        assert mailbox.new_lines(is_last=True) == "three"


def needs(stage: str, *, device: str = "cpu", arguments: dict[str, str] | None = None) -> Any:
    runtime = SimpleNamespace(threads=3, workers=5, device=device)
    params: Any = SimpleNamespace(runtime=runtime)
    return resources_of(stage, arguments or {}, params, Layout.here())


def test_what_a_stage_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert needs("plan") is None
    assert needs("decode") == Resources(5, 0.0, 5 * 10**9)
    assert needs("embed") == Resources(3, 0.0, 2 * 10**9)
    assert needs("train", device="cuda").gpus == 1.0
    assert needs("train", device="auto").gpus is None
    (tmp_path / "data/features/logmel").mkdir(parents=True)
    (tmp_path / "data/features/logmel/rows.npy").write_bytes(bytes(1000))
    assert needs("train", arguments={"group": "logmel"}).memory_bytes == 2 * 10**9 + 1000
    monkeypatch.setenv("EARMARK_ENGINE_GPUS", "0.25")
    monkeypatch.setenv("EARMARK_ENGINE_MEMORY_GB", "1.5")
    assert needs("train", device="auto") == Resources(3, 0.25, 1_500_000_000)
    assert needs("train").gpus == 0.0
    monkeypatch.setenv("EARMARK_ENGINE_GPUS", "-1")
    with pytest.raises(UserError, match="EARMARK_ENGINE_GPUS=-1: set it to a number from 0 on"):
        needs("train", device="cuda")


def test_what_slurm_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"title": "train a-0", "resources": Resources(3, 0.25, 2_100_000_000).as_dict()}
    monkeypatch.setenv("EARMARK_SLURM_PARTITION", "gpu")
    monkeypatch.setenv("EARMARK_SLURM_MINUTES", "90")
    monkeypatch.setenv("EARMARK_SLURM_OPTIONS", "qos=long gres=gpu:h200:1")
    assert options_of(asked) == {
        "name": "earmark-train-a-0",
        "cpus_per_task": 3,
        "timeout_min": 90,
        "mem_gb": 3,
        "gpus_per_node": 1,
        "slurm_partition": "gpu",
        "slurm_additional_parameters": {"qos": "long", "gres": "gpu:h200:1"},
    }
    monkeypatch.setenv("EARMARK_SLURM_OPTIONS", "qos")
    with pytest.raises(UserError, match="write `name=value name=value`"):
        options_of(asked)
    monkeypatch.setenv("EARMARK_SLURM_MINUTES", "1.5")
    with pytest.raises(UserError, match="a whole number from 1 on"):
        options_of(asked)


def test_a_body_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """As a worker of Ray that is killed, from the body's very first moment on."""
    mailbox = Mailbox(tmp_path)
    pid_file = tmp_path / "pid"
    sleep = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    asked = request(tmp_path, mailbox, command=["-c", sleep])
    worker = os.fork()
    if not worker:
        body.run(asked)
        os._exit(0)
    assert wait_until(lambda: pid_file.exists() and bool(pid_file.read_text()))
    os.kill(worker, 9)
    os.waitpid(worker, 0)
    assert ends(int(pid_file.read_text()))
