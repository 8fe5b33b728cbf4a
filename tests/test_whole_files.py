"""Files and folders appear whole or not at all, and reach the disk before their names do."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from earmark import whole_files
from earmark.records import write_json
from earmark.whole_files import whole_file, whole_folder
from tests.source_graph import ROOT


def test_parts_of_the_dead_go_and_those_of_the_living_and_of_others_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive = os.getppid()
    reused = os.getpid()  # of an earlier process with this id: a container reuses the ids
    gone = [f".plan.json.{dead.pid}.part", f".plan.json.{reused}.part"]
    kept = [
        f".plan.json.{alive}.part",
        f".plan.json.more.{dead.pid}.part",
        f".plan.{dead.pid}.part",
        ".plan.json.backup.part",
    ]
    for name in (*gone, *kept):
        (tmp_path / name).write_text("")
    write_json(tmp_path / "plan.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "plan.json"}


class Oops(BaseException):
    """As KeyboardInterrupt and SystemExit: no Exception."""


def fail_within(whole: Callable[..., Any], path: Path, error: BaseException) -> None:
    with whole(path) as part:
        (part / "new" if part.is_dir() else part).write_text("new")
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), Oops()])
def test_a_block_that_fails_leaves_the_old_content_and_no_part(tmp_path, error):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    (tmp_path / "file").write_text("old")
    for whole in (whole_folder, whole_file):
        with pytest.raises(type(error)):
            fail_within(whole, tmp_path / whole.__name__.removeprefix("whole_"), error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["old"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_replaces_the_old_one_and_keeps_none_of_its_files(tmp_path):
    for name in ("old", "new"):
        with whole_folder(tmp_path / "deep" / "folder") as part:
            assert not any(part.iterdir())
            (part / name).touch()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]
    assert [path.name for path in (tmp_path / "deep" / "folder").iterdir()] == ["new"]


class Synced:
    """What was synced before each rename, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        fsync, replace = os.fsync, Path.replace

        def note_sync(file: int) -> None:
            self.events.append(f"sync {Path(f'/proc/self/fd/{file}').readlink().name}")
            fsync(file)

        def note_rename(path: Path, target: Path) -> Path:
            self.events.append("rename")
            return replace(path, target)

        monkeypatch.setattr(os, "fsync", note_sync)
        monkeypatch.setattr(Path, "replace", note_rename)


def test_a_file_is_synced_before_its_rename_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    with whole_file(tmp_path / "a") as part:
        part.write_text("x")
    assert synced.events == [f"sync {part.name}", "rename", f"sync {tmp_path.name}"]


def test_all_files_of_a_folder_are_synced_once_before_its_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    with whole_folder(tmp_path / "folder") as part:
        (part / "sub").mkdir()
        for name in ("a", "sub/b"):
            (part / name).write_text("x")
    before = synced.events[: synced.events.index("rename")]
    assert sorted(before) == sorted(f"sync {name}" for name in ("a", "b", "sub", part.name))
    assert synced.events[len(before) :] == ["rename", f"sync {tmp_path.name}"]


def test_a_folder_is_written_where_a_file_is_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with whole_folder(tmp_path / "folder") as part:
        (part / "a").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "a"]


# Renames within a part, which is synced as a whole before its own rename.
# The mailbox of a waiting stage ends with it: after a power failure nobody asks for it.
# The code that is sent to a node has the standard library alone, and syncs what it keeps there.
WITHIN_A_PART = {
    "earmark/engines/carrying.py": 1, "earmark/engines/mailbox.py": 1,
    "earmark/published/download/fetch.py": 2,
}  # fmt: skip


def test_no_rename_happens_beside_the_one_place_that_syncs() -> None:
    """Path.replace and Path.rename have one argument, str.replace has two."""
    found: dict[str, int] = {}
    for folder in ("earmark", "stages", "experiments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if not re.search(r"\b(replace|rename|renames|move)\(", text):
                continue
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            renames = [call for call in calls if _is_rename(call)]
            if renames and path != Path(whole_files.__file__):
                found[path.relative_to(ROOT).as_posix()] = len(renames)
    assert found == WITHIN_A_PART


def _is_rename(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    owner, name = call.func.value, call.func.attr
    if isinstance(owner, ast.Name) and owner.id in ("os", "shutil"):
        return name in ("replace", "rename", "renames", "move")
    return name in ("replace", "rename") and len(call.args) == 1 and not call.keywords
