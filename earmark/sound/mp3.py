"""Count the frames of an mp3 that does not tell its length, as libsndfile guesses it wrongly.

It takes the bit rate of the first frame for that of all, and reads no further than that length: of
a file of variable rate whole minutes would be missing. ISO 11172-3 and 13818-3 define the frames.
"""

import io
import struct
from typing import BinaryIO

_KBPS = {  # of layer III, by the four bits of a header
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),  # MPEG 1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),  # MPEG 2 and 2.5
}
_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SIDE_BYTES = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
_COUNTS = 3  # flags of a Xing frame: it counts frames and bytes


def with_count(file: BinaryIO) -> bytes | None:
    """The mp3 behind a first frame that counts the others; None if its rate does not vary.

    Args:
        file: at any position; of a file with such a frame, or of another type, nothing is made.
    """
    file.seek(0)
    head = file.read(10)
    starts_at = 0
    if head[:3] == b"ID3" and len(head) == 10:
        starts_at = 10 + sum(byte << 7 * n for n, byte in enumerate(reversed(head[6:])))
    file.seek(starts_at)
    start = file.read(200)
    first = start[:4]
    if not _frame_bytes(first) or any(name in start for name in (b"Xing", b"Info", b"VBRI")):
        return None
    n_frames, n_bytes, rates = 0, 0, set()
    file.seek(starts_at)
    while n := _frame_bytes(frame := file.read(4)):
        n_frames, n_bytes = n_frames + 1, n_bytes + n
        rates.add(frame[2] >> 4)
        file.seek(n - 4, io.SEEK_CUR)
    if len(rates) < 2:
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


def _frame_bytes(header: bytes) -> int:
    """The length of a layer III frame by its four bytes of header; 0 if they are none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
    kbps = _KBPS[version == 3][header[2] >> 4]
    if version not in _HZ or rate == 3 or not kbps:
        return 0
    return (144_000 if version == 3 else 72_000) * kbps // _HZ[version][rate] + (header[2] >> 1 & 1)
