"""Telephones: a bell with a hammer, an electronic warble, ringing tones and dialled digits.

The tones are those of ITU-T E.180 (ringing) and Q.23 (keypad). Shapes: T samples.
"""

import numpy as np
import numpy.typing as npt

from earmark.corpora.synthetic.sounds.metals import COWBELL_RATIOS
from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    fade,
    finish,
    harmonic_tone,
    impulses_at,
    log_uniform,
    mix_at,
    resonate,
    sample_count,
)
from earmark.corpora.synthetic.sounds.timing import steady_onsets

RINGING_TONES_HZ = ((440.0, 480.0), (400.0, 450.0), (425.0, 425.0))  # America, Britain, Europe
KEYPAD_ROWS_HZ = (697.0, 770.0, 852.0, 941.0)
KEYPAD_COLUMNS_HZ = (1209.0, 1336.0, 1477.0)


def steady_tones(
    frequencies_hz: npt.ArrayLike, sample_rate: int, *, seconds: float, buzz: float
) -> Signal:
    """Return a chord of tones `(T,)`; `buzz` is the level of each one's harmonics."""
    n_samples = sample_count(seconds, sample_rate)
    harmonics = buzz ** np.arange(6)
    tones = [
        harmonic_tone(np.full(n_samples, frequency_hz), harmonics, sample_rate)
        for frequency_hz in np.atleast_1d(np.asarray(frequencies_hz, dtype=np.float64))
    ]
    chord = np.sum(tones, axis=0)
    return fade(chord, sample_rate, attack_seconds=0.004, release_seconds=0.004)


def bell_ring(rng: np.random.Generator, sample_rate: int, *, seconds: float) -> Signal:
    """Return one ring of a mechanical telephone `(T,)`: a hammer between two small gongs."""
    n_samples = sample_count(seconds, sample_rate)
    rate_hz = rng.uniform(18, 32)
    ring = np.zeros(n_samples)
    gong_hz = log_uniform(rng, 800, 1800)
    for offset, interval in ((0.0, 1.0), (0.5, rng.uniform(1.1, 1.35))):
        strokes = steady_onsets(rng, seconds, interval_seconds=1 / rate_hz, jitter=0.05)
        strengths = rng.uniform(0.7, 1.0, len(strokes))
        hammer = impulses_at(strokes + offset / rate_hz, strengths, n_samples, sample_rate)
        ring += resonate(
            hammer,
            sample_rate,
            frequencies_hz=gong_hz * interval * np.array(COWBELL_RATIOS) ** 1.15,
            t60_seconds=rng.uniform(0.1, 0.6, len(COWBELL_RATIOS)),
            amplitudes=rng.uniform(0.2, 1.0, len(COWBELL_RATIOS)),
        )
    return fade(ring, sample_rate, attack_seconds=0.002, release_seconds=0.08)


def warble_ring(rng: np.random.Generator, sample_rate: int, *, seconds: float) -> Signal:
    """Return one ring of an electronic telephone `(T,)`: two tones in quick alternation."""
    n_samples = sample_count(seconds, sample_rate)
    low_hz = log_uniform(rng, 500, 1800)
    time = np.arange(n_samples) / sample_rate
    is_high = np.sin(2 * np.pi * rng.uniform(7, 22) * time) > 0
    frequency_hz = np.where(is_high, low_hz * rng.uniform(1.15, 1.5), low_hz)
    tone = harmonic_tone(frequency_hz, rng.uniform(0.2, 0.8) ** np.arange(8), sample_rate)
    return fade(tone, sample_rate, attack_seconds=0.005, release_seconds=0.01)


def dialled_digits(rng: np.random.Generator, sample_rate: int, *, seconds: float) -> Signal:
    """Return digits pressed on a keypad `(T,)`, two tones each."""
    press_seconds = rng.uniform(0.07, 0.2)
    onsets = steady_onsets(
        rng, seconds, interval_seconds=press_seconds + rng.uniform(0.06, 0.3), jitter=0.2
    )
    digits = [
        steady_tones(
            [rng.choice(KEYPAD_ROWS_HZ), rng.choice(KEYPAD_COLUMNS_HZ)],
            sample_rate,
            seconds=press_seconds,
            buzz=0.05,
        )
        for _ in onsets
    ]
    return mix_at(list(onsets), digits, sample_count(seconds, sample_rate), sample_rate)


def telephone(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return a telephone `(T,)` that rings with a bell or a warble, gives a tone, or is dialled."""
    kind = rng.choice(["bell", "warble", "tone", "digits"], p=[0.35, 0.3, 0.15, 0.2])
    if kind == "digits":
        return finish(dialled_digits(rng, sample_rate, seconds=seconds))
    ring_seconds = min(log_uniform(rng, 0.4, 2.0), seconds)
    if kind == "bell":
        ring = bell_ring(rng, sample_rate, seconds=ring_seconds)
    elif kind == "warble":
        ring = warble_ring(rng, sample_rate, seconds=ring_seconds)
    else:
        tones_hz = RINGING_TONES_HZ[rng.integers(len(RINGING_TONES_HZ))]
        ring = steady_tones(tones_hz, sample_rate, seconds=ring_seconds, buzz=rng.uniform(0, 0.3))
    interval_seconds = ring_seconds + log_uniform(rng, 0.15, 1.5)
    onsets = steady_onsets(rng, seconds, interval_seconds=interval_seconds, jitter=0.0)
    rings = [ring] * len(onsets)
    return finish(mix_at(list(onsets), rings, sample_count(seconds, sample_rate), sample_rate))
