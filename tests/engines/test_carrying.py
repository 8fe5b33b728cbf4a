"""Bodies on nodes that share no folder: what goes there, what comes back, and what is left."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from earmark.engines import carrying
from earmark.engines.carrying import FOLDER, Files, carried
from earmark.engines.mailbox import Mailbox
from earmark.engines.parcel import CARRIED_STAGES, CARRY, carried_beside, parcel_of, put_into_place
from earmark.engines.resources import NETWORK_STAGES
from earmark.errors import UserError
from earmark.params import Params
from earmark.params.reading import parse_params, read_yaml
from tests.source_graph import ROOT

# Doubles what it reads, and counts in `.earmark` how often it was started.
COMMAND = """
import os, signal, sys
from pathlib import Path
assert not Path("data/other").exists()
begun = Path(".earmark/begun")
n = int(begun.read_text()) + 1 if begun.exists() else 1
begun.write_text(str(n))
print("start", n, flush=True)
if sys.argv[1:] == ["killed"] and n == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1:] == ["fails"]:
    sys.exit(3)
Path("models/a").mkdir(parents=True)
Path("models/a/weights").write_bytes(2 * Path("data/x/rows").read_bytes())
Path("curve.csv").write_text("epoch\\n")
"""


class Counting(Files):
    """Files that know how much of them was sent."""

    n_bytes = 0

    def read(self, path: str, start: int) -> bytes:
        data = super().read(path, start)
        self.n_bytes += len(data)
        return data


class Place:
    """A repository, a node, and a stage that waits."""

    def __init__(self, folder: Path) -> None:
        self.root, self.node = folder / "repository", folder / "node"
        for name in ("x", "other"):
            (self.root / "data" / name / "__pycache__").mkdir(parents=True)
            (self.root / "data" / name / "__pycache__" / "no.pyc").touch()
        (self.root / "data" / "x" / "rows").write_bytes(b"abcde")
        (self.root / "data" / "x" / "empty").touch()
        (self.root / "params.yaml").write_text("a: 1\n")
        self.mailbox = Mailbox(self.root / ".earmark")
        reads, writes = ["data/x", "params.yaml"], ["models/a", "curve.csv"]
        self.files = Counting(str(self.root), str(self.mailbox.path), reads, writes)

    def run(self, *arguments: str) -> dict[str, Any]:
        request = {
            "host": "here", "root": str(self.root), "mailbox": str(self.mailbox.path),
            "token": self.mailbox.token, "title": "train a", "python": sys.executable,
            "command": ["-c", COMMAND, *arguments], "environment": {},
        }  # fmt: skip
        result = carried(request, self.files)
        if result == {"exit": 0}:
            put_into_place({**request, "writes": self.files.outs()})
        return result

    def left(self) -> list[str]:
        return [path.name for path in self.node.glob("*/bodies/*")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(carrying, "CHUNK_BYTES", 2)
    monkeypatch.setenv(FOLDER, str(tmp_path / "node"))
    return Place(tmp_path)


def test_outs_and_lines_come_back_and_what_was_sent_stays_for_the_next_body(place: Place) -> None:
    (place.root / "models" / "a").mkdir(parents=True)
    (place.root / "models" / "a" / "of_before").touch()
    assert place.run() == {"exit": 0}
    assert (place.root / "models" / "a" / "weights").read_bytes() == b"abcdeabcde"
    assert [path.name for path in (place.root / "models" / "a").iterdir()] == ["weights"]
    assert (place.root / "curve.csv").read_text() == "epoch\n"
    assert place.mailbox.new_lines() == "start 1\n"
    assert place.files.n_bytes == len("abcde") + len("a: 1\n")
    assert place.left() == []
    assert not (place.root / ".earmark" / "begun").exists()

    (place.root / "data" / "x" / "rows").write_bytes(b"vwxyz")
    assert place.run() == {"exit": 0}
    assert (place.root / "models" / "a" / "weights").read_bytes() == b"vwxyzvwxyz"
    assert place.files.n_bytes == 2 * len("abcde") + len("a: 1\n")  # what changed was sent again


def test_a_killed_body_is_started_again_with_its_work_in_progress(place: Place) -> None:
    with pytest.raises(ChildProcessError, match="it was killed by SIGKILL on node "):
        place.run("killed")
    assert place.left() == []
    assert place.run("killed") == {"exit": 0}
    lines = place.mailbox.new_lines().splitlines()
    assert lines[0] == "start 1"
    assert lines[1].startswith("train a: its process ended; it goes on at ")
    assert lines[2] == "start 2"


def test_of_a_stage_that_fails_no_out_comes_back(place: Place) -> None:
    assert place.run("fails") == {"exit": 3}
    assert place.mailbox.new_lines() == "start 1\n"
    assert not (place.root / "models").exists()


def test_nobody_works_for_a_stage_that_is_gone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "COMMAND", "import time; time.sleep(100)")
    begin, start = place.files.begin, time.monotonic()

    def begin_and_go(title: str, node: str) -> list[carrying.File]:
        files = begin(title, node)
        place.mailbox.remove()
        return files

    place.files.begin = begin_and_go  # type: ignore[method-assign]
    assert place.run() == {"problem": "the stage that waited for it is gone"}
    assert time.monotonic() - start < 50
    assert place.left() == []


def test_a_disk_that_refuses_is_one_line_with_the_node(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(place.root / "params.yaml"))
    (name, problem), *others = place.run().items()
    assert (name, others) == ("problem", [])
    assert problem.startswith(f"node {os.uname().nodename}: ")
    assert str(place.root / "params.yaml") in problem


def test_what_nobody_read_for_a_week_and_what_killed_workers_left_is_removed(place: Place) -> None:
    assert place.run() == {"exit": 0}
    home = next(place.node.iterdir())
    old, other = home / "copies" / "old", home / "bodies" / "dead"
    old.touch()
    os.utime(old, (0, 0))
    other.mkdir()
    other.with_suffix(".owner").touch()
    other.with_suffix(".log").touch()
    assert place.run() == {"exit": 0}
    assert not old.exists()
    assert place.left() == []
    assert len(list((home / "copies").iterdir())) == 3  # those of now


def params() -> Params:
    found, problems = parse_params(read_yaml(ROOT / "params.yaml"), "params.yaml")
    assert found is not None, problems
    return found


def test_the_parcel_of_a_stage_is_what_dvc_yaml_says_and_its_code() -> None:
    request = {
        "root": str(ROOT), "environment": {"DVC_STAGE": "train_logmel128@compact-0"},
        "carries": ["earmark", "weights.safetensors"],
    }  # fmt: skip
    found = parcel_of(request)
    deps = {"data/features/logmel128", "data/folds.parquet", "data/rounds"}
    assert set(found["reads"]) == {
        *deps,
        "params.yaml",
        "code.json",
        "earmark",
        "weights.safetensors",
    }
    assert found["writes"] == ["models/compact/0", "data/training/compact-0.csv"]
    assert CARRIED_STAGES <= NETWORK_STAGES


def test_weights_are_carried_and_those_outside_of_the_repository_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = params().model_dump()
    given = SimpleNamespace(extensions="extensions")
    monkeypatch.setattr("earmark.engines.parcel.entries_of", lambda _: {"extractors.vggish": raw})
    given.label_rounds = SimpleNamespace(feature="logmel", model="compact")
    for name in ("earmark", "stages", "weights"):
        (tmp_path / name).mkdir()
    weights = {"path": "weights"}
    monkeypatch.setattr("earmark.engines.parcel.weights_of", lambda *_: (weights["path"], ""))
    arguments = {"extractor": "vggish", "fold": "0"}

    def beside() -> list[str]:
        return carried_beside("finetune", arguments, given, tmp_path)  # type: ignore[arg-type]

    monkeypatch.delenv("DVC_STAGE", raising=False)
    with pytest.raises(UserError, match=f"{CARRY}: start the stage by `dvc repro`"):
        beside()
    monkeypatch.setenv("DVC_STAGE", "finetune@vggish-0")
    assert beside() == ["earmark", "stages", "weights"]
    weights["path"] = str(tmp_path.parent / "elsewhere.pt")
    with pytest.raises(UserError, match=r"elsewhere.pt lies outside of the repository; move it"):
        beside()
