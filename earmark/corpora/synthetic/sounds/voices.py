"""A dog's bark: a rough glottal pulse train through a mouth that opens and closes.

Shapes: T samples.
"""

import numpy as np

from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    band_noise,
    equalise,
    fade,
    finish,
    harmonic_tone,
    high_pass,
    log_uniform,
    mix_at,
    sample_count,
)
from earmark.corpora.synthetic.sounds.timing import grouped_onsets


def glottal_pulses(
    rng: np.random.Generator, n_samples: int, sample_rate: int, *, peak_hz: float, roughness: float
) -> Signal:
    """Return a pulse train `(T,)` whose pitch arches up and falls, with jitter and breath."""
    position = np.linspace(0.0, 1.0, n_samples)
    arch = 0.55 + 0.45 * np.sin(np.pi * position ** rng.uniform(0.5, 0.9))
    n_jitter = max(2, n_samples // sample_count(0.004, sample_rate))
    jitter = np.interp(position, np.linspace(0, 1, n_jitter), rng.normal(0.0, roughness, n_jitter))
    frequency_hz = np.asarray(peak_hz * arch * np.exp(jitter), dtype=np.float64)
    pulses = harmonic_tone(frequency_hz, np.arange(1, 31) ** -0.9, sample_rate)
    breath = band_noise(rng, n_samples, sample_rate, low_hz=500, high_hz=6000)
    return pulses + 4 * roughness * breath * (0.4 + np.clip(pulses, 0.0, None))


def shape_mouth(signal: Signal, sample_rate: int, *, formants_hz: tuple[float, float]) -> Signal:
    """Send a signal `(T,)` through two formants and the higher ones' shelf."""
    for centre_hz, gain_db in zip(formants_hz, (16.0, 12.0), strict=True):
        signal = equalise(signal, sample_rate, centre_hz=centre_hz, gain_db=gain_db, quality=3.0)
    return high_pass(signal, sample_rate, cutoff_hz=0.4 * formants_hz[0])


def bark_once(
    rng: np.random.Generator, sample_rate: int, *, peak_hz: float, first_formant_hz: float
) -> Signal:
    """Return one bark `(T,)`, its formants moving from a closed mouth to an open one and back."""
    n_samples = sample_count(rng.uniform(0.1, 0.32), sample_rate)
    pulses = glottal_pulses(
        rng, n_samples, sample_rate, peak_hz=peak_hz, roughness=rng.uniform(0.02, 0.09)
    )
    closed_hz = (0.6 * first_formant_hz, 1.7 * first_formant_hz)
    open_hz = (first_formant_hz, 2.3 * first_formant_hz)
    opening = np.sin(np.pi * np.linspace(0.0, 1.0, n_samples) ** 0.7)
    mouth = opening * shape_mouth(pulses, sample_rate, formants_hz=open_hz)
    mouth += (1 - opening) * shape_mouth(pulses, sample_rate, formants_hz=closed_hz)
    return fade(mouth, sample_rate, attack_seconds=0.015, release_seconds=0.09)


def bark(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return one bark or groups of barks `(T,)` of a dog between great and toy."""
    size = log_uniform(rng, 0.6, 1.7)
    onsets = grouped_onsets(
        rng, seconds, group_sizes=(1, 4), interval_seconds=(0.25, 0.6), pause_seconds=(0.6, 1.8)
    )
    barks = [
        rng.uniform(0.5, 1.0)
        * bark_once(
            rng,
            sample_rate,
            peak_hz=480.0 / size * rng.uniform(0.85, 1.15),
            first_formant_hz=900.0 / size,
        )
        for _ in onsets
    ]
    return finish(mix_at(list(onsets), barks, sample_count(seconds, sample_rate), sample_rate))
