"""The store gives back what was put in, and appears whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import DamagedError, UserError
from earmark.records import read_json, read_table, write_json, write_table
from earmark.store import Store, StoreWriter
from tests.source_graph import ROOT


def write(folder: Path, clips: list[np.ndarray], **options: Any) -> Store:
    with StoreWriter(
        folder, row_shape=clips[0].shape[1:], dtype=clips[0].dtype, **options
    ) as writer:
        for number, rows in enumerate(clips):
            writer.append(rows, clip=f"{number}.wav")
    return Store.open(folder)


def ragged(lengths: list[int], *, row_shape: tuple[int, ...] = (), dtype: Any = "int16"):
    total = sum(lengths) * int(np.prod(row_shape))
    flat = np.arange(total).astype(dtype).reshape(-1, *row_shape)
    return np.split(flat, np.cumsum(lengths)[:-1])


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    form=st.sampled_from([((), "int16"), ((3,), "float16"), ((2, 4), "float32")]),
    shard_rows=st.one_of(st.none(), st.integers(1, 12)),
    in_memory=st.booleans(),
)
def test_ragged_rows_come_back_and_no_clip_is_split(
    tmp_path_factory, lengths, form, shard_rows, in_memory
):
    clips = ragged(lengths, row_shape=form[0], dtype=form[1])
    folder = tmp_path_factory.mktemp("store") / "rows"
    write(folder, clips, shard_rows=shard_rows)
    store = Store.open(folder, in_memory=in_memory)
    assert len(store) == len(clips)
    for position, rows in enumerate(clips):
        stored = store.rows(position)
        assert stored.dtype == rows.dtype
        np.testing.assert_array_equal(stored, rows)
    index = store.index
    ends = index["start"] + index["length"]
    sizes = [len(shard) for shard in store.shards]
    assert (ends <= index["shard"].map(dict(enumerate(sizes)))).all()
    assert sum(sizes) == sum(lengths)
    if shard_rows is None:
        assert len(store.shards) == 1
    else:  # a shard is closed once it is full, so it exceeds its size by less than its last clip
        last = index.groupby("shard")["start"].max()
        assert (last < shard_rows).all()


def test_each_shard_is_a_plain_npy_file_and_the_index_keeps_columns(tmp_path):
    with StoreWriter(
        tmp_path / "s", row_shape=(2,), dtype="float32", metadata={"rate": 8}
    ) as writer:
        writer.append(np.ones((3, 2), np.float32), clip="ä.wav", seconds=0.5, kept=True)
        writer.add_table("quarantine", pd.DataFrame({"clip": ["bad.wav"]}))
    assert np.load(tmp_path / "s" / "rows-000.npy", allow_pickle=False).shape == (3, 2)
    store = Store.open(tmp_path / "s")
    assert store.metadata["rate"] == 8
    assert store.index.to_dict("records") == [
        {"clip": "ä.wav", "seconds": 0.5, "kept": True, "shard": 0, "start": 0, "length": 3}
    ]
    assert list(read_table(tmp_path / "s" / "quarantine.parquet")["clip"]) == ["bad.wav"]


def test_an_opened_store_is_read_only_unless_it_is_in_memory(tmp_path):
    store = write(tmp_path / "s", ragged([4]))
    with pytest.raises(ValueError, match="read-only"):
        store.rows(0)[0] = 1


def test_a_store_without_clips_opens(tmp_path):
    with StoreWriter(tmp_path / "s", row_shape=(), dtype="int16"):
        pass
    assert len(Store.open(tmp_path / "s")) == 0


@pytest.mark.parametrize("rows", [np.zeros(3, np.float32), np.zeros((3, 1), np.int16)])
def test_rows_of_another_type_or_shape_are_refused(tmp_path, rows):
    with (
        pytest.raises(ValueError, match="expected rows"),
        StoreWriter(tmp_path / "s", row_shape=(), dtype="int16") as writer,
    ):
        writer.append(rows, clip="a")
    assert list(tmp_path.iterdir()) == []


def test_the_digest_changes_with_rows_and_index_and_with_nothing_else(tmp_path):
    clips = ragged([3, 2])
    digest = write(tmp_path / "a", clips).digest
    assert write(tmp_path / "b", clips).digest == digest
    assert write(tmp_path / "c", [clips[0], clips[1] + 1]).digest != digest
    assert write(tmp_path / "d", [np.concatenate(clips)[:4], clips[1][1:]]).digest != digest
    assert write(tmp_path / "e", clips, metadata={"rate": 8}).digest != digest
    with StoreWriter(tmp_path / "f", row_shape=(), dtype="int16") as writer:
        for name, rows in zip(("0.wav", "other.wav"), clips, strict=True):
            writer.append(rows, clip=name)
    assert Store.open(tmp_path / "f").digest != digest


def test_the_same_clips_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, ragged([3, 0, 2]), shard_rows=3)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["index.parquet", "rows-000.npy", "rows-001.npy", "store.json"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("has_links", [True, False])
def test_rows_of_another_store_are_taken_over_between_own_ones(tmp_path, monkeypatch, has_links):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    clips = ragged([3, 2, 4, 1, 5])
    taken = write(tmp_path / "other", clips[1:4], shard_rows=5)
    nothing = write(tmp_path / "nothing", [clips[0][:0]])
    nothing.index.drop(index=0, inplace=True)
    with StoreWriter(tmp_path / "s", row_shape=(), dtype="int16") as writer:
        writer.append(clips[0], clip="own")
        writer.adopt(nothing, [])
        writer.adopt(taken, [{"clip": name} for name in "abc"])
        writer.append(clips[4], clip="last")
        assert len(writer) == 5
    store = Store.open(tmp_path / "s", in_memory=True)  # compares the digest of the rows
    assert list(store.index["clip"]) == ["own", "a", "b", "c", "last"]
    for position, rows in enumerate(clips):
        np.testing.assert_array_equal(store.rows(position), rows)
    files = [tmp_path / name for name in ("s/rows-001.npy", "other/rows-000.npy")]
    assert files[0].samefile(files[1]) == has_links


def test_damaged_rows_are_not_taken_over(tmp_path):
    other = write(tmp_path / "other", ragged([3]))
    path = tmp_path / "other" / "rows-000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with (
        pytest.raises(DamagedError, match=r"other: damaged \(the rows in rows-000.npy are not"),
        StoreWriter(tmp_path / "s", row_shape=(), dtype="int16") as writer,
    ):
        writer.adopt(other, [{"clip": "a"}])


def test_rows_of_another_type_are_not_taken_over(tmp_path):
    other = write(tmp_path / "other", [np.zeros(3, np.float32)])
    with (
        pytest.raises(ValueError, match="expected rows"),
        StoreWriter(tmp_path / "s", row_shape=(), dtype="int16") as writer,
    ):
        writer.adopt(other, [{"clip": "a"}])


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from earmark.store import StoreWriter
with StoreWriter(Path(sys.argv[1]), row_shape=(), dtype="int16") as writer:
    writer.append(np.zeros(100_000, np.int16), clip="new.wav")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_the_old_folder_and_the_next_one_cleans_up(tmp_path):
    folder = tmp_path / "decoded"
    old = write(folder, ragged([5]))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, folder], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".decoded.*.part"))) == 1
    np.testing.assert_array_equal(Store.open(folder).rows(0), old.rows(0))
    write(folder, ragged([7]))
    assert [path.name for path in tmp_path.iterdir()] == ["decoded"]
    assert len(Store.open(folder).rows(0)) == 7


def test_a_part_of_this_process_number_does_not_stop_a_folder(tmp_path):
    (tmp_path / f".s.{os.getpid()}.part").mkdir()
    (tmp_path / f".s.{os.getpid()}.old").mkdir()
    (tmp_path / f".s.{os.getpid()}.old" / "file").touch()
    write(tmp_path / "s", ragged([1]))
    write(tmp_path / "s", ragged([2]))
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


class FullDisk:
    """A file that takes no more than its header, not even its buffer when it is closed."""

    def write(self, data: Any) -> int:
        if not isinstance(data, bytes):
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)

    def close(self) -> None:
        raise OSError(errno.ENOSPC, "Not even the buffer")


def test_a_full_disk_while_rows_are_written_leaves_no_part(tmp_path, monkeypatch):
    write(tmp_path / "s", ragged([5]))
    writer = StoreWriter(tmp_path / "s", row_shape=(), dtype="int16")
    monkeypatch.setattr(Path, "open", lambda *_: FullDisk())
    with pytest.raises(OSError, match="No space left"), writer:
        writer.append(np.zeros(3, np.int16), clip="a")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert len(Store.open(tmp_path / "s").rows(0)) == 5


@pytest.mark.parametrize("full", ["to_parquet", "close"])
def test_a_full_disk_at_the_end_leaves_no_part(tmp_path, monkeypatch, full):
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if full == "to_parquet":
        monkeypatch.setattr(pd.DataFrame, "to_parquet", refuse)
    else:
        monkeypatch.setattr(StoreWriter, "_close_shard", refuse)
    writer = StoreWriter(tmp_path / "s", row_shape=(), dtype="int16")
    with pytest.raises(OSError, match="No space left"), writer:
        writer.append(np.zeros(3, np.int16), clip="a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_that_the_disk_refuses_leaves_the_old_one(tmp_path, monkeypatch, name):
    write_table(tmp_path / name, pd.DataFrame({"a": [1]}))
    before = (tmp_path / name).read_bytes()

    def refuse(_table: object, path: Path, **_options: object) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", refuse)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_table(tmp_path / name, pd.DataFrame({"a": [2]}))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


def test_json_and_tables_come_back_and_missing_ones_say_who_makes_them(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"tag": "Bär"})
    assert read_json(tmp_path / "deep" / "a.json") == {"tag": "Bär"}
    assert "Bär" in (tmp_path / "deep" / "a.json").read_text()
    table = pd.DataFrame({"clip": ["a"], "n": [1]}, index=[7])
    write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), table.reset_index(drop=True))
    write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_bytes() == b"clip,n\na,1\n"
    for read in (read_json, read_table, Store.open):
        with pytest.raises(UserError, match="does not exist; run `dvc repro`, which makes it"):
            read(tmp_path / "nothing")


def test_what_is_no_number_is_null_in_json(tmp_path):
    value = {"roc_auc": float("nan"), "rows": [1.5, float("inf"), ("x", 2)]}
    write_json(tmp_path / "a.json", value)
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert read_json(tmp_path / "a.json") == {"roc_auc": None, "rows": [1.5, None, ["x", 2]]}
