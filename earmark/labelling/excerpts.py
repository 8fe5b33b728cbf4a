"""The part of a recording that the page plays.

Shapes: T samples.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from earmark.sound.decoding import decode
from earmark.sound.samples import Int16
from earmark.spool import Scratch

EXCERPT_SECONDS = 10.0
_STEP_SECONDS = 0.5


class Excerpt(NamedTuple):
    """Where an excerpt begins and ends, and how long its recording is, in seconds."""

    start: float
    end: float
    seconds: float


def loudest_part(waveform: Int16, n_samples: int, step: int) -> int:
    """Where the part of `n_samples` of a waveform `(T,)` begins that has the most energy.

    Parts begin at every `step` samples.
    """
    if len(waveform) <= n_samples:
        return 0
    n_steps = len(waveform) // step
    starts = range(0, n_steps * step, step)
    powers = [float(np.square(waveform[a : a + step], dtype=np.float64).sum()) for a in starts]
    width = max(1, n_samples // step)
    sums = np.convolve(powers, np.ones(width), "valid")
    return min(int(sums.argmax()) * step, len(waveform) - n_samples)


def write_excerpt(path: Path, out: Path, *, sample_rate: int, scratch_folder: Path) -> Excerpt:
    """Write the loudest part of a recording as a wav that every browser plays.

    Raises:
        UnusableAudio: the recording cannot be used.
    """
    scratch = Scratch(scratch_folder)
    waveform = np.asarray(decode(path, sample_rate=sample_rate, scratch=scratch).waveform)
    n_samples = round(EXCERPT_SECONDS * sample_rate)
    start = loudest_part(waveform, n_samples, round(_STEP_SECONDS * sample_rate))
    part = np.array(waveform[start : start + n_samples])
    soundfile.write(out, part, sample_rate, subtype="PCM_16", format="WAV")
    first, last = start / sample_rate, (start + len(part)) / sample_rate
    return Excerpt(first, last, len(waveform) / sample_rate)
