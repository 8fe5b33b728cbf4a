"""How long a file must be for what the headers of aiff, au, caf, w64, sph and mp3 promise."""

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

_W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_HEAD_BYTES = 4096
_UNKNOWN_BYTES = 0xFFFFFFFF  # written into a pipe
# Counts of bytes in mp3s are off by a frame or so, as programs disagree on what to count.
_MP3_SLACK_BYTES, _MP3_SLACK = 3000, 0.01


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
    """What the frame Xing, Info or VBRI at the start of an mp3 counts; without one 0."""
    head = file.read(10)
    starts_at = 0
    if head[:3] == b"ID3" and len(head) == 10:
        starts_at = 10 + sum(byte << 7 * n for n, byte in enumerate(reversed(head[6:])))
    file.seek(starts_at)
    frame = file.read(200)
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return 0
    n_bytes = 0
    if match := re.search(rb"(?s)(?:Xing|Info)(....)", frame[4:44]):
        at = 4 + match.start() + 8
        flags = int(struct.unpack(">I", match[1])[0])
        if flags & 2:  # bytes; before them, if flag 1 is set, frames
            n_bytes = struct.unpack_from(">I", frame, at + (4 if flags & 1 else 0))[0]
    elif frame[36:40] == b"VBRI":
        n_bytes = struct.unpack_from(">I", frame, 46)[0]
    return max(0, int(starts_at + n_bytes * (1 - _MP3_SLACK) - _MP3_SLACK_BYTES))


_READERS: dict[bytes, Callable[[BinaryIO], int]] = {
    b"FORM": _aiff,
    b".snd": _au,
    b"caff": _caf,
    b"riff": _w64,
    b"NIST": _sph,
}
