"""Rows of a clip that may be too many for memory: they then lie in a file and are read by blocks.

Shapes: R rows of `row_shape` values each.
"""

import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

MEMORY_BYTES = 1 << 24  # 3 minutes of int16 at 44.1 kHz; workers and parent hold dozens of clips
_BLOCK_BYTES = 1 << 23
_numbers = count()


@dataclass(frozen=True)
class FileRows:
    """Rows (R, *row_shape) in a file of their own, as one process hands them to another."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        rows = _mapped(self.path, self.dtype, self.shape)
        return np.array(rows, dtype) if copy else np.asarray(rows, dtype)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The rows, some megabytes at a time."""
        row_values = int(np.prod(self.shape[1:]))
        n_rows = max(1, _BLOCK_BYTES // (row_values * self.dtype.itemsize))
        with self.path.open("rb") as file:
            for start in range(0, len(self), n_rows):
                n = min(n_rows, len(self) - start)
                block = np.fromfile(file, self.dtype, n * row_values)
                yield block.reshape(n, *self.shape[1:])

    def delete(self) -> None:
        self.path.unlink()


class Scratch:
    """Where rows go that are too many for memory, and how many may be in memory at a time.

    Args:
        folder: for files, which are made only if they are needed. None keeps all in memory.
        memory_bytes: that all spools together hold before one of them goes on in a file.
        is_shared: whether another process reads the files, which deletes each when it has read it.
            Else files have no name, and end with the array that they are mapped to.
    """

    def __init__(
        self, folder: Path | None, *, memory_bytes: int = MEMORY_BYTES, is_shared: bool = False
    ) -> None:
        self.folder, self.memory_bytes, self.is_shared = folder, memory_bytes, is_shared
        self.held_bytes = 0

    def has_room(self, n_bytes: int) -> bool:
        return self.folder is None or self.held_bytes + n_bytes <= self.memory_bytes


IN_MEMORY = Scratch(None)


class Spool:
    """Collects the rows of one clip, block by block.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     spool = Spool(np.int16, scratch=Scratch(Path(folder), memory_bytes=100))
    ...     for block in np.arange(200, dtype=np.int16).reshape(4, 50):
    ...         spool.append(block)
    ...     rows = spool.rows()
    >>> type(rows).__name__, rows.shape, int(rows[150])
    ('ndarray', (200,), 150)
    """

    def __init__(
        self, dtype: DTypeLike, row_shape: tuple[int, ...] = (), *, scratch: Scratch = IN_MEMORY
    ) -> None:
        self._dtype, self._row_shape, self._scratch = np.dtype(dtype), row_shape, scratch
        self._blocks: list[NDArray[Any]] = []
        self._n_rows = self._held_bytes = 0
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return self._n_rows

    def append(self, block: NDArray[Any]) -> None:
        """Add rows (R, *row_shape)."""
        if not len(block):
            return
        self._n_rows += len(block)
        if self._path is None and self._file is None:
            if self._scratch.has_room(block.nbytes):
                self._blocks.append(block)
                self._held_bytes += block.nbytes
                self._scratch.held_bytes += block.nbytes
                return
            self._move_to_file()
        self._write(block)

    def rows(self) -> NDArray[Any] | FileRows:
        """All rows: an array in memory, or mapped; FileRows where they are shared and in a file."""
        shape = (self._n_rows, *self._row_shape)
        if self._path is not None:
            return FileRows(self._path, self._dtype, shape)
        if self._file is not None:
            self._file.flush()
            return _mapped(self._file, self._dtype, shape)
        if len(self._blocks) == 1:
            return self._blocks[0]
        empty = np.empty((0, *self._row_shape), self._dtype)
        return np.concatenate([empty, *self._blocks])

    def discard(self) -> None:
        """Forget the rows, and delete their file."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()
        self._forget_blocks()

    def _move_to_file(self) -> None:
        assert self._scratch.folder is not None
        if self._scratch.is_shared:
            self._scratch.folder.mkdir(exist_ok=True)
            self._path = self._scratch.folder / f"{os.getpid()}-{next(_numbers)}.rows"
        else:
            # The kernel frees it, even after a kill.
            self._file = tempfile.TemporaryFile(dir=self._scratch.folder)  # noqa: SIM115
        for block in self._blocks:
            self._write(block)
        self._forget_blocks()

    def _write(self, block: NDArray[Any]) -> None:
        data = np.ascontiguousarray(block).data
        if self._file is not None:
            self._file.write(data)
        else:
            assert self._path is not None
            with self._path.open("ab") as file:  # thousands of excerpts may be open at a time
                file.write(data)

    def _forget_blocks(self) -> None:
        self._scratch.held_bytes -= self._held_bytes
        self._blocks, self._held_bytes = [], 0


def blocks_of(rows: NDArray[Any], n_rows: int) -> Iterator[NDArray[Any]]:
    """Views of `n_rows` rows at a time; the memory of a mapped file is given back after each."""
    for start in range(0, len(rows), n_rows):
        yield rows[start : start + n_rows]
        if len(rows) > n_rows:
            release(rows)


def release(rows: NDArray[Any]) -> None:
    """Give the memory of a mapped file back; its pages are read again where they are needed.

    The kernel would take it back only when memory is short, and it counts as this process' own.
    Arrays in memory stay as they are.
    """
    base: Any = rows
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)


def _mapped(file: Path | BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    # As a plain array, of which slices cost less.
    return np.asarray(np.memmap(file, dtype, "r", shape=shape))
