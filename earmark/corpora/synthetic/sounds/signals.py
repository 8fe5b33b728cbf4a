"""The building blocks of the synthetic sounds: noise, resonators, harmonics, events on a time line.

Shapes: T samples, H harmonics or modes. Signals are float64 inside; `finish` makes a waveform.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import signal as dsp

Signal = npt.NDArray[np.float64]
Waveform = npt.NDArray[np.float32]

HIGHEST_SHARE_OF_RATE = 0.46  # partials above this share of the sample rate are left out


def sample_count(seconds: float, sample_rate: int) -> int:
    """Return how many samples last `seconds`, never fewer than one."""
    return max(1, round(seconds * sample_rate))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform, as pitches, decays and tempos are."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def finish(signal: Signal) -> Waveform:
    """Scale a signal `(T,)` to a peak of 0.9 and make it a float32 waveform `(T,)`."""
    peak = float(np.max(np.abs(signal)))
    return (signal * (0.9 / max(peak, 1e-9))).astype(np.float32)


def impulse(n_samples: int) -> Signal:
    """Return one, then zeros `(T,)`."""
    unit = np.zeros(n_samples)
    unit[0] = 1.0
    return unit


def band_noise(
    rng: np.random.Generator, n_samples: int, sample_rate: int, *, low_hz: float, high_hz: float
) -> Signal:
    """Return Gaussian noise `(T,)` of unit variance between two frequencies (12 dB an octave)."""
    high_hz = min(high_hz, 0.49 * sample_rate)
    low_hz = min(low_hz, 0.8 * high_hz)
    sections = dsp.butter(2, [low_hz, high_hz], "bandpass", fs=sample_rate, output="sos")
    noise: Signal = dsp.sosfilt(sections, rng.standard_normal(n_samples))
    return noise / max(float(noise.std()), 1e-9)


def decay(n_samples: int, sample_rate: int, *, t60_seconds: float) -> Signal:
    """Return an exponential `(T,)` that has fallen by 60 dB after `t60_seconds`."""
    fall_per_sample = np.log(1000.0) / (t60_seconds * sample_rate)
    return np.asarray(np.exp(-fall_per_sample * np.arange(n_samples)), dtype=np.float64)


def fade(
    signal: Signal, sample_rate: int, *, attack_seconds: float, release_seconds: float
) -> Signal:
    """Ramp the ends of a signal `(T,)` with half cosines, shortened where the signal is short."""
    n_attack = min(sample_count(attack_seconds, sample_rate), len(signal) // 2)
    n_release = min(sample_count(release_seconds, sample_rate), len(signal) // 2)
    gain = np.ones(len(signal))
    gain[:n_attack] = 0.5 - 0.5 * np.cos(np.pi * np.arange(n_attack) / max(n_attack, 1))
    gain[len(gain) - n_release :] = 0.5 + 0.5 * np.cos(
        np.pi * np.arange(1, n_release + 1) / max(n_release, 1)
    )
    return signal * gain


def resonate(
    excitation: Signal,
    sample_rate: int,
    *,
    frequencies_hz: npt.ArrayLike,
    t60_seconds: npt.ArrayLike,
    amplitudes: npt.ArrayLike,
) -> Signal:
    """Sum two-pole resonators `(H,)` driven by `excitation` `(T,)`.

    An impulse makes each ring as a r^n sin(wn), 60 dB lower after its `t60_seconds`.
    """
    modes = np.broadcast_arrays(frequencies_hz, t60_seconds, amplitudes)
    ringing = np.zeros(len(excitation))
    for frequency_hz, t60, amplitude in zip(*(np.atleast_1d(mode) for mode in modes), strict=True):
        if frequency_hz > HIGHEST_SHARE_OF_RATE * sample_rate:
            continue
        angle = 2 * np.pi * frequency_hz / sample_rate
        radius = np.exp(-np.log(1000.0) / (t60 * sample_rate))
        numerator = [0.0, amplitude * radius * np.sin(angle)]
        denominator = [1.0, -2 * radius * np.cos(angle), radius**2]
        ringing += dsp.lfilter(numerator, denominator, excitation)
    return ringing


def harmonic_tone(frequency_hz: Signal, amplitudes: npt.ArrayLike, sample_rate: int) -> Signal:
    """Sum the harmonics `(H,)` of a moving fundamental `(T,)`, without those that would alias.

    The n-th harmonic is the n-th power of one rotating phasor, so each costs one product.
    """
    n_audible = int(HIGHEST_SHARE_OF_RATE * sample_rate / float(frequency_hz.max()))
    phasor = np.exp(2j * np.pi * np.cumsum(frequency_hz) / sample_rate)  # (T,)
    tone = np.zeros(len(frequency_hz))
    power = np.ones_like(phasor)
    for amplitude in np.atleast_1d(np.asarray(amplitudes, dtype=np.float64))[:n_audible]:
        power = power * phasor
        tone += amplitude * power.imag
    return tone


def equalise(
    signal: Signal, sample_rate: int, *, centre_hz: float, gain_db: float, quality: float
) -> Signal:
    """Raise or lower a band of a signal `(T,)` (peaking biquad of the Audio EQ Cookbook)."""
    root_gain = 10 ** (gain_db / 40)
    angle = 2 * np.pi * min(centre_hz, 0.45 * sample_rate) / sample_rate
    alpha = np.sin(angle) / (2 * quality)
    middle = -2 * np.cos(angle)
    numerator = [1 + alpha * root_gain, middle, 1 - alpha * root_gain]
    denominator = [1 + alpha / root_gain, middle, 1 - alpha / root_gain]
    equalised: Signal = dsp.lfilter(numerator, denominator, signal)
    return equalised


def low_pass(signal: Signal, sample_rate: int, *, cutoff_hz: float, order: int = 2) -> Signal:
    """Take the treble off a signal `(T,)` (Butterworth)."""
    cutoff_hz = min(cutoff_hz, 0.49 * sample_rate)
    filtered: Signal = dsp.sosfilt(
        dsp.butter(order, cutoff_hz, "lowpass", fs=sample_rate, output="sos"), signal
    )
    return filtered


def high_pass(signal: Signal, sample_rate: int, *, cutoff_hz: float, order: int = 2) -> Signal:
    """Take the bass off a signal `(T,)` (Butterworth)."""
    filtered: Signal = dsp.sosfilt(
        dsp.butter(order, cutoff_hz, "highpass", fs=sample_rate, output="sos"), signal
    )
    return filtered


def mix_at(
    onsets_seconds: Sequence[float], events: Iterable[Signal], n_samples: int, sample_rate: int
) -> Signal:
    """Lay events of any length on a time line `(T,)`, cut at its end."""
    line = np.zeros(n_samples)
    for onset_seconds, event in zip(onsets_seconds, events, strict=True):
        start = round(onset_seconds * sample_rate)
        length = min(len(event), n_samples - start)
        if length > 0:
            line[start : start + length] += event[:length]
    return line


def impulses_at(
    onsets_seconds: npt.ArrayLike, strengths: npt.ArrayLike, n_samples: int, sample_rate: int
) -> Signal:
    """Return a line `(T,)` of single-sample impulses, to be sent through a resonator."""
    line = np.zeros(n_samples)
    positions = np.round(np.asarray(onsets_seconds) * sample_rate).astype(np.int64)
    inside = (positions >= 0) & (positions < n_samples)
    np.add.at(line, positions[inside], np.broadcast_to(strengths, positions.shape)[inside])
    return line
