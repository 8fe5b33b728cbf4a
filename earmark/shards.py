"""The npy files of a store: how they are called and read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earmark.errors import reading
from earmark.spool import blocks_of

_BLOCK_BYTES = 1 << 23


def shard_path(folder: Path, number: int) -> Path:
    """The file of a shard, counted from 0."""
    return folder / f"rows-{number:03d}.npy"


def write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write the header of npy; numpy pads it, so a larger first axis may later take its place."""
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def read_shard(path: Path, metadata: Mapping[str, Any], *, in_memory: bool) -> NDArray[Any]:
    """The rows (R, *row_shape) of one file, in memory or mapped.

    Raises:
        UserError: it does not exist.
        DamagedError: it is cut short, or has other rows than `metadata` of its store says.
    """
    with reading(path.with_name("store.json")):
        row_shape, dtype = tuple(metadata["row_shape"]), np.dtype(metadata["dtype"])
    with reading(path):
        rows: NDArray[Any] = np.load(path, mmap_mode=None if in_memory else "r")
        if rows.shape[1:] != row_shape or rows.dtype != dtype:
            expected = f"rows of {row_shape} {dtype}"
            raise ValueError(f"{rows.shape} {rows.dtype} instead of {expected}")
    return rows


def hashed_blocks(rows: NDArray[Any]) -> Iterator[memoryview]:
    """The bytes of mapped rows, some megabytes at a time."""
    for block in blocks_of(rows, max(1, _BLOCK_BYTES // max(1, rows[:1].nbytes))):
        yield np.ascontiguousarray(block).data
