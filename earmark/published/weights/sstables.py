"""Sorted tables, the files of LevelDB, which TensorFlow keeps its checkpoints in.

block | type crc | block | type crc | ... | index block | type crc | footer
block:   (shared, unshared, value length, rest of key, value) ... | restarts | their number
footer:  where the metaindex and the index lie, padded to 40 bytes | magic number
"""

import struct
from collections.abc import Iterator

from earmark.published.weights.checksums import is_masked_crc32c
from earmark.published.weights.protobuf import varint

_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER_BYTES = 48
_TRAILER = struct.Struct("<BI")  # how the block is compressed, and its masked checksum


def is_table(data: memoryview) -> bool:
    """Whether the data end as a table does."""
    return bytes(data[-8:]) == _MAGIC


def entries(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield keys and values in the order of the keys; every block is held to its checksum.

    Raises:
        ValueError: the table is cut short, damaged or compressed.
    """
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not is_table(footer):
        raise ValueError("it is cut short: the table's footer is missing")
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    for _, entry in _block_entries(_block(data, *index)):
        handle, _ = _handle(entry, 0)
        yield from _block_entries(_block(data, *handle))


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    """Offset and length of a block, and where the next thing starts."""
    offset, at = varint(data, at)
    length, at = varint(data, at)
    return (offset, length), at


def _block(data: memoryview, offset: int, length: int) -> memoryview:
    end = offset + length
    if end + _TRAILER.size > len(data):
        raise ValueError(f"it is cut short: a block at byte {offset} ends behind the file's end")
    compression, masked = _TRAILER.unpack(data[end : end + _TRAILER.size])
    if not is_masked_crc32c(data[offset : end + 1], masked):
        raise ValueError(f"it is damaged: the block at byte {offset} fails its checksum")
    if compression:
        raise ValueError("its blocks are compressed, which TensorFlow's Saver never does")
    return data[offset:end]


def _block_entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    n_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (n_restarts + 1)
    if end < 0:
        raise ValueError("a block in it is shorter than its own list of restarts")
    key, at = b"", 0
    while at < end:
        n_shared, at = varint(block, at)
        n_unshared, at = varint(block, at)
        n_value, at = varint(block, at)
        value_at = at + n_unshared
        if n_shared > len(key) or value_at + n_value > end:
            raise ValueError("an entry in it is longer than its block")
        key = key[:n_shared] + bytes(block[at:value_at])
        at = value_at + n_value
        yield key, block[value_at:at]
