"""How long a file must be for what the headers of aiff, au, caf, w64, sph and mp3 promise."""

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from earmark.sound.mp3 import MP3_SLACK, MP3_SLACK_BYTES, counted_bytes

_W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_HEAD_BYTES = 4096
_UNKNOWN_BYTES = 0xFFFFFFFF  # written into a pipe


def n_bytes_promised(file: BinaryIO, magic: bytes) -> int:
    """Where the samples of a file end by its header; 0 if that is not known.

    Args:
        file: at any position; it is moved.
        magic: the first four bytes.
    """
    file.seek(0)
    read = _READERS.get(magic, _mp3)
    try:
        return read(file)
    except struct.error:  # it ends within the header; libsndfile says so
        return 0


def _aiff(file: BinaryIO) -> int:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, n_bytes = struct.unpack(">4sI", head)
        if name == b"SSND":
            is_streamed = n_bytes in (0, _UNKNOWN_BYTES)
            return 0 if is_streamed else file.tell() + n_bytes
        file.seek(n_bytes + n_bytes % 2, 1)
    return 0


def _au(file: BinaryIO) -> int:
    starts_at, n_bytes = struct.unpack(">4xII", file.read(12))
    return 0 if n_bytes == _UNKNOWN_BYTES else int(starts_at + n_bytes)


def _caf(file: BinaryIO) -> int:
    file.seek(8)
    while len(head := file.read(12)) == 12:
        name, n_bytes = struct.unpack(">4sq", head)
        if name == b"data" or n_bytes < 0:
            return max(0, file.tell() + n_bytes) if n_bytes >= 0 else 0
        file.seek(n_bytes, 1)
    return 0


def _w64(file: BinaryIO) -> int:
    file.seek(40)
    while len(head := file.read(24)) == 24:
        name, n_bytes = struct.unpack("<16sQ", head)
        if n_bytes < 24 or n_bytes >= 1 << 62:
            return 0
        if name == _W64_DATA:
            return int(file.tell() - 24 + n_bytes)
        file.seek((n_bytes + 7) // 8 * 8 - 24, 1)
    return 0


def _sph(file: BinaryIO) -> int:
    """NIST SPHERE, as speech corpora have it: lines of text, then samples."""
    text = file.read(_HEAD_BYTES)
    fields = {name: int(value) for name, value in re.findall(rb"\n(\w+) -i (\d+)", text)}
    counts = [fields.get(name, 0) for name in (b"sample_count", b"sample_n_bytes")]
    is_packed = b"shorten" in text or b"wavpack" in text
    starts_at = re.match(rb"NIST_1A\n *(\d+)\n", text)
    if is_packed or starts_at is None:
        return 0
    return int(starts_at[1]) + counts[0] * counts[1] * fields.get(b"channel_count", 1)


def _mp3(file: BinaryIO) -> int:
    """Where the frame Xing, Info or VBRI at the start of an mp3 lets it end; without one 0."""
    starts_at, n_bytes = counted_bytes(file)
    return max(0, int(starts_at + n_bytes * (1 - MP3_SLACK) - MP3_SLACK_BYTES)) if n_bytes else 0


_READERS: dict[bytes, Callable[[BinaryIO], int]] = {
    b"FORM": _aiff,
    b".snd": _au,
    b"caff": _caf,
    b"riff": _w64,
    b"NIST": _sph,
}
