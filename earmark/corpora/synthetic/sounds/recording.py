"""How a sound becomes a recording: the room, the microphone, the background, the silent ends.

Shapes: T samples.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy import signal as dsp

from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    decay,
    equalise,
    fade,
    harmonic_tone,
    high_pass,
    log_uniform,
    low_pass,
    sample_count,
)

BLOCK_SAMPLES = 1024
LOUD_BLOCK_PERCENTILE = 90.0  # the level that a signal-to-noise ratio speaks of


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What was drawn for one recording."""

    lead_seconds: float
    tail_seconds: float
    room_t60_seconds: float
    room_level: float
    low_cut_hz: float
    high_cut_hz: float
    colour_bands: tuple[tuple[float, float], ...]  # (centre in Hz, gain in dB)
    background_snr_db: float
    background_slope: float  # 0 white, 1 pink, 2 brown
    is_humming: bool
    floor_db: float  # of the noise under the silent ends, relative to the peak; -inf: digital
    peak_db: float


def draw_recording(
    rng: np.random.Generator, *, seconds: float, background_snr_db: tuple[float, float]
) -> Recording:
    """Draw the conditions of a recording of `seconds`, at most 40 % of it silence at the ends."""
    silence = np.array([rng.exponential(0.12), rng.exponential(0.3)])
    silence *= min(1.0, 0.4 * seconds / silence.sum())
    is_dry, is_telephone_band = rng.random() < 0.3, rng.random() < 0.05
    high_cut_hz = 3800.0 if is_telephone_band else log_uniform(rng, 7000, 20000)
    n_bands = int(rng.integers(1, 4))
    return Recording(
        lead_seconds=float(silence[0]),
        tail_seconds=float(silence[1]),
        room_t60_seconds=log_uniform(rng, 0.12, 1.1),
        room_level=0.0 if is_dry else log_uniform(rng, 0.05, 1.2),
        low_cut_hz=log_uniform(rng, 20, 300 if is_telephone_band else 120),
        high_cut_hz=high_cut_hz,
        colour_bands=tuple(
            (log_uniform(rng, 100, 9000), float(rng.normal(0.0, 4.0))) for _ in range(n_bands)
        ),
        background_snr_db=float(rng.uniform(*background_snr_db)),
        background_slope=float(rng.uniform(0.0, 2.0)),
        is_humming=rng.random() < 0.2,
        floor_db=float(rng.uniform(-84, -62)) if rng.random() < 0.5 else -np.inf,
        peak_db=-float(rng.exponential(5.0)),
    )


def impulse_response(
    rng: np.random.Generator, sample_rate: int, *, t60_seconds: float, level: float
) -> Signal:
    """Return a short room `(T,)`: the direct sound, six reflections, and a tail that grows dull."""
    n_samples = sample_count(0.9 * t60_seconds, sample_rate)
    tail = rng.standard_normal(n_samples) * decay(n_samples, sample_rate, t60_seconds=t60_seconds)
    tail = low_pass(tail, sample_rate, cutoff_hz=log_uniform(rng, 2500, 9000), order=1)
    tail[: min(n_samples // 4, sample_count(0.01, sample_rate))] = 0.0
    tail *= level / max(float(np.linalg.norm(tail)), 1e-9)
    reflections = rng.integers(1, max(2, min(n_samples, sample_count(0.04, sample_rate))), 6)
    np.add.at(tail, np.minimum(reflections, n_samples - 1), level * rng.normal(0.0, 0.25, 6))
    tail[0] = 1.0
    return tail


def loud_level(signal: Signal) -> float:
    """Return the root mean square of the loud blocks of a signal `(T,)`."""
    n_blocks = max(1, len(signal) // BLOCK_SAMPLES)
    blocks = signal[: n_blocks * BLOCK_SAMPLES].reshape(n_blocks, -1)
    power = np.percentile(np.mean(blocks**2, axis=1), LOUD_BLOCK_PERCENTILE)
    return float(np.sqrt(power))


def background(
    rng: np.random.Generator, n_samples: int, sample_rate: int, *, slope: float
) -> Signal:
    """Return room tone `(T,)` of unit level: noise that falls 3 `slope` dB an octave."""
    n_fft = fft.next_fast_len(n_samples, real=True)
    spectrum = fft.rfft(rng.standard_normal(n_fft))
    frequency_hz = np.maximum(fft.rfftfreq(n_fft, 1 / sample_rate), 40.0)
    noise = fft.irfft(spectrum * frequency_hz ** (-slope / 2), n_fft)[:n_samples]
    noise /= max(float(noise.std()), 1e-9)
    breath = np.interp(np.linspace(0, 7, n_samples), np.arange(8), rng.uniform(0.6, 1.3, 8))
    return np.asarray(noise * breath, dtype=np.float64)


def mains_hum(rng: np.random.Generator, n_samples: int, sample_rate: int) -> Signal:
    """Return the hum of 50 or 60 Hz mains `(T,)` with its odd harmonics, of about unit level."""
    mains_hz = np.full(n_samples, float(rng.choice([50.0, 60.0])))
    return harmonic_tone(mains_hz, [1.0, 0.5, 0.4, 0.0, 0.2], sample_rate)


def colour(signal: Signal, sample_rate: int, recording: Recording) -> Signal:
    """Send a signal `(T,)` through the recording's microphone."""
    for centre_hz, gain_db in recording.colour_bands:
        signal = equalise(signal, sample_rate, centre_hz=centre_hz, gain_db=gain_db, quality=0.9)
    signal = high_pass(signal, sample_rate, cutoff_hz=recording.low_cut_hz)
    return low_pass(signal, sample_rate, cutoff_hz=recording.high_cut_hz)


def add_ends(
    rng: np.random.Generator,
    signal: Signal,
    sample_rate: int,
    recording: Recording,
    *,
    n_samples: int,
) -> Signal:
    """Place a signal of unit peak in `(n_samples,)` of digital silence or of faint noise."""
    placed = np.zeros(n_samples)
    start = min(round(recording.lead_seconds * sample_rate), n_samples - len(signal))
    placed[start : start + len(signal)] = signal
    if recording.floor_db > -np.inf:
        placed += 10 ** (recording.floor_db / 20) * rng.standard_normal(n_samples)
    return placed


def record(
    rng: np.random.Generator,
    waveform: Waveform,
    sample_rate: int,
    recording: Recording,
    *,
    seconds: float,
) -> Waveform:
    """Record a sound `(T,)` under the drawn conditions into `seconds`, ends included."""
    sound: Signal = waveform.astype(np.float64)
    if recording.room_level > 0:
        room = impulse_response(
            rng, sample_rate, t60_seconds=recording.room_t60_seconds, level=recording.room_level
        )
        sound = dsp.fftconvolve(sound, room)[: len(sound)]
    room_tone = background(
        rng,
        len(sound),
        sample_rate,
        slope=recording.background_slope,
    )
    if recording.is_humming:
        room_tone += mains_hum(rng, len(sound), sample_rate)
    sound = sound + loud_level(sound) * 10 ** (-recording.background_snr_db / 20) * room_tone
    sound = colour(sound, sample_rate, recording)
    sound = fade(sound, sample_rate, attack_seconds=0.003, release_seconds=0.03)
    sound /= max(float(np.max(np.abs(sound))), 1e-9)
    n_samples = sample_count(seconds, sample_rate)
    placed = add_ends(rng, sound, sample_rate, recording, n_samples=n_samples)
    return np.clip(10 ** (recording.peak_db / 20) * placed, -1.0, 1.0).astype(np.float32)
