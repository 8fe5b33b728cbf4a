"""Acoustic fingerprints: 32 bits per frame that survive a change of level, rate, codec or length.

Haitsma & Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002), section 4.2: a bit is
the sign of a difference of band energies along frequency and time. Ours differ in three ways, so
that clips of 0.3 s can be told apart: windows of 128 ms instead of 370 ms; the difference in time
spans half a window, since neighbouring frames share most of their samples; and bits whose
difference is small, which noise flips, are marked as unreliable.
Shapes: T samples, N frames, 33 mel bands.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from earmark.sound.samples import Float32, resample
from earmark.spool import blocks_of

RATE = 16_000
WINDOW = 2048
UNIT = 128  # samples: offsets are counted in units
N_BITS = 32
BAND_HZ = (150.0, 5500.0)  # what a telephone recording or an mp3 of a low bit rate still holds
N_WEAKEST = 2
_BLOCK_FRAMES = 8192  # that are in memory at a time
_LAG = WINDOW // 2  # samples between the two energies of a bit
_DENSE_SECONDS = 2.0  # clips up to here have a frame every unit, longer ones every second unit
_RELIABLE_DB = 1.0  # a smaller difference changes its sign with little noise
_QUIET = 10**-3.5  # relative to the loudest frame's energy: 35 dB below it
_FLOOR = 1e-9  # about the energy that rounding to 16 bits leaves in a band

Codes = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The codes of a clip's frames.

    Attributes:
        codes: uint32 (N,), one bit for each of 32 differences.
        reliable: uint32 (N,), 1 where a bit is reliable; all 0 in a quiet frame.
        weakest: uint8 (N, 2), the indices of the bits that noise would flip first.
        step: units between frames, 1 or 2.
    """

    codes: Codes
    reliable: Codes
    weakest: NDArray[np.uint8]
    step: int

    def __len__(self) -> int:
        return len(self.codes)


def fingerprint(waveform: Float32, *, sample_rate: int) -> Fingerprint:
    """Fingerprint a float32 waveform (T,); a clip shorter than 0.2 s has no frame."""
    at_16k = resample(waveform, from_hz=sample_rate, to_hz=RATE)
    step = 1 if len(at_16k) <= _DENSE_SECONDS * RATE else 2
    energy = band_energies(at_16k, hop_length=step * UNIT)  # (N + lag, 33)
    lag = _LAG // (step * UNIT)
    level = 10 * np.log10(energy + _FLOOR)
    slope = level[:, :-1] - level[:, 1:]
    change = slope[lag:] - slope[:-lag]  # (N, 32)
    loudness = energy.sum(axis=1)
    # Both ends of the difference must be loud; otherwise the bits describe the noise floor.
    loud = np.minimum(loudness[lag:], loudness[:-lag]) > _QUIET * loudness.max(initial=0)
    size = np.abs(change)
    return Fingerprint(
        codes=_packed(change > 0),
        reliable=_packed((size > _RELIABLE_DB) & loud[:, None]),
        weakest=np.argsort(size, axis=1)[:, :N_WEAKEST].astype(np.uint8),
        step=step,
    )


def band_energies(at_16k: Float32, *, hop_length: int) -> Float32:
    """Mel band energies (frames, 33) of the windows that lie entirely within (T,) at 16 kHz."""
    if len(at_16k) < WINDOW:
        return np.zeros((0, N_BITS + 1), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(at_16k, WINDOW)[::hop_length]
    return np.concatenate([_energies(block) for block in blocks_of(frames, _BLOCK_FRAMES)])


def _energies(frames: Float32) -> Float32:
    spectra = np.fft.rfft(frames * _window())
    power = spectra.real**2 + spectra.imag**2
    return np.asarray(power @ _bank(), dtype=np.float32)


def count_bit_errors(a: Fingerprint, b: Fingerprint, offset: int) -> tuple[int, int]:
    """Count the reliable bits of the overlap that differ, and all reliable bits of the overlap.

    `offset` is the time in `a` minus the time of the same sound in `b`, in units. Where both
    fingerprints have a frame every second unit, it is rounded to the nearest frame.
    """
    first, second = _aligned(a, b, offset)
    reliable = a.reliable[first] & b.reliable[second]
    different = (a.codes[first] ^ b.codes[second]) & reliable
    return int(np.bitwise_count(different).sum()), int(np.bitwise_count(reliable).sum())


def _aligned(a: Fingerprint, b: Fingerprint, offset: int) -> tuple[slice, slice]:
    """The frames of `a` and `b` at the same moments, as slices of equal length."""
    if a.step > b.step:
        second, first = _aligned(b, a, -offset)
        return first, second
    stride = b.step // a.step
    shift = round(offset / a.step)  # in frames of a
    j = max(0, -(shift // stride))  # the first frame of b that overlaps a
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
