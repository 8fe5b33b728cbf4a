"""New clips from those of a class: two of them in one, or one at another pitch.

Shapes: T samples of a waveform.
"""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.params import PitchFill, SameClass
from earmark.seeding import rng_for
from earmark.sound.samples import Float32
from earmark.sound.trimming import without_clipping

Floats = NDArray[np.floating[Any]]


class NewClip(NamedTuple):
    """A clip to make.

    Attributes:
        variant: same_class (`clip` mixed with `partner`) or pitch_fill (`clip` at another pitch).
        partner: "" for pitch_fill.
        values: the random values that it is made with, recorded beside the new clip.
    """

    variant: str
    clip: str
    partner: str
    values: dict[str, Any]


def plan_mixtures(clips: pd.DataFrame, options: SameClass, seed: int) -> list[NewClip]:
    """Give each training clip partners of its class, `copies` of them.

    `clips` has the columns clip, label and fold_<name>. A clip and its partner are in the same
    split of every fold, so that no mixture brings a validation clip into training. A clip without
    another one of its class in the same splits gets no partner.
    """
    folds = [column for column in map(str, clips.columns) if column.startswith("fold_")]
    plan = []
    for _, same in clips.groupby(["label", *folds], sort=True):
        names = list(same["clip"])
        for name in names if len(names) > 1 else []:
            others = [other for other in names if other != name]
            for copy in range(options.copies):
                rng = rng_for(seed, "same_class", name, copy)
                partner = others[int(rng.integers(len(others)))]
                plan.append(NewClip("same_class", name, partner, draw_mixture(options, rng)))
    return plan


def plan_pitches(clips: pd.DataFrame, options: PitchFill, seed: int) -> list[NewClip]:
    """Choose clips and whole semitones until every class has `up_to` clips.

    The clips of a class take turns in a random order, and each clip gets each pitch at most once.
    Xu et al., section 3.2, draw from (-12, 12); they do not say how many copies they made.
    """
    semitone_steps = [s for s in range(-options.max_semitones, options.max_semitones + 1) if s]
    plan = []
    for label, same in clips.groupby("label", sort=True):
        names = list(same["clip"])
        rng = rng_for(seed, "pitch_fill", str(label))
        orders = {name: rng.permutation(semitone_steps).tolist() for name in rng.permutation(names)}
        wanted = min(options.up_to - len(names), len(names) * len(semitone_steps))
        rounds = ((name, order.pop()) for name, order in cycle(orders.items()))
        for name, semitones in islice(rounds, max(0, wanted)):
            plan.append(NewClip("pitch_fill", name, "", {"semitones": float(semitones)}))
    return plan


def draw_mixture(options: SameClass, rng: np.random.Generator) -> dict[str, Any]:
    """Draw the share of the first clip, the delay of the second, and an equaliser for each.

    Takahashi et al., "Deep convolutional neural networks and data augmentation for acoustic event
    recognition" (2016), whose mixtures Chen & Gupta use. A centre that is uniform in its logarithm
    is our choice.
    """
    low, high = np.log(options.center_hz)
    return {
        "share": float(rng.random()),
        "delay_seconds": float(rng.random() * options.max_delay_seconds),
        "equalisers": [
            {
                "center_hz": float(np.exp(rng.uniform(low, high))),
                "gain_db": float(rng.uniform(-options.gain_db, options.gain_db)),
                "q": float(rng.uniform(options.q[0], options.q[1])),
            }
            for _ in range(2)
        ],
    }


def mix(first: Floats, second: Floats, sample_rate: int, values: dict[str, Any]) -> Floats:
    """Return `share * E1(first) + (1 - share) * E2(second, delayed)`, so long that both fit.

    E1 and E2 are equalisers.

    Args:
        first, second: (T1,) and (T2,).
        values: what `draw_mixture` returned.
    """
    equalised = [
        equalise(waveform, sample_rate, **equaliser)
        for waveform, equaliser in zip((first, second), values["equalisers"], strict=True)
    ]
    delay = round(values["delay_seconds"] * sample_rate)
    mixture = np.zeros(max(len(first), delay + len(second)))
    mixture[: len(first)] = values["share"] * equalised[0]
    mixture[delay : delay + len(second)] += (1 - values["share"]) * equalised[1]
    return mixture


def shift_pitch(waveform: Float32, sample_rate: int, semitones: float) -> Float32:
    """Shift the pitch of (T,) at the same length, lowered as a whole where it would clip.

    By librosa, as in Xu et al., section 3.1; the effect `pitch` of Shan & Ren is SoX's.
    """
    import librosa  # it takes seconds, and only pitch_fill needs it

    shifted: Float32 = librosa.effects.pitch_shift(waveform, sr=sample_rate, n_steps=semitones)
    return without_clipping(shifted)


def equalise(
    waveform: Floats, sample_rate: int, *, center_hz: float, gain_db: float, q: float
) -> Floats:
    """Raise or lower a band: the peaking filter of Bristow-Johnson's cookbook, (T,) -> (T,).

    Its gain is `gain_db` at the centre and 0 dB far from it. A centre above 45 % of the sample rate
    is lowered to that.
    """
    omega = 2 * np.pi * min(center_hz / sample_rate, 0.45)
    amplitude = 10 ** (gain_db / 40)
    alpha = np.sin(omega) / (2 * q)
    b: Sequence[float] = (1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude)
    a: Sequence[float] = (1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude)
    from scipy.signal import lfilter  # a second, which new clips alone need

    filtered: Floats = lfilter(b, a, waveform)
    return filtered
