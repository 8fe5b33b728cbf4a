"""What headers promise, to detect files that were cut short; wav and ogg in particular."""

import os
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO, cast

from earmark.sound.mp3 import is_followed
from earmark.sound.promises import n_bytes_promised

# Writers into a pipe cannot know the length: ffmpeg leaves 0xFFFFFFFF, SoX 0x7FFFF000 or near it.
_STREAMED_FROM = 0x7FFFF000
_WAV = (b"RIFF", b"RIFX", b"RF64")
_OGG_START_OF_STREAM, _OGG_END_OF_STREAM = 0x02, 0x04
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class WavData:
    """The data chunk of a wav file, as its header has it and as the file holds it."""

    starts_at: int
    n_bytes_promised: int
    n_bytes_held: int
    block_bytes: int
    is_streamed: bool

    @property
    def is_cut(self) -> bool:
        """Whether whole frames are missing; a missing byte of padding does no harm."""
        missing = self.n_bytes_promised // self.block_bytes - self.n_bytes_held // self.block_bytes
        return not self.is_streamed and missing > 0


def cut_short(file: BinaryIO) -> str:
    """Say what the file lacks that its header promises; "" if nothing, or if it cannot be known.

    A cut flac shows only when it is decoded, and a cut mp3 only if its first frame counts bytes.
    """
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(8)
    magic = head[:4]
    if magic == b"OggS":
        return _ogg_shortfall(file, n_bytes)
    if magic not in _WAV:
        promised = n_bytes_promised(file, magic)
        if promised > n_bytes:
            return f"it ends after {n_bytes} of {promised} bytes"
        several = "it is several mp3 files in a row, of which libsndfile decodes the first alone"
        return several if is_followed(file) else ""
    data = wav_data(file)
    if data is None and (len(head) < 8 or _riff_bytes(head) + 8 > n_bytes):
        return f"it ends after {n_bytes} bytes, within the header"
    if data is not None and data.is_cut:
        return f"{data.n_bytes_held} of {data.n_bytes_promised} bytes of samples exist"
    return ""


def with_length(file: BinaryIO) -> BinaryIO | None:
    """The wav file with its length written in, where a recorder left a data chunk of 0 bytes.

    libsndfile takes every other placeholder as "until the end", and this one as "no samples".
    """
    data = wav_data(file)
    if data is None or not data.is_streamed or data.n_bytes_promised:
        return None
    file.seek(0)
    head = bytearray(file.read(data.starts_at))
    order = _order(head)
    n_bytes = min(data.n_bytes_held, _STREAMED_FROM)  # which is a placeholder itself
    struct.pack_into(f"{order}I", head, data.starts_at - 4, n_bytes)
    struct.pack_into(f"{order}I", head, 4, n_bytes + data.starts_at - 8)
    return cast(BinaryIO, _WithHead(file, bytes(head)))


class _WithHead:
    """A file of which the first bytes are others; as much of a file as libsndfile asks for."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self._file, self._head = file, head
        self.seek, self.tell = file.seek, file.tell
        file.seek(0)

    def read(self, n_bytes: int) -> bytes:
        start = self._file.tell()
        content = self._file.read(n_bytes)
        changed = self._head[start : start + len(content)]
        return changed + content[len(changed) :]

    def write(self, _: bytes) -> int:
        raise OSError("opened to read")


def wav_data(file: BinaryIO) -> WavData | None:
    """Walk the chunks of a RIFF, RIFX or RF64 file to its samples; None where there are none."""
    n_file_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    riff = file.read(12)
    if riff[:4] not in _WAV or riff[8:] != b"WAVE":
        return None
    order = _order(riff)
    block_bytes, long_bytes = 1, 0
    while len(head := file.read(8)) == 8:
        name, n_bytes = struct.unpack(f"{order}4sI", head)
        starts_at = file.tell()
        if name == b"data":
            held = n_file_bytes - starts_at
            promised = long_bytes or n_bytes
            streamed = _is_streamed(riff[:4], _riff_bytes(riff), promised, n_file_bytes)
            return WavData(starts_at, promised, held, block_bytes, streamed)
        body = file.read(min(n_bytes, 16))
        if name == b"fmt " and len(body) >= 14:
            block_bytes = max(1, struct.unpack(f"{order}12xH", body[:14])[0])
        elif name == b"ds64" and len(body) == 16:
            long_bytes = struct.unpack("<8xQ", body)[0]
        file.seek(starts_at + n_bytes + n_bytes % 2)
    return None


def _is_streamed(magic: bytes, riff_bytes: int, data_bytes: int, n_file_bytes: int) -> bool:
    if data_bytes == 0:  # in a finished header, 0 is true
        return riff_bytes + 8 < n_file_bytes or riff_bytes >= _STREAMED_FROM
    if magic == b"RF64":
        return data_bytes in (0xFFFFFFFF, 2**64 - 1)
    return data_bytes >= _STREAMED_FROM


def _order(head: bytes | bytearray) -> str:
    return ">" if head[:4] == b"RIFX" else "<"


def _riff_bytes(head: bytes) -> int:
    return int(struct.unpack_from(f"{_order(head)}I", head, 4)[0])


def _ogg_shortfall(file: BinaryIO, n_bytes: int) -> str:
    """What is wrong with the pages: one is damaged or cut, the last is not, or a file follows."""
    file.seek(0)
    is_last = is_begun = False
    while (header := file.read(27))[:5] == b"OggS\x00" and len(header) == 27:
        lengths = file.read(header[26])
        body = file.read(sum(lengths))
        if file.tell() == n_bytes and len(body) < sum(lengths):
            is_last = False
            break
        starts = bool(header[5] & _OGG_START_OF_STREAM)
        if starts and is_begun:
            return "it is several ogg files in a row, of which libsndfile decodes the first alone"
        if _ogg_checksum(header[:22] + bytes(4) + header[26:] + lengths + body) != header[22:26]:
            return f"it is damaged before byte {file.tell()} (the checksum of a page is wrong)"
        is_begun, is_last = not starts, bool(header[5] & _OGG_END_OF_STREAM)
    if is_last:  # what follows may be a tag
        return ""
    if file.tell() < n_bytes:
        return f"it is damaged at byte {file.tell() - len(header)} (no page begins there)"
    return "the end of the file is missing (its last page is not marked as the last)"


def _ogg_checksum(page: bytes) -> bytes:
    """CRC-32 as RFC 3533 has it: that of zlib with all bits in the other order, and from 0."""
    register = zlib.crc32(page.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return register.to_bytes(4, "big").translate(_BITS_REVERSED)
