"""A damaged artifact ends in one line that names it and the command that restores it."""

import ast
import os
import pickle
import re
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from dvc.repo import Repo

from earmark import store as store_module
from earmark.audit.measurements import read_measurements
from earmark.corpora.stored_tables import read_clips, read_folds, read_plan
from earmark.errors import DamagedError, UserError, reading, restoring
from earmark.evaluation.predictions import read_predictions, write_predictions
from earmark.layout import Layout
from earmark.restoring import restore
from earmark.store import (
    Store,
    StoreWriter,
    read_json,
    read_table,
    whole_file,
    whole_folder,
    write_json,
    write_table,
)
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger
from tests.evaluation.letter_taggers import tagger as predicted
from tests.source_graph import ROOT

CPU = Device(name="cpu", precision="float32", channels_last=False)
METADATA_FILE = "ensemble/ensemble.json"
OTHERS = {
    ".json": b'{"another": "file"}\n',
    ".csv": b"a,b\n1,2\n",
    ".npy": b"\x93NUMPY",
    ".safetensors": b"\x02\0\0\0\0\0\0\0{}",
}


def damages(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    half = whole[: len(whole) // 2]
    return {"half": half, "empty": b"", "zeros": bytes(len(whole)), "other": other_file(path)}


def other_file(path: Path) -> bytes:
    """A file of the same kind that holds something else."""
    scratch = path.with_name(f"other{path.suffix}")
    if path.suffix == ".npy":
        np.save(scratch, np.zeros((2, 7)))
    elif path.suffix == ".parquet":
        pd.DataFrame({"a": [1]}).to_parquet(scratch)
    else:
        return OTHERS[path.suffix]
    content = scratch.read_bytes()
    scratch.unlink()
    return content


def make_store(root: Path) -> Callable[[], Any]:
    with StoreWriter(root / "logmel", row_shape=(3,), dtype="float16") as writer:
        for clip in "ab":
            writer.append(np.ones((40, 3), np.float16), clip=clip)
    return lambda: Store.open(root / "logmel", in_memory=True)


def make_tagger(root: Path) -> Callable[[], Any]:
    wave = Input(
        feature="wave16k", type_name="waveform", options={"target_hz": 16_000}, sample_rate=16_000,
        lengths=[19_683], padding="right", silence=[0.0], mean=[0.0], std=[1.0],
    )  # fmt: skip
    torch.manual_seed(0)
    options = {"n_samples": 19_683, "width": 0.125}
    tagger = Tagger.new("samplecnn", options, tags=["cat", "dog"], input_=wave)
    tagger.save(root / "models", {"fold": "0"})
    return lambda: Tagger.load(root / "models", CPU)


def make_ensemble(root: Path) -> Callable[[], Any]:
    one = predicted("cdocdo", name="ensemble")
    metadata = {"tags": one.task.tags, "is_multi_label": False}
    write_predictions(root / "ensemble", [one], metadata)
    return lambda: read_predictions(root / "ensemble", "ensemble")


def make_tables(root: Path) -> Callable[[], Any]:
    texts = dict.fromkeys(("clip", "label", "source", "split", "usage", "equal_to"), "x")
    clips = pd.DataFrame([{**texts, "verified": True, "quarantined": False}])
    layout = Layout(root)
    write_table(layout.clips, clips)
    write_table(layout.folds, clips.assign(fold_0="train"))
    return lambda: (read_clips(layout), read_folds(layout, ["0"]))


def make_curve(root: Path) -> Callable[[], Any]:
    write_table(root / "curve.csv", pd.DataFrame({"model": ["m"], "epoch": [1]}))
    return lambda: read_table(root / "curve.csv", "model", "epoch")


def make_plan(root: Path) -> Callable[[], Any]:
    write_json(Layout(root).plan, {"members": {}, "folds": ["0"]})
    return lambda: read_plan(Layout(root))


def make_measurements(root: Path) -> Callable[[], Any]:
    numbers = {"inputs": "", "n_candidates": 0, "without_fingerprint": []}
    write_json(root / "measurements.json", {**numbers, "null": {}})
    return lambda: read_measurements(root)


MAKERS = {
    make_store: ("logmel/store.json", "logmel/index.parquet", "logmel/rows-000.npy"),
    make_tagger: ("models/model.json", "models/weights.safetensors"),
    make_ensemble: (
        "ensemble/ensemble.json",
        "ensemble/clips.parquet",
        "ensemble/ensemble.parquet",
    ),
    make_tables: ("data/clips.parquet", "data/folds.parquet"),
    make_curve: ("curve.csv",),
    make_plan: ("data/plan.json",),
    make_measurements: ("measurements.json",),
}
CASES = [(make, name) for make, names in MAKERS.items() for name in names]


@pytest.mark.parametrize(("make", "name"), CASES, ids=[name for _, name in CASES])
@pytest.mark.parametrize("how", ["half", "empty", "zeros", "other"])
def test_a_damaged_artifact_is_named_with_the_command_that_restores_it(
    tmp_path: Path, make: Callable[[Path], Callable[[], Any]], name: str, how: str
) -> None:
    (tmp_path / "dvc.yaml").touch()
    read = make(tmp_path)
    path = tmp_path / name
    path.write_bytes(damages(path)[how])
    with pytest.raises(DamagedError) as caught:
        read()
    (line,) = caught.value.problems
    assert "\n" not in line
    assert line.startswith(f"{path}: damaged (")
    assert line.endswith(f"; restore it with `cd {tmp_path} && python -m earmark restore {name}`")


def test_rows_of_zeros_where_others_were_written_are_noticed(tmp_path: Path) -> None:
    """As after a power failure: the file is as long as it was, and its second half is zeros."""
    read = make_store(tmp_path)
    path = tmp_path / "logmel" / "rows-000.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    with pytest.raises(DamagedError, match="not those that were written"):
        read()


@pytest.mark.parametrize("value", [b"\0\0\0\x3f", b"\0\0\xc0\x7f"], ids=["0.5", "NaN"])
def test_other_values_of_a_whole_weight_file_are_noticed(tmp_path: Path, value: bytes) -> None:
    read = make_tagger(tmp_path)
    path = tmp_path / "models" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-400] + value * 100)
    with pytest.raises(DamagedError, match=r"weights\.safetensors: damaged \(not the weights"):
        read()


