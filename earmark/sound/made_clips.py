"""New clips out of the training clips, for the student: nobody labels them, the ensemble tags them.

Each is one clip, cut, at another speed and through two equalisers, or a mixture of two such.
Shapes: T samples of a waveform.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from earmark.seeding import rng_for
from earmark.sound.class_mixing import Floats, equalise
from earmark.sound.samples import Float32, Int16, as_float, as_int16, resample
from earmark.sound.trimming import peak_normalise

# Chosen on new clips of the demo's generator, see docs/training.md.
CUT_SHARE, SHORTEST_CUT = 0.5, 0.5  # how often a clip is cut, and the least share that is left
LONGEST_SECONDS = 30.0  # of what is read of a clip
SEMITONES = 3.5  # up or down, by reading faster or slower: pitch and tempo change together
N_EQUALISERS, CENTER_HZ, GAIN_DB, Q = 2, (100.0, 8000.0), 8.0, (0.5, 3.0)
MIXED_SHARE = 0.5  # how often another clip is added
OTHER_DB, OTHER_DELAY_SECONDS = (-12.0, 6.0), 1.0  # its loudness beside the first; its latest start


class MadeClip(NamedTuple):
    """A clip to make.

    Attributes:
        name: among clips; none of a corpus begins with a slash, and no recording with two.
        parts: the random values that each of its one or two clips is changed by, to be recorded.
    """

    name: str
    parts: list[dict[str, Any]]


def plan_made_clips(clips: Sequence[str], *, copies: int, seed: int) -> list[MadeClip]:
    """Draw what is made of each clip, `copies` times; each draw depends on its clip alone.

    Args:
        clips: those that train. Any may be mixed with any.
    """
    return [
        MadeClip(f"//{copy} of {clip}", _draw(clip, clips, rng_for(seed, "made_clips", clip, copy)))
        for copy in range(1, copies + 1)
        for clip in clips
    ]


def _draw(clip: str, clips: Sequence[str], rng: np.random.Generator) -> list[dict[str, Any]]:
    parts = [{**_draw_part(clip, rng), "gain_db": 0.0, "delay_seconds": 0.0}]
    if rng.random() < MIXED_SHARE:
        other = clips[int(rng.integers(len(clips)))]
        gain_db, delay = rng.uniform(*OTHER_DB), rng.uniform(0, OTHER_DELAY_SECONDS)
        parts.append({**_draw_part(other, rng), "gain_db": gain_db, "delay_seconds": delay})
    return parts


def _draw_part(clip: str, rng: np.random.Generator) -> dict[str, Any]:
    """In shares: `left` of the clip stays, and `start` of what is cut off lies before it."""
    is_cut = rng.random() < CUT_SHARE
    low, high = np.log(CENTER_HZ)
    return {
        "clip": clip,
        "start": float(rng.random()),
        "left": float(rng.uniform(SHORTEST_CUT, 1)) if is_cut else 1.0,
        "semitones": float(rng.uniform(-SEMITONES, SEMITONES)),
        "equalisers": [
            {
                "center_hz": float(np.exp(rng.uniform(low, high))),
                "gain_db": float(rng.uniform(-GAIN_DB, GAIN_DB)),
                "q": float(rng.uniform(*Q)),
            }
            for _ in range(N_EQUALISERS)
        ],
    }


def make(
    parts: Sequence[dict[str, Any]], sample_rate: int, waveform_of: Callable[[str], Int16]
) -> Int16:
    """Make a clip (T,), at full scale and long enough for all its parts.

    Args:
        parts: of a `MadeClip`.
        sample_rate: of all clips, in Hz.
        waveform_of: the samples (T,) of a clip, by its name.
    """
    changed = [_changed(part, sample_rate, waveform_of(part["clip"])) for part in parts]
    delays = [round(part["delay_seconds"] * sample_rate) for part in parts]
    ends = [delay + len(one) for delay, one in zip(delays, changed, strict=True)]
    mixture = np.zeros(max(ends), np.float32)
    for delay, end, one in zip(delays, ends, changed, strict=True):
        mixture[delay:end] += one
    return as_int16(peak_normalise(mixture))


def _changed(part: dict[str, Any], sample_rate: int, waveform: Int16) -> Float32:
    """What a part adds to a mixture: (T,) -> (U,). It is as loud as was drawn, whatever it was."""
    longest = round(LONGEST_SECONDS * sample_rate)
    n_left = max(1, min(round(part["left"] * len(waveform)), longest))
    first = int(part["start"] * (len(waveform) - n_left + 1))
    cut = as_float(waveform[first : first + n_left])
    to_hz = round(sample_rate * 2 ** (-part["semitones"] / 12))
    changed: Floats = resample(cut, from_hz=sample_rate, to_hz=to_hz).astype(np.float64)
    for values in part["equalisers"]:
        changed = equalise(changed, sample_rate, **values)
    rms = float(np.sqrt(np.mean(np.square(changed)))) or 1.0
    level = 10 ** (part["gain_db"] / 20) / rms
    return np.asarray(changed * level, dtype=np.float32)
