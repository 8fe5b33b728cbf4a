"""Blown pipes: the flute is open at both ends, the clarinet is closed by its reed.

Fletcher and Rossing, "The Physics of Musical Instruments" (1998), chapters 15 and 16.
Shapes: T samples.
"""

import numpy as np

from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    band_noise,
    equalise,
    finish,
    harmonic_tone,
    log_uniform,
    low_pass,
    sample_count,
)
from earmark.corpora.synthetic.sounds.strings import feedback_loop, loop_taps
from earmark.corpora.synthetic.sounds.timing import loudness_curve, melody, pitch_curve, vibrato


def pipe_breath(
    rng: np.random.Generator, n_samples: int, sample_rate: int, *, frequency_hz: float
) -> Signal:
    """Return breath noise `(T,)` through a pipe that resonates at every multiple of its pitch."""
    delay, taps = loop_taps(frequency_hz, sample_rate, damping=0.4)
    breath = band_noise(rng, n_samples, sample_rate, low_hz=300, high_hz=9000)
    coloured = feedback_loop(breath, delay, 0.75 * taps)
    return coloured / max(float(coloured.std()), 1e-9)


def flute(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return a flute's tune `(T,)`: few harmonics, a swaying loudness, breath through the pipe."""
    n_samples = sample_count(seconds, sample_rate)
    notes = melody(rng, seconds, range_hz=(262.0, 2000.0), note_seconds=(0.18, 1.0))
    sway = vibrato(
        rng, n_samples, sample_rate, rate_hz=rng.uniform(4.0, 6.2), depth_cents=rng.uniform(0, 22)
    )
    frequency_hz = sway * pitch_curve(notes, n_samples, sample_rate, glide_seconds=0.02)
    slope = rng.uniform(1.9, 3.2)
    harmonics = np.arange(1, 13) ** -slope * rng.uniform(0.5, 1.3, 12)
    harmonics[0] = rng.uniform(0.6, 1.2)
    tone = harmonic_tone(frequency_hz, harmonics, sample_rate)
    tone *= 1 + rng.uniform(0, 12) * (
        sway - 1
    )  # a flute's vibrato is more of loudness than of pitch
    breath_hz = notes[0].frequency_hz
    breath = pipe_breath(rng, n_samples, sample_rate, frequency_hz=breath_hz)
    tone += log_uniform(rng, 0.02, 0.15) * breath
    attack_seconds = log_uniform(rng, 0.02, 0.12)
    loudness = loudness_curve(
        rng,
        notes,
        n_samples,
        sample_rate,
        attack_seconds=attack_seconds,
        release_seconds=log_uniform(rng, 0.03, 0.12),
        tied=rng.uniform(0.1, 0.7),
    )
    return finish(tone * loudness)


def reed_harmonics(rng: np.random.Generator, *, even_db: float, slope: float) -> Signal:
    """Return 24 amplitudes of a pipe closed at one end: the even harmonics are `even_db` lower."""
    number = np.arange(1, 25)
    amplitudes = number**-slope * rng.uniform(0.7, 1.2, 24)
    amplitudes[1::2] *= 10 ** (even_db / 20)
    return amplitudes


def clarinet(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return a clarinet's tune `(T,)`: odd harmonics, hardly any vibrato, a little reed noise."""
    n_samples = sample_count(seconds, sample_rate)
    notes = melody(rng, seconds, range_hz=(147.0, 900.0), note_seconds=(0.15, 1.0))
    steadiness = vibrato(
        rng, n_samples, sample_rate, rate_hz=rng.uniform(4.0, 6.0), depth_cents=rng.uniform(0, 8)
    )
    frequency_hz = steadiness * pitch_curve(notes, n_samples, sample_rate, glide_seconds=0.008)
    even_db = rng.uniform(-34.0, -16.0)
    harmonics = reed_harmonics(rng, even_db=even_db, slope=rng.uniform(0.7, 1.3))
    tone = harmonic_tone(frequency_hz, harmonics, sample_rate)
    hiss = band_noise(rng, n_samples, sample_rate, low_hz=1500, high_hz=7000)
    tone += log_uniform(rng, 0.003, 0.04) * hiss
    tone = equalise(tone, sample_rate, centre_hz=1500, gain_db=rng.uniform(0, 6), quality=1.5)
    loudness = loudness_curve(
        rng,
        notes,
        n_samples,
        sample_rate,
        attack_seconds=log_uniform(rng, 0.012, 0.08),
        release_seconds=log_uniform(rng, 0.02, 0.1),
        tied=rng.uniform(0.05, 0.8),
    )
    return finish(low_pass(tone, sample_rate, cutoff_hz=log_uniform(rng, 4000, 12000)) * loudness)
