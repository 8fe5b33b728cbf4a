"""Struck metal: the glockenspiel's bars, the cowbell's plates, a bunch of keys.

The partials of a free bar are from Fletcher and Rossing (1998), section 2.15. Shapes: T samples.
"""

import numpy as np

from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    band_noise,
    decay,
    finish,
    high_pass,
    impulse,
    impulses_at,
    log_uniform,
    mix_at,
    resonate,
    sample_count,
)
from earmark.corpora.synthetic.sounds.timing import hit_onsets, melody, random_onsets

FREE_BAR_RATIOS = (1.0, 2.756, 5.404, 8.933)
COWBELL_RATIOS = (1.0, 1.48, 2.24, 2.81, 3.73, 4.60, 6.10)


def click(
    rng: np.random.Generator, n_samples: int, sample_rate: int, *, low_hz: float, high_hz: float
) -> Signal:
    """Return the short noise `(T,)` of a stick or mallet that lands."""
    noise = band_noise(rng, n_samples, sample_rate, low_hz=low_hz, high_hz=high_hz)
    return noise * decay(n_samples, sample_rate, t60_seconds=0.012)


def struck_bar(
    sample_rate: int, *, frequency_hz: float, seconds: float, t60_seconds: float, hardness: float
) -> Signal:
    """Return a free bar that rings `(T,)`; a harder mallet wakes more of the upper partials."""
    ratios = np.array(FREE_BAR_RATIOS)
    return resonate(
        impulse(sample_count(seconds, sample_rate)),
        sample_rate,
        frequencies_hz=frequency_hz * ratios,
        t60_seconds=t60_seconds / ratios**1.1,
        amplitudes=hardness ** np.arange(len(ratios)),
    )


def glockenspiel(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return a tune `(T,)` on steel bars of G5 to C8, every note ringing over the next ones."""
    notes = melody(rng, seconds, range_hz=(700.0, 4200.0), note_seconds=(0.15, 0.8))
    hardness, t60_at_1_khz = rng.uniform(0.25, 0.8), log_uniform(rng, 0.6, 4.0)
    click_level = log_uniform(rng, 0.01, 0.2)
    bars = []
    for note in notes:
        t60_seconds = t60_at_1_khz * (1000.0 / note.frequency_hz) ** 0.7
        bar = rng.uniform(0.4, 1.0) * struck_bar(
            sample_rate,
            frequency_hz=note.frequency_hz,
            seconds=min(max(seconds - note.onset_seconds, 0.02), t60_seconds),
            t60_seconds=t60_seconds,
            hardness=hardness,
        )
        mallet = click(rng, len(bar), sample_rate, low_hz=2000, high_hz=9000)
        bars.append(bar + click_level * mallet)
    onsets = [note.onset_seconds for note in notes]
    return finish(mix_at(onsets, bars, sample_count(seconds, sample_rate), sample_rate))


def cowbell(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return strokes on a folded steel bell `(T,)`: two strong partials, a dull and quick decay."""
    n_samples = sample_count(seconds, sample_rate)
    onsets = hit_onsets(rng, seconds, interval_seconds=(0.14, 0.7))
    ratios = np.array(COWBELL_RATIOS) * rng.uniform(0.96, 1.04, len(COWBELL_RATIOS))
    amplitudes = np.concatenate([[1.0, rng.uniform(0.6, 1.2)], rng.uniform(0.1, 0.6, 5)])
    strokes = impulses_at(onsets, rng.uniform(0.4, 1.0, len(onsets)), n_samples, sample_rate)
    bell = resonate(
        strokes,
        sample_rate,
        frequencies_hz=log_uniform(rng, 380, 1100) * ratios,
        t60_seconds=log_uniform(rng, 0.2, 1.0) / np.sqrt(ratios),
        amplitudes=amplitudes,
    )
    stick = click(rng, sample_count(0.03, sample_rate), sample_rate, low_hz=900, high_hz=6000)
    taps = mix_at(list(onsets), [stick] * len(onsets), n_samples, sample_rate)
    return finish(bell + log_uniform(rng, 0.05, 0.4) * taps)


def shake_strengths(rng: np.random.Generator, onsets_seconds: Signal, *, shake_hz: float) -> Signal:
    """Return how hard each contact lands when a hand shakes `shake_hz` times a second."""
    phase = 2 * np.pi * (shake_hz * onsets_seconds + rng.random())
    swing = np.clip(0.5 + 0.5 * np.sin(phase), 0.0, 1.0) ** 2
    strengths = (0.08 + swing) * rng.exponential(1.0, len(onsets_seconds))
    return np.asarray(strengths, dtype=np.float64)


def keys_jangling(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return a bunch of keys `(T,)`: random contacts, each ringing one key's high partials."""
    n_samples = sample_count(seconds, sample_rate)
    n_keys = int(rng.integers(3, 7))
    rate_hz, shake_hz = log_uniform(rng, 14, 60) / n_keys, log_uniform(rng, 0.8, 5.0)
    lowest_hz = log_uniform(rng, 1800, 4200)
    bunch = np.zeros(n_samples)
    for _ in range(n_keys):
        onsets = random_onsets(rng, seconds, rate_hz=rate_hz)
        contacts = impulses_at(
            onsets, shake_strengths(rng, onsets, shake_hz=shake_hz), n_samples, sample_rate
        )
        bunch += resonate(
            contacts,
            sample_rate,
            frequencies_hz=lowest_hz * 2 ** rng.uniform(0.0, 2.2, 6),
            t60_seconds=np.exp(rng.uniform(np.log(0.02), np.log(0.25), 6)),
            amplitudes=rng.uniform(0.2, 1.0, 6),
        )
    return finish(high_pass(bunch, sample_rate, cutoff_hz=800))
