"""Read the samples of a file by blocks as libsndfile gives them, or say why it cannot be read.

Shapes: n samples of a block, C channels.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

import soundfile

from earmark.sound.containers import cut_short, with_length
from earmark.sound.headers import quiet_stderr
from earmark.sound.impostors import Impostor, impostor
from earmark.sound.mp3 import with_count
from earmark.sound.samples import Float32, Int16
from earmark.sound.unusable import UnusableAudio

# Read in blocks: neither a long recording nor a wrong header decides how much memory is used.
_BLOCK_FRAMES = 1 << 20
_BLOCK_SAMPLES = 1 << 22  # of all channels
_HEAD_BYTES = 512  # that tell what a file is
# A damaged header that says 1 Hz would grow 44,100-fold, and one of 2**31 Hz shrink to nothing.
_LOWEST_HZ, _HIGHEST_HZ = 1000, 10_000_000
_UNKNOWN_FRAMES = 1 << 36  # a flac cannot say more than this
_OGG_SHARE = 0.99  # the times of an ogg's pages are not always exact


def read_blocks(path: Path) -> Iterator[tuple[Int16 | Float32, int]]:
    """The samples of the file by blocks (n, C), unchanged, each with their rate.

    Raises:
        UnusableAudio: the file cannot be read, which may show only at its end.
    """
    again = "fetch or export it again, or leave it out"
    n_read = n_promised = 0
    head = b""
    try:
        status = path.stat()  # before it is opened: to open a pipe waits for ever
        if other := _other_than_a_file(status.st_mode):
            raise UnusableAudio(path, "unreadable", f"is {other}, not a file", "leave it out")
        if not status.st_size:  # and files of /proc, which may wait as pipes do
            raise UnusableAudio(path, "empty", "the file has no bytes", again)
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if shortfall := cut_short(file):
                raise UnusableAudio(path, "truncated", shortfall, again)
            with _opened(path, file) as sound:
                if not _LOWEST_HZ <= sound.samplerate <= _HIGHEST_HZ:
                    is_low = sound.samplerate < _LOWEST_HZ
                    bound = f"below {_LOWEST_HZ}" if is_low else f"above {_HIGHEST_HZ}"
                    finding = f"its header says {sound.samplerate} Hz, {bound} Hz"
                    raise UnusableAudio(path, "unreadable", finding, again)
                shares = {"FLAC": 1.0, "OGG": _OGG_SHARE}  # others are read before, or bind nothing
                is_known = sound.frames < _UNKNOWN_FRAMES
                n_promised = int(sound.frames * shares.get(sound.format, 0)) if is_known else 0
                for block in _blocks(sound, is_binding=n_promised > 0):
                    n_read += len(block)
                    yield block, sound.samplerate
    except FileNotFoundError:
        finding = "is a link to a missing file" if path.is_symlink() else "does not exist"
        raise UnusableAudio(path, "missing", finding, "restore it, or leave it out") from None
    except OSError as error:
        fix = again
        if isinstance(error, PermissionError):
            fix = "give read permission, or leave it out"
        elif error.errno == errno.ELOOP:
            fix = "the link leads to itself: leave it out"
        raise UnusableAudio(path, "unreadable", error.strerror or "cannot be read", fix) from None
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a name that ends in .raw
        text = str(getattr(error, "error_string", error))
        finding = f"libsndfile cannot decode it ({text})"
        unknown = Impostor(finding, "convert it to wav or flac, or leave it out")
        if "does not exist" in text:  # as it says of an mp3 without frames
            unknown = Impostor("is no mp3: no frame of one was found", again)
        raise UnusableAudio(path, "unreadable", *(impostor(head) or unknown)) from None
    if n_read < n_promised:
        finding = f"it cannot be decoded to the end of its {n_promised} samples"
        raise UnusableAudio(path, "truncated", finding, again)
    if not n_read:
        raise UnusableAudio(path, "empty", "has a header and no samples", again)


def _other_than_a_file(mode: int) -> str:
    """What there is instead of a regular file; "" for one."""
    kinds = {stat.S_IFREG: "", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return (kinds | {stat.S_IFSOCK: "a socket"}).get(stat.S_IFMT(mode), "a device")


def _opened(path: Path, file: BinaryIO) -> soundfile.SoundFile:
    # As bytes, since soundfile cannot encode a name that is not UTF-8.
    with quiet_stderr():
        sound = soundfile.SoundFile(os.fsencode(path))
    if sound.format == "MP3" and (counted := with_count(file)) is not None:
        sound.close()
        with quiet_stderr():
            return soundfile.SoundFile(io.BytesIO(counted))
    if sound.frames or (fixed := with_length(file)) is None:
        return sound
    sound.close()
    return soundfile.SoundFile(fixed)


def _blocks(sound: soundfile.SoundFile, *, is_binding: bool) -> Iterator[Int16 | Float32]:
    """The samples (n, C) that can be decoded; an error ends them if the header tells how many."""
    # Otherwise soundfile seeks after every read, which a flac of unknown length refuses at its end.
    sound.seekable = lambda: False
    # libsndfile's float path is slow, and 16-bit samples need none of it.
    dtype = "int16" if sound.subtype == "PCM_16" else "float32"
    n_wanted = min(sound.frames, _BLOCK_FRAMES, max(1, _BLOCK_SAMPLES // sound.channels))
    with suppress(*[soundfile.LibsndfileError] if is_binding else []):
        while True:
            with quiet_stderr() if sound.format == "MP3" else nullcontext():
                block = sound.read(n_wanted, dtype=dtype, always_2d=True)
            if not len(block):
                break
            yield block