@pytest.mark.parametrize("entry", [{"row_shape": 5}, {"dtype": "cat"}], ids=str)
def test_a_wrong_type_in_store_json_is_a_damage_of_it(
    tmp_path: Path, entry: dict[str, Any]
) -> None:
    read = make_store(tmp_path)
    path = tmp_path / "logmel" / "store.json"
    write_json(path, {**read_json(path), **entry})
    with pytest.raises(DamagedError, match=r"store\.json: damaged"):
        read()


PLANS = [{"members": 5}, {"members": ["a"]}, {"folds": 5}, {"folds": [0]}, {"folds": "0"}]


@pytest.mark.parametrize("entry", PLANS, ids=str)
def test_a_wrong_type_in_plan_json_is_a_damage_of_it(tmp_path: Path, entry: dict[str, Any]) -> None:
    layout = Layout(tmp_path)
    write_json(layout.plan, {"members": {"a": "logmel"}, "folds": ["0"], **entry})
    with pytest.raises(DamagedError, match=r"plan\.json: damaged"):
        read_plan(layout)


def test_the_clips_table_in_the_place_of_the_folds_is_noticed(tmp_path: Path) -> None:
    make_tables(tmp_path)
    layout = Layout(tmp_path)
    layout.clips.replace(layout.folds)
    with pytest.raises(DamagedError, match=r"folds\.parquet: damaged \(no column of a fold"):
        read_folds(layout)


def git(root: Path, *words: str) -> None:
    name = ("-c", "user.name=x", "-c", "user.email=x@y")
    subprocess.run(["git", *name, *words], cwd=root, check=True, capture_output=True)


GRAPH = """\
stages:
  evaluate:
    cmd: cat now >m.json && mkdir -p data/r && cp now data/r/a && echo run >>runs
    outs:
      - m.json: {cache: false}
      - data/r
  second:
    cmd: cp now data/b
    deps: [data/r]
    outs: [data/b]
"""


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A workspace whose run wrote another m.json than git has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "data").mkdir()
    for name, text in {"dvc.yaml": GRAPH, "now": "new", "m.json": "old", "data/R.md": "x"}.items():
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "dvc.yaml", "m.json", "data/R.md")
    git(tmp_path, "commit", "-qm", "one")
    with Repo(str(tmp_path)) as repo:
        repo.reproduce()
    return Layout(tmp_path)


def test_a_metric_comes_back_as_this_run_wrote_it(ran: Layout) -> None:
    path = ran.root / "m.json"
    path.write_text("cu")
    assert restore(Path("m.json"), ran) == ["m.json: made again by stage evaluate"]
    assert path.read_text() == "new"
    git(ran.root, "add", "m.json")
    path.write_text("cu")
    assert restore(Path("m.json"), ran) == ["m.json: restored from git"]
    assert path.read_text() == "new"


