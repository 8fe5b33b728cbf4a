"""New clips out of the training clips, for the student: nobody labels them, the ensemble tags them.

Each is a clip that is cut, read at another speed and sent through two equalisers. Mixtures of two
taught no more (docs/training.md).
Shapes: T samples of a waveform.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from earmark.seeding import rng_for
from earmark.sound.class_mixing import Floats, equalise
from earmark.sound.samples import Int16, as_float, as_int16, resample
from earmark.sound.trimming import peak_normalise

CUT_SHARE, SHORTEST_CUT = 0.5, 0.5  # how often a clip is cut, and the least share that is left
LONGEST_SECONDS = 30.0  # of what is left
SEMITONES = 3.5  # up or down, by reading faster or slower: pitch and tempo change together
N_EQUALISERS, CENTER_HZ, GAIN_DB, Q = 2, (100.0, 8000.0), 8.0, (0.5, 3.0)


class MadeClip(NamedTuple):
    """A clip to make.

    Attributes:
        name: among clips; none of a corpus begins with a slash, and no recording with two.
        clip: that it is made of.
        values: the random values that it is made with, to be recorded.
    """

    name: str
    clip: str
    values: dict[str, Any]


def plan_made_clips(clips: Sequence[str], *, copies: int, seed: int) -> list[MadeClip]:
    """Draw what is made of each clip, `copies` times; a draw depends on its clip alone."""
    return [
        MadeClip(f"//{copy} of {clip}", clip, _draw(rng_for(seed, "made_clips", clip, copy)))
        for copy in range(1, copies + 1)
        for clip in clips
    ]


def _draw(rng: np.random.Generator) -> dict[str, Any]:
    """In shares: `left` of the clip stays, and `start` of what is cut off lies before it."""
    is_cut = rng.random() < CUT_SHARE
    low, high = np.log(CENTER_HZ)
    return {
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


def make(waveform: Int16, sample_rate: int, values: dict[str, Any]) -> Int16:
    """Make a clip of another: (T,) -> (U,), at full scale.

    Args:
        sample_rate: of both, in Hz.
        values: of a `MadeClip`.
    """
    longest = round(LONGEST_SECONDS * sample_rate)
    n_left = max(1, min(round(values["left"] * len(waveform)), longest))
    first = int(values["start"] * (len(waveform) - n_left + 1))
    cut = as_float(waveform[first : first + n_left])
    to_hz = round(sample_rate * 2 ** (-values["semitones"] / 12))
    changed: Floats = resample(cut, from_hz=sample_rate, to_hz=to_hz)
    for equaliser in values["equalisers"]:
        changed = equalise(changed, sample_rate, **equaliser)
    return as_int16(peak_normalise(changed.astype(np.float32)))
