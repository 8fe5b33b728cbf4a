"""DVC's real queue, on a repository of one stage that takes no time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.errors import UserError
from earmark.layout import Layout
from experiments import queue as queues
from experiments.queue import DvcQueue

pytestmark = pytest.mark.slow

STAGE = """\
import json, psutil, sys, time
a = json.loads(open("params.yaml").read().split(":")[1])
if a == -9:
    for process in psutil.Process().parents():
        if "queue-worker" in process.cmdline():
            process.kill()
    time.sleep(60)
if a < 0:
    sys.exit("a is negative")
json.dump({"value": a}, open("metrics/scores.json", "w"))
"""
PIPELINE = """\
stages:
  evaluate:
    cmd: python evaluate.py
    deps: [evaluate.py]
    params: [a]
    outs:
      - metrics/scores.json:
          cache: false
"""


@pytest.fixture
def layout(tmp_path, monkeypatch) -> Layout:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("DVC_")]:
        monkeypatch.delenv(name)  # of an outer `dvc repro`
    root = tmp_path / "repository"
    (root / "metrics").mkdir(parents=True)
    for name, text in {
        "evaluate.py": STAGE,
        "dvc.yaml": PIPELINE,
        "params.yaml": "a: 0\n",
        "metrics/note.txt": "so that git keeps the folder\n",
    }.items():
        (root / name).write_text(text)

    def run(*command: str) -> None:
        subprocess.run(command, cwd=root, check=True, capture_output=True)

    run("git", "init", "-q", "-b", "main")
    run("git", "config", "user.name", "test")
    run("git", "config", "user.email", "test@example.org")
    run(sys.executable, "-m", "dvc", "init", "-q")
    run(sys.executable, "-m", "dvc", "config", "core.analytics", "false")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "start")
    return Layout(root)


def test_experiments_are_queued_run_and_read_and_the_workspace_stays_as_it_was(
    layout, monkeypatch, caplog
):
    monkeypatch.setattr(queues, "POLL_SECONDS", 0.2)
    caplog.set_level("INFO", logger="experiments.queue")
    layout.params.write_text("a: 7 # the user's own\n")
    queue = DvcQueue(layout)
    queue.add({"a": 1}, {"one": (), "two": ("a=2",), "bad": ("a=-1",)})
    assert layout.params.read_text() == "a: 7 # the user's own\n"
    assert set(queue.status().values()) == {"Queued"}
    queue.add({"a": 1}, {"one": ()})  # is there already
    assert len(queue.status()) == 3

    names = ["one", "two", "bad"]
    queue.run(names, jobs=1)
    assert [queue.scores(name) for name in names] == [{"value": 1}, {"value": 2}, None]
    assert DvcQueue(layout).scores("two") == {"value": 2}
    # It was followed, not only found at its end: the workers were not waited for.
    assert "running" in caplog.text
    assert "bad: failed" in caplog.text

    queue.add({"a": 1}, {"lost": ("a=-9",)})
    queue.run(["lost"], jobs=1)
    assert queue.scores("lost") is None
    assert "lost: its worker ended before it" in caplog.text

    queue.add({"a": 1}, {"bad": ("a=3",)})  # what failed may be tried again
    queue.run(["bad"], jobs=1)
    assert queue.scores("bad") == {"value": 3}
    assert layout.params.read_text() == "a: 7 # the user's own\n"


def test_code_that_git_does_not_track_is_refused_and_changed_code_is_told_apart(layout):
    queue = DvcQueue(layout)
    before = queue.code("mine")
    (layout.root / "dvc.yaml").write_text(f"# changed\n{PIPELINE}")
    assert queue.code("mine") != before
    (layout.root / "stages").mkdir()
    (layout.root / "stages" / "new.py").touch()
    with pytest.raises(UserError, match=r"stages/new\.py: is not tracked .*`git add` it"):
        queue.add({"a": 1}, {"one": ()})


def test_a_setting_that_dvc_refuses_is_said_and_the_params_come_back(layout):
    with pytest.raises(UserError, match=r"dvc exp run --queue"):
        DvcQueue(layout).add({"a": 1}, {"one": ("b=2",)})
    assert layout.params.read_text() == "a: 0\n"
