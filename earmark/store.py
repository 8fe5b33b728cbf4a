"""The npy and Parquet store: rows of many clips in few large arrays, with an index.

Shapes: R rows (samples, frames, patches or embeddings) of `row_shape` values each.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from earmark.errors import DamagedError, reading
from earmark.records import read_json, read_table, write_json
from earmark.shards import hashed_blocks, read_shard, shard_path, write_header
from earmark.spool import FileRows
from earmark.whole_files import link_or_copy, whole_folder


class StoreWriter:
    """Append the rows of one clip after another; the folder appears whole when the block ends.

    A shard is closed once it holds `shard_rows` rows; no clip is split between shards.

    Args:
        folder: is made, or replaced if it is there.
        row_shape: of one row: () of a sample, (M,) of a frame, (96, 64) of a patch.
        dtype: of the rows.
        shard_rows: after how many rows another file is begun; None is one file.
        metadata: further entries of store.json.

    >>> from tempfile import TemporaryDirectory
    >>> frames = np.zeros((173, 80), np.float16)
    >>> with TemporaryDirectory() as name:
    ...     with StoreWriter(Path(name) / "logmel", row_shape=(80,), dtype="float16") as writer:
    ...         writer.append(frames, clip="dog.wav")
    ...     store = Store.open(Path(name) / "logmel", in_memory=True)
    >>> list(store.index["clip"]), store.rows(0).shape
    (['dog.wav'], (173, 80))
    """

    def __init__(
        self,
        folder: Path,
        *,
        row_shape: tuple[int, ...],
        dtype: DTypeLike,
        shard_rows: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.row_shape, self.dtype = folder, row_shape, np.dtype(dtype)
        self.shard_rows, self.metadata = shard_rows, metadata or {}
        self._entries: list[dict[str, Any]] = []
        self._digests: list[str] = []  # of the rows of each shard that is closed
        self._digest = _digest()
        self._shard, self._rows_in_shard = -1, 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._whole = whole_folder(self.folder)
        self._part = self._whole.__enter__()
        return self

    @property
    def scratch_folder(self) -> Path:
        """Where workers leave rows that are too many for memory; it ends with the writing."""
        return self._part / "scratch"

    def append(self, rows: NDArray[Any] | FileRows, **columns: object) -> None:
        """Add one clip's rows `(R, *row_shape)`, and its columns to the index.

        Rows that are in a file of their own are copied by blocks, and the file is deleted.

        Raises:
            ValueError: the rows have another shape or type than the store.
        """
        self._check(rows)
        if self.shard_rows and self._rows_in_shard >= self.shard_rows:
            self._close_shard()
        if self._file is None:
            self._open_shard()
        assert self._file is not None
        for block in rows.blocks() if isinstance(rows, FileRows) else [rows]:
            data = np.ascontiguousarray(block)
            self._file.write(data.data)
            self._digest.update(data.data)
        if isinstance(rows, FileRows):
            rows.delete()
        position = {"shard": self._shard, "start": self._rows_in_shard, "length": len(rows)}
        self._entries.append({**columns, **position})
        self._rows_in_shard += len(rows)

    def adopt(self, store: "Store", columns: Iterable[Mapping[str, object]]) -> None:
        """Add all rows of another store without a copy: its files become files of both.

        Where the disk knows no links they are copied.

        Args:
            store: of rows of the same shape and type.
            columns: of the index, for each of its entries.

        Raises:
            ValueError: its rows have another shape or type.
            DamagedError: they are not those that were written.
        """
        if not len(store):
            return
        self._close_shard()
        first = self._shard + 1
        for number, rows in enumerate(store.shards):
            self._check(rows)
            self._shard += 1
            # No file of a store is written to again, so that two may share one.
            link_or_copy(shard_path(store.folder, number), shard_path(self._part, self._shard))
            digest = _digest()
            for block in hashed_blocks(rows):
                digest.update(block)
            if digest.hexdigest() != store.metadata["digests"][number]:
                raise _changed(store.folder, number)
            self._digests.append(digest.hexdigest())
        positions = store.index[["shard", "start", "length"]].to_numpy().tolist()
        for entry, (shard, start, length) in zip(columns, positions, strict=True):
            position = {"shard": first + shard, "start": start, "length": length}
            self._entries.append({**entry, **position})

    def _check(self, rows: NDArray[Any] | FileRows) -> None:
        if rows.shape[1:] != self.row_shape or rows.dtype != self.dtype:
            raise ValueError(
                f"expected rows (R, {self.row_shape}) {self.dtype}, got {rows.shape} {rows.dtype}"
            )

    def __len__(self) -> int:
        """How many entries were appended."""
        return len(self._entries)

    def add_table(self, name: str, table: pd.DataFrame) -> None:
        """Put a table beside the index, as `name`.parquet."""
        table.to_parquet(self._part / f"{name}.parquet", index=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
            elif self._file is not None:
                with suppress(OSError):  # a full disk refuses what is still in the buffer, too
                    self._file.close()
        except BaseException as failure:
            self._whole.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._whole.__exit__(kind, error, trace)

    def _finish(self) -> None:
        if self._shard < 0:  # a store without entries has a file, too
            self._open_shard()
        self._close_shard()
        shutil.rmtree(self.scratch_folder, ignore_errors=True)
        pd.DataFrame(self._entries).to_parquet(self._part / "index.parquet", index=False)
        metadata = {
            **self.metadata,
            "row_shape": list(self.row_shape),
            "dtype": self.dtype.name,
            "digests": self._digests,
        }
        write_json(self._part / "store.json", metadata)

    def _open_shard(self) -> None:
        self._shard, self._rows_in_shard, self._digest = self._shard + 1, 0, _digest()
        self._file = shard_path(self._part, self._shard).open("wb")
        self._write_header()

    def _write_header(self) -> None:
        assert self._file is not None
        write_header(self._file, self.dtype, (self._rows_in_shard, *self.row_shape))

    def _close_shard(self) -> None:
        if self._file is None:
            return
        self._file.seek(0)
        self._write_header()
        self._file.close()
        self._file = None
        self._digests.append(self._digest.hexdigest())


@dataclass(frozen=True)
class Store:
    """An opened store.

    Attributes:
        folder: where it lies.
        index: one entry per clip or variant, in the order of their rows.
        metadata: the entries of store.json.
        shards: the rows (R, *row_shape) of each file, in memory or mapped.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     with StoreWriter(Path(name) / "wave", row_shape=(), dtype="int16") as writer:
    ...         writer.append(np.arange(5, dtype=np.int16), clip="dog.wav")
    ...     store = Store.open(Path(name) / "wave", in_memory=True)
    >>> store.rows(0)
    array([0, 1, 2, 3, 4], dtype=int16)
    """

    folder: Path
    index: pd.DataFrame
    metadata: dict[str, Any]
    shards: list[NDArray[Any]]

    @classmethod
    def open(cls, folder: Path, *, in_memory: bool = False) -> "Store":
        """Open by memory map, or read whole into memory.

        Raises:
            UserError: it does not exist.
            DamagedError: a file of it is cut short, or does not fit the others; of what is read
                whole, any byte is another one.
        """
        metadata = read_json(folder / "store.json")
        index = read_table(folder / "index.parquet")
        shards = []
        for number, needed in enumerate(_rows_needed(folder, index)):
            path = shard_path(folder, number)
            shards.append(read_shard(path, metadata, in_memory=in_memory))
            if len(shards[-1]) != needed:
                problem = f"{path.name} has {len(shards[-1])} rows, index.parquet {needed}"
                raise DamagedError(folder, problem)
            if in_memory and _digest(shards[-1].data).hexdigest() != metadata["digests"][number]:
                raise _changed(folder, number)
        return cls(folder, index, metadata, shards)

    @classmethod
    def open_all(cls, folder: Path) -> list["Store"]:
        """Open the stores that a folder holds, by name."""
        return [cls.open(path) for path in sorted(folder.iterdir()) if path.is_dir()]

    def followed_by(self, other: "Store") -> "Store":
        """One store of the entries of both, with the columns of this one; rows are not copied.

        A column that the other one lacks is "" there.

        Raises:
            ValueError: the rows have another shape or type.
        """
        ours, theirs = ((s.metadata["row_shape"], s.metadata["dtype"]) for s in (self, other))
        if ours != theirs:
            raise ValueError(f"expected rows of {ours}, got {theirs}")
        added = other.index.assign(shard=other.index["shard"] + len(self.shards))
        added = added.reindex(columns=self.index.columns, fill_value="")
        digests = [*self.metadata["digests"], *other.metadata["digests"]]
        return Store(
            self.folder,
            pd.concat([self.index, added], ignore_index=True),
            self.metadata | {"digests": digests},
            [*self.shards, *other.shards],
        )

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, position: int) -> NDArray[Any]:
        """A view of the rows `(R, *row_shape)` of one entry of the index, counted from 0."""
        shard, start, length = self._positions[position].tolist()
        rows: NDArray[Any] = self.shards[shard][start : start + length]
        return rows

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        # Read once, since a look-up in pandas costs more than the copy of a crop.
        return self.index[["shard", "start", "length"]].to_numpy(np.int64)

    @property
    def digest(self) -> str:
        """A hash of rows and index, known without reading the rows."""
        return index_digest(self.index, self.metadata)


def _digest(rows: Any = b"") -> Any:
    return hashlib.blake2b(rows, digest_size=16)


def _changed(folder: Path, number: int) -> DamagedError:
    name = shard_path(folder, number).name
    return DamagedError(folder, f"the rows in {name} are not those that were written")


def index_digest(index: pd.DataFrame, metadata: Mapping[str, Any]) -> str:
    """A hash of the index and the metadata of a store."""
    entries = pd.util.hash_pandas_object(index, index=False).to_numpy().tobytes()
    text = json.dumps(metadata, sort_keys=True).encode()
    return hashlib.blake2b(entries + text, digest_size=16).hexdigest()


def _rows_needed(folder: Path, index: pd.DataFrame) -> list[int]:
    """How many rows each shard must have by the index; a store without entries has one shard."""
    if index.empty:
        return [0]
    with reading(folder / "index.parquet"):
        ends = (index["start"] + index["length"]).groupby(index["shard"].astype(int)).max()
        return [int(ends[shard]) for shard in range(len(ends))]
