"""Synthetic sounds with the names of FSDKaggle2018, each from a physical or signal model.

Every sound is a pure function `(rng, sample_rate, seconds)` of one performance on one instrument,
drawn from `rng`; it returns a float32 waveform `(T,)` with a peak of 0.9.
"""

from typing import Protocol

import numpy as np

from earmark.corpora.synthetic.sounds.bangs import gunfire
from earmark.corpora.synthetic.sounds.drums import bass_drum, hi_hat, snare_drum
from earmark.corpora.synthetic.sounds.hands import applause, finger_snapping, knock
from earmark.corpora.synthetic.sounds.metals import cowbell, glockenspiel, keys_jangling
from earmark.corpora.synthetic.sounds.signals import Waveform
from earmark.corpora.synthetic.sounds.strings import acoustic_guitar, violin
from earmark.corpora.synthetic.sounds.telephones import telephone
from earmark.corpora.synthetic.sounds.voices import bark
from earmark.corpora.synthetic.sounds.winds import clarinet, flute


class Sound(Protocol):
    """A generator of waveforms `(T,)` that last `seconds`."""

    def __call__(
        self, rng: np.random.Generator, sample_rate: int, seconds: float = 2.0
    ) -> Waveform: ...


# A corpus of n tags takes the first n; the first four are easy to tell apart.
SOUNDS: dict[str, Sound] = {
    "Applause": applause,
    "Bass_drum": bass_drum,
    "Flute": flute,
    "Glockenspiel": glockenspiel,
    "Bark": bark,
    "Acoustic_guitar": acoustic_guitar,
    "Snare_drum": snare_drum,
    "Telephone": telephone,
    "Violin_or_fiddle": violin,
    "Keys_jangling": keys_jangling,
    "Knock": knock,
    "Clarinet": clarinet,
    "Hi-hat": hi_hat,
    "Gunshot_or_gunfire": gunfire,
    "Cowbell": cowbell,
    "Finger_snapping": finger_snapping,
}

__all__ = ["SOUNDS", "Sound", "Waveform"]