def test_a_folder_comes_back_with_each_output_below_it(ran: Layout) -> None:
    for name in ("r/a", "b"):
        path = ran.data / name
        path.chmod(0o644)
        path.unlink()
        path.write_text("cut")
    (whole,) = (ran.root / ".dvc" / "cache").rglob("*.dir")
    whole.unlink()
    whole.mkdir()  # a folder where the object should be
    lines = restore(Path("data"), ran)
    assert [line.split(":")[0] for line in lines] == ["data/r", "data/r", "data/b"]
    assert [(ran.data / name).read_text() for name in ("r/a", "b", "R.md")] == ["new", "new", "x"]
    (ran.data / "R.md").write_text("cut")
    assert restore(Path("data/R.md"), ran) == ["data/R.md: restored from git"]


def test_a_cut_dvc_yaml_comes_back_from_git(ran: Layout) -> None:
    (ran.root / "dvc.yaml").write_text(GRAPH[:40])
    assert restore(Path("dvc.yaml"), ran) == ["dvc.yaml: restored from git"]
    with pytest.raises(UserError, match="nothing: not known to git or DVC"):
        restore(Path("nothing"), ran)


def test_a_folder_where_a_file_should_be_is_a_damage_and_a_missing_file_is_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "plan.json").mkdir()
    (tmp_path / "t.parquet").mkdir()
    for read, name in ((read_json, "plan.json"), (read_table, "t.parquet")):
        with pytest.raises(DamagedError, match="Is a directory"):
            read(tmp_path / name)
    with pytest.raises(UserError, match="does not exist; run `dvc repro`") as caught:
        read_json(tmp_path / "missing.json")
    assert not isinstance(caught.value, DamagedError)


def test_what_is_no_fault_of_the_file_is_not_called_a_damage(tmp_path: Path) -> None:
    for error in (PermissionError(13, "Permission denied"), MemoryError(), UserError("known")):
        with pytest.raises(type(error)), reading(tmp_path / "file"):
            raise error


def test_the_command_is_for_the_folder_that_the_user_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data" / "a b.json"
    assert restoring(path) == "python -m earmark restore 'data/a b.json'"


def test_a_missing_entry_deep_in_json_names_the_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"by_fold": [{"n": 1}]})
    record = read_json(tmp_path / "a.json")
    with pytest.raises(DamagedError, match=r"a\.json: damaged \(no 'm' in it\)"):
        record["by_fold"][0]["m"]
    assert record.get("m") is None


def test_what_was_read_can_be_copied_as_part_of_a_dataclass(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"options": {"dims": 3}, "rows": [{"n": 1}]})
    content = read_json(tmp_path / "a.json")
    assert asdict(Kept(content)) == {"content": content}
    with pytest.raises(DamagedError, match=r"a\.json: damaged \(no 'm' in it\)"):
        pickle.loads(pickle.dumps(content))["options"]["m"]


@dataclass
class Kept:
    content: dict[str, Any]


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
WITHIN_A_PART = {"earmark/published/download/fetch.py": 2}


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
            if renames and path != Path(store_module.__file__):
                found[path.relative_to(ROOT).as_posix()] = len(renames)
    assert found == WITHIN_A_PART


def _is_rename(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    owner, name = call.func.value, call.func.attr
    if isinstance(owner, ast.Name) and owner.id in ("os", "shutil"):
        return name in ("replace", "rename", "renames", "move")
    return name in ("replace", "rename") and len(call.args) == 1 and not call.keywords


def test_restore_reverts_one_damaged_file_and_never_several_changed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("earmark.restoring._restore_outputs", lambda *_: [])  # DVC knows none
    names = ["params.yaml", "code/a.py", "code/b.py", "metrics/a.json", "metrics/b.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("whole")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    for name in names[:4]:
        (tmp_path / name).write_text("edited")
    for path, words in {
        "": "is the whole repository",
        "code/..": "is the whole repository",
        "code": r"code: has 2 changed files, code/a\.py, code/b\.py; name",
    }.items():
        with pytest.raises(UserError, match=words):
            restore(Path(path), Layout.here())
    with pytest.raises(UserError, match="not known to git"):
        restore(Path("code/*.py"), Layout.here())
    assert {(tmp_path / name).read_text() for name in names[:4]} == {"edited"}
    assert restore(Path("metrics"), Layout.here()) == ["metrics/a.json: restored from git"]
    assert (tmp_path / "metrics/a.json").read_text() == "whole"
