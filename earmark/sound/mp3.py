"""Count the frames of an mp3 that does not tell its length, as libsndfile guesses it wrongly.

It takes the bit rate of the first frame for that of all, and reads no further than that length: of
a file of variable rate whole minutes would be missing. ISO 11172-3 and 13818-3 define the frames.
"""

import io
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

_KBPS = {  # of layer III, by the four bits of a header
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),  # MPEG 1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),  # MPEG 2 and 2.5
}
_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SIDE_BYTES = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
_COUNTS = 3  # flags of a Xing frame: it counts frames and bytes
# Counts of bytes in mp3s are off by a frame or so, as programs disagree on what to count.
MP3_SLACK_BYTES, MP3_SLACK = 3000, 0.01
_NEXT_BYTES = 4096  # after the end of an mp3, within which another begins


def counted_bytes(file: BinaryIO) -> tuple[int, int]:
    """Where the frames of an mp3 begin, and how many bytes its first one counts; 0 for none."""
    starts_at = _after_id3(file, 0)
    file.seek(starts_at)
    frame = file.read(200)
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return starts_at, 0
    if match := re.search(rb"(?s)(?:Xing|Info)(....)", frame[4:44]):
        at = 4 + match.start() + 8
        flags = int(struct.unpack(">I", match[1])[0])
        if flags & 2:  # bytes; before them, if flag 1 is set, frames
            return starts_at, struct.unpack_from(">I", frame, at + (4 if flags & 1 else 0))[0]
    elif frame[36:40] == b"VBRI":
        return starts_at, struct.unpack_from(">I", frame, 46)[0]
    return starts_at, 0


def is_followed(file: BinaryIO) -> bool:
    """Whether frames stand behind those that an mp3 counts: libsndfile would leave them out."""
    try:
        starts_at, n_counted = counted_bytes(file)
    except struct.error:  # it ends within its first frame
        return False
    if not n_counted:
        return False
    ends_at = starts_at + n_counted
    file.seek(ends_at)
    after = file.read(_NEXT_BYTES)
    least = MP3_SLACK_BYTES + MP3_SLACK * n_counted
    for match in re.finditer(rb"ID3|\xff[\xe2-\xff]", after):  # a tag, or a frame
        at = _after_id3(file, ends_at + match.start())
        if sum(n_bytes for n_bytes, _ in _frames(file, at)) > least:
            return True
    return False


def with_count(file: BinaryIO) -> bytes | None:
    """The mp3 behind a first frame that counts the others; None if its rate does not vary.

    Args:
        file: at any position; of a file with such a frame, or of another type, nothing is made.
    """
    starts_at = _after_id3(file, 0)
    file.seek(starts_at)
    start = file.read(200)
    first = start[:4]
    if not _frame_bytes(first) or any(name in start for name in (b"Xing", b"Info", b"VBRI")):
        return None
    frames = list(_frames(file, starts_at))
    n_frames, n_bytes = len(frames), sum(n for n, _ in frames)
    if len({rate for _, rate in frames}) < 2:
        return None
    file.seek(starts_at)
    content = file.read()
    is_mpeg1, is_mono = first[1] & 0x08 > 0, first[3] >> 6 == 3
    side = bytes(_SIDE_BYTES[is_mpeg1, is_mono])
    # The largest rate holds the frame, and no checksum follows the header.
    header = bytes([first[0], first[1] | 1, 0xE0 | first[2] & 0x0C, first[3]])
    size = _frame_bytes(header)
    counts = struct.pack(">4sIII", b"Xing", _COUNTS, n_frames, n_bytes + size)
    return (header + side + counts).ljust(size, b"\x00") + content


def _after_id3(file: BinaryIO, at: int) -> int:
    """The position behind a tag that begins at another, or that other where there is none."""
    file.seek(at)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return at
    return at + 10 + sum(byte << 7 * n for n, byte in enumerate(reversed(head[6:])))


def _frames(file: BinaryIO, at: int) -> Iterator[tuple[int, int]]:
    """The length and the four bits of the rate of each frame in an unbroken row."""
    file.seek(at)
    while n := _frame_bytes(frame := file.read(4)):
        yield n, frame[2] >> 4
        file.seek(n - 4, io.SEEK_CUR)


def _frame_bytes(header: bytes) -> int:
    """The length of a layer III frame by its four bytes of header; 0 if they are none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
    kbps = _KBPS[version == 3][header[2] >> 4]
    if version not in _HZ or rate == 3 or not kbps:
        return 0
    return (144_000 if version == 3 else 72_000) * kbps // _HZ[version][rate] + (header[2] >> 1 & 1)
