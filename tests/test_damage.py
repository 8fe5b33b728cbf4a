"""A damaged artifact ends in one line that names it and the command that restores it."""

import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from earmark.audit.measurements import read_measurements
from earmark.corpora.stored_tables import read_clips, read_folds, read_plan
from earmark.errors import DamagedError, UserError, reading, restore_command
from earmark.evaluation.predictions import read_predictions, write_predictions
from earmark.layout import Layout
from earmark.records import read_json, read_table, write_json, write_table
from earmark.store import Store, StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger
from tests.evaluation.letter_taggers import tagger as predicted

CPU = Device(name="cpu", precision="float32", channels_last=False)
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
    assert restore_command(path) == "python -m earmark restore 'data/a b.json'"


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
