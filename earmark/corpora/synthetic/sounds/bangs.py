"""Gunfire: a blast wave, the hiss of burning powder, and echoes from far walls.

Shapes: T samples.
"""

import numpy as np

from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    band_noise,
    decay,
    finish,
    log_uniform,
    low_pass,
    mix_at,
    sample_count,
)
from earmark.corpora.synthetic.sounds.timing import grouped_onsets


def blast_wave(sample_rate: int, *, positive_seconds: float, n_samples: int) -> Signal:
    """Return Friedlander's wave `(T,)`: an instant rise, a fall through zero, a shallow trough."""
    time = np.arange(n_samples) / (sample_rate * positive_seconds)
    return np.asarray((1 - time) * np.exp(-time), dtype=np.float64)


def shot(
    rng: np.random.Generator, sample_rate: int, *, t60_seconds: float, muffled_hz: float
) -> Signal:
    """Return one shot `(T,)`; a far one is `muffled_hz` by air and obstacles."""
    n_samples = sample_count(1.1 * t60_seconds, sample_rate)
    positive_seconds = log_uniform(rng, 0.0006, 0.004)
    wave = blast_wave(sample_rate, positive_seconds=positive_seconds, n_samples=n_samples)
    powder = band_noise(rng, n_samples, sample_rate, low_hz=250, high_hz=9000)
    powder *= decay(n_samples, sample_rate, t60_seconds=rng.uniform(0.04, 0.16))
    rumble = band_noise(rng, n_samples, sample_rate, low_hz=60, high_hz=rng.uniform(500, 2200))
    rumble *= decay(n_samples, sample_rate, t60_seconds=t60_seconds)
    bang = wave + rng.uniform(0.2, 0.6) * powder + rng.uniform(0.08, 0.3) * rumble
    return low_pass(bang, sample_rate, cutoff_hz=muffled_hz)


def echo(rng: np.random.Generator, signal: Signal, sample_rate: int) -> Signal:
    """Add up to three duller, later copies of a signal `(T,)`, as walls and hills send back."""
    echoed = signal.copy()
    for _ in range(int(rng.integers(0, 4))):
        shift = sample_count(rng.uniform(0.06, 0.4), sample_rate)
        if shift < len(signal):
            dull = low_pass(signal[:-shift], sample_rate, cutoff_hz=1800)
            echoed[shift:] += rng.uniform(0.05, 0.35) * dull
    return echoed


def gunfire(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return single shots or bursts of automatic fire `(T,)`."""
    is_automatic = rng.random() < 0.4
    onsets = grouped_onsets(
        rng,
        seconds,
        group_sizes=(3, 9) if is_automatic else (1, 1),
        interval_seconds=(0.06, 0.14),
        pause_seconds=(0.5, 2.2),
    )
    t60_seconds = log_uniform(rng, 0.35, 1.6)
    muffled_hz = log_uniform(rng, 1800, 16000)
    bang = shot(rng, sample_rate, t60_seconds=t60_seconds, muffled_hz=muffled_hz)
    shots = [rng.uniform(0.7, 1.0) * bang for _ in onsets]
    line = mix_at(list(onsets), shots, sample_count(seconds, sample_rate), sample_rate)
    return finish(echo(rng, line, sample_rate))
