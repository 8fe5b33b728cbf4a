"""Acoustic fingerprints that survive level, rate, codec and cutting: 32 bits for a moment of sound.

Haitsma & Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002), section 4.2: a bit is
the sign of a difference of band energies along frequency and time. Ours differ in three ways, so
that clips of 0.3 s can be told apart: windows of 128 ms instead of 370 ms; the difference in time
spans half a window, since neighbouring frames share most of their samples; and bits whose
difference is small, which noise turns, are marked as weak.
Shapes: T samples, N frames, 33 mel bands.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from earmark.sound.decoding import Float32, resample

RATE = 16_000
WINDOW = 2048
UNIT = 128  # samples: what offsets are counted in
N_BITS = 32
BAND_HZ = (150.0, 5500.0)  # what a telephone recording or a thrifty mp3 still holds
N_WEAKEST = 2
_LAG = WINDOW // 2  # samples between the two energies of a bit
_DENSE_SECONDS = 2.0  # clips up to here have a frame every unit, longer ones every second unit
_STRONG_DB = 1.0  # differences under it change their sign with little noise
_QUIET = 10**-3.5  # of the loudest frame's energy: 35 dB under it
_FLOOR = 1e-9  # near the energy that rounding to 16 bits leaves in a band

Codes = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The codes of a clip's frames.

    Attributes:
        codes: uint32 (N,), a bit each for 32 differences.
        strong: uint32 (N,), 1 where a bit can be trusted; 0 throughout in a quiet frame.
        weakest: uint8 (N, 2), the bits that noise would turn first.
        step: units between frames, 1 or 2.
    """

    codes: Codes
    strong: Codes
    weakest: NDArray[np.uint8]
    step: int

    def __len__(self) -> int:
        return len(self.codes)


def fingerprint(waveform: Float32, *, sample_rate: int) -> Fingerprint:
    """Fingerprint float32 (T,); a clip under 0.2 s has no frame."""
    at_16k = resample(waveform, from_hz=sample_rate, to_hz=RATE)
    step = 1 if len(at_16k) <= _DENSE_SECONDS * RATE else 2
    energy = band_energies(at_16k, hop_length=step * UNIT)  # (N + lag, 33)
    lag = _LAG // (step * UNIT)
    level = 10 * np.log10(energy + _FLOOR)
    slope = level[:, :-1] - level[:, 1:]
    change = slope[lag:] - slope[:-lag]  # (N, 32)
    loudness = energy.sum(axis=1)
    # Both ends of the difference must sound, or the bits tell of the noise floor.
    loud = np.minimum(loudness[lag:], loudness[:-lag]) > _QUIET * loudness.max(initial=0)
    size = np.abs(change)
    return Fingerprint(
        codes=_packed(change > 0),
        strong=_packed((size > _STRONG_DB) & loud[:, None]),
        weakest=np.argsort(size, axis=1)[:, :N_WEAKEST].astype(np.uint8),
        step=step,
    )


def band_energies(at_16k: Float32, *, hop_length: int) -> Float32:
    """Mel band energies (frames, 33) of windows that lie whole within (T,) at 16 kHz."""
    if len(at_16k) < WINDOW:
        return np.zeros((0, N_BITS + 1), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(at_16k, WINDOW)[::hop_length]
    spectra = np.fft.rfft(frames * _window())
    power = spectra.real**2 + spectra.imag**2
    return np.asarray(power @ _bank(), dtype=np.float32)


def errors(a: Fingerprint, b: Fingerprint, offset: int) -> tuple[int, int]:
    """Count trusted bits of the overlap that differ, and all of them.

    `offset` is the time in `a` less that of the same sound in `b`, in units; where both have a
    frame every second unit it is taken to the nearest frame.
    """
    first, second = _aligned(a, b, offset)
    trusted = a.strong[first] & b.strong[second]
    differ = (a.codes[first] ^ b.codes[second]) & trusted
    return int(np.bitwise_count(differ).sum()), int(np.bitwise_count(trusted).sum())


def _aligned(a: Fingerprint, b: Fingerprint, offset: int) -> tuple[slice, slice]:
    """The frames of `a` and of `b` that stand for one moment, as slices of one length."""
    if a.step > b.step:
        second, first = _aligned(b, a, -offset)
        return first, second
    stride = b.step // a.step
    shift = round(offset / a.step)  # in frames of a
    j = max(0, -(shift // stride))  # the first frame of b that lies within a
    i = j * stride + shift
    n = max(0, min(len(b) - j, -((i - len(a)) // stride)))
    return slice(i, i + n * stride, stride), slice(j, j + n)


def _packed(bits: NDArray[np.bool_]) -> Codes:
    packed = np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0]
    return packed.astype(np.uint32)


@cache
def _window() -> Float32:
    window = np.hanning(WINDOW)
    return np.asarray(window / window.sum(), dtype=np.float32)


@cache
def _bank() -> Float32:
    """Triangles (bins, 33), evenly spaced in mel."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in BAND_HZ)
    edges = 700 * (10 ** (np.linspace(low, high, N_BITS + 3) / 2595) - 1)
    hz = np.arange(WINDOW // 2 + 1)[:, None] * RATE / WINDOW
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    bank = np.clip(np.minimum(rising, falling), 0, None)
    return np.asarray(bank, dtype=np.float32)
