"""Read the headers of recordings alone, without what libraries write to the terminal."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundfile

_MOST_FRAMES = 1000  # that a byte holds: a flac of silence has some 400


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what C libraries write to stderr: libmpg123 has notes there that name no file."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def header_of(path: Path) -> Any:
    """What `soundfile.info` says of a recording; None if it can say nothing: decoding tells why."""
    try:
        if not path.is_file():  # to open a pipe would wait for ever
            return None
        with quiet_stderr():
            return soundfile.info(os.fsencode(path))
    except (OSError, soundfile.SoundFileError, TypeError):
        return None


def seconds_of(path: Path) -> float:
    """How long a recording is by its header; NaN if that cannot be read.

    A header that promises more samples than a file of its size can hold tells nothing.
    """
    header = header_of(path)
    if header is None or header.frames >= _MOST_FRAMES * path.stat().st_size:
        return math.nan
    return float(header.duration)
