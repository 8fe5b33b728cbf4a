"""Drums and cymbals: membranes with Bessel modes, snare wires, a pair of hi-hats.

The modes of an ideal membrane are from Fletcher and Rossing (1998), section 3.2. Shapes: T samples.
"""

import numpy as np

from earmark.corpora.synthetic.sounds.metals import click
from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    band_noise,
    decay,
    finish,
    high_pass,
    impulse,
    log_uniform,
    mix_at,
    resonate,
    sample_count,
)
from earmark.corpora.synthetic.sounds.timing import hit_onsets

MEMBRANE_RATIOS = (1.0, 1.593, 2.135, 2.295, 2.653, 2.917)


def membrane(
    sample_rate: int, *, frequency_hz: float, seconds: float, t60_seconds: float, edge: float
) -> Signal:
    """Return a struck membrane `(T,)`; near the `edge` (0 to 1) the upper modes are stronger."""
    ratios = np.array(MEMBRANE_RATIOS)
    return resonate(
        impulse(sample_count(seconds, sample_rate)),
        sample_rate,
        frequencies_hz=frequency_hz * ratios,
        t60_seconds=t60_seconds / ratios,
        amplitudes=edge ** (ratios - 1),
    )


def falling_tone(
    sample_rate: int, *, start_hz: float, end_hz: float, fall_seconds: float, seconds: float
) -> Signal:
    """Return a sine `(T,)` whose pitch falls as the tension of a hard-hit membrane does."""
    n_samples = sample_count(seconds, sample_rate)
    fall = decay(n_samples, sample_rate, t60_seconds=fall_seconds * np.log(1000.0))
    frequency_hz = end_hz + (start_hz - end_hz) * fall
    return np.asarray(np.sin(2 * np.pi * np.cumsum(frequency_hz) / sample_rate), dtype=np.float64)


def bass_drum(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return kicks or strokes on a large drum `(T,)`: a falling tone, its modes, the beater."""
    end_hz = log_uniform(rng, 38, 85)
    t60_seconds = log_uniform(rng, 0.18, 1.2)
    length = 1.2 * t60_seconds
    tone = falling_tone(
        sample_rate,
        start_hz=end_hz * rng.uniform(1.2, 3.5),
        end_hz=end_hz,
        fall_seconds=log_uniform(rng, 0.01, 0.06),
        seconds=length,
    )
    tone *= decay(len(tone), sample_rate, t60_seconds=t60_seconds)
    skin = membrane(
        sample_rate,
        frequency_hz=end_hz * 1.5,
        seconds=length,
        t60_seconds=0.6 * t60_seconds,
        edge=rng.uniform(0.2, 0.7),
    )
    beater = click(rng, len(tone), sample_rate, low_hz=300, high_hz=log_uniform(rng, 900, 5000))
    stroke = tone + rng.uniform(0.0, 0.6) * skin + log_uniform(rng, 0.01, 0.25) * beater
    onsets = hit_onsets(rng, seconds, interval_seconds=(0.22, 0.9))
    strokes = [rng.uniform(0.5, 1.0) * stroke for _ in onsets]
    return finish(mix_at(list(onsets), strokes, sample_count(seconds, sample_rate), sample_rate))


def snare_drum(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return strokes or a roll on a snare drum `(T,)`: a membrane and the wires it shakes."""
    wires_t60_seconds = log_uniform(rng, 0.1, 0.45)
    length = 1.3 * wires_t60_seconds
    skin = membrane(
        sample_rate,
        frequency_hz=log_uniform(rng, 140, 290),
        seconds=length,
        t60_seconds=log_uniform(rng, 0.08, 0.4),
        edge=rng.uniform(0.3, 0.9),
    )
    low_hz, high_hz = log_uniform(rng, 700, 2500), log_uniform(rng, 6000, 14000)
    wires_level = log_uniform(rng, 0.15, 1.0)
    interval_seconds = (0.04, 0.09) if rng.random() < 0.2 else (0.13, 0.6)
    onsets = hit_onsets(rng, seconds, interval_seconds=interval_seconds)
    strokes = []
    for _ in onsets:
        wires = band_noise(rng, len(skin), sample_rate, low_hz=low_hz, high_hz=high_hz)
        wires *= wires_level * decay(len(skin), sample_rate, t60_seconds=wires_t60_seconds)
        strokes.append(rng.uniform(0.4, 1.0) * (skin + wires))
    return finish(mix_at(list(onsets), strokes, sample_count(seconds, sample_rate), sample_rate))


def cymbal(
    rng: np.random.Generator, n_samples: int, sample_rate: int, *, t60_seconds: float
) -> Signal:
    """Return a small cymbal `(T,)`: a crowd of inharmonic modes over a wash of noise."""
    modes = resonate(
        impulse(n_samples),
        sample_rate,
        frequencies_hz=log_uniform(rng, 300, 480) * 2 ** rng.uniform(2.5, 5.3, 18),
        t60_seconds=t60_seconds * rng.uniform(0.5, 1.2, 18),
        amplitudes=rng.uniform(0.1, 0.5, 18),
    )
    wash = band_noise(
        rng, n_samples, sample_rate, low_hz=log_uniform(rng, 3500, 7000), high_hz=18000
    )
    return modes + wash * decay(n_samples, sample_rate, t60_seconds=0.8 * t60_seconds)


def hi_hat(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return closed and open strokes on a pair of hi-hats `(T,)`."""
    closed_seconds, open_seconds = log_uniform(rng, 0.05, 0.25), log_uniform(rng, 0.4, 1.6)
    open_share = float(rng.choice([0.0, 0.15, 0.5, 1.0]))
    onsets = hit_onsets(rng, seconds, interval_seconds=(0.1, 0.5))
    closed, opened = (
        cymbal(rng, sample_count(1.1 * t60, sample_rate), sample_rate, t60_seconds=t60)
        for t60 in (closed_seconds, open_seconds)
    )
    strokes = [
        rng.uniform(0.3, 1.0) * (opened if rng.random() < open_share else closed) for _ in onsets
    ]
    line = mix_at(list(onsets), strokes, sample_count(seconds, sample_rate), sample_rate)
    return finish(high_pass(line, sample_rate, cutoff_hz=log_uniform(rng, 900, 4000)))
