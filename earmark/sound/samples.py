"""Samples as int16 and float32, and at another rate.

Shapes: T samples.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

Int16 = NDArray[np.int16]
Float32 = NDArray[np.float32]

FULL_SCALE = 32768


def as_float(waveform: Int16 | Float32) -> Float32:
    """Scale int16 to float32 in [-1, 1); float32 passes."""
    if waveform.dtype == np.float32:
        return waveform.astype(np.float32, copy=False)
    return waveform.astype(np.float32) * np.float32(1 / FULL_SCALE)


def write_float(waveform: Int16 | Float32, out: Float32) -> None:
    """Write what `as_float` gives into `out` (T,), in one pass over memory."""
    scale = 1 / FULL_SCALE if waveform.dtype == np.int16 else 1
    np.multiply(waveform, np.float32(scale), out=out)


def as_int16(waveform: Int16 | Float32) -> Int16:
    """Scale float32 by 32,768, round and clip to int16; int16 passes."""
    if waveform.dtype == np.int16:
        return waveform.astype(np.int16, copy=False)
    clipped: Float32 = np.clip(waveform, -1, 1)
    scaled = np.rint(clipped * np.float32(FULL_SCALE))
    rounded: Int16 = np.minimum(scaled, FULL_SCALE - 1).astype(np.int16)
    return rounded


def resample(waveform: Float32, *, from_hz: int, to_hz: int) -> Float32:
    """Resample (T,) with soxr at its "HQ" quality: no alias above -100 dB."""
    if from_hz == to_hz:
        return waveform
    resampled: Float32 = soxr.resample(waveform, from_hz, to_hz, quality="HQ")
    return resampled


class Resampler:
    """Resamples a waveform that comes in pieces, to the bits of `resample` of the whole.

    >>> whole = np.sin(np.arange(1000, dtype=np.float32))
    >>> resampler = Resampler(from_hz=48_000, to_hz=16_000)
    >>> pieces = [resampler.push(whole[:301]), resampler.push(whole[301:]), resampler.finish()]
    >>> expected = resample(whole, from_hz=48_000, to_hz=16_000)
    >>> np.array_equal(np.concatenate(pieces), expected)
    True
    """

    def __init__(self, *, from_hz: int, to_hz: int) -> None:
        self._from_hz, self._to_hz = from_hz, to_hz
        # A lone piece goes through `resample`, since a stream costs 0.7 MB and a fifth more time.
        self._held = np.empty(0, np.float32)
        self._stream: soxr.ResampleStream | None = None

    def push(self, piece: Float32) -> Float32:
        """Add a piece (T,); return what is ready, which may be nothing."""
        if self._from_hz == self._to_hz:
            return piece
        held, self._held = self._held, piece
        return self._next(held, is_last=False) if len(held) else held

    def finish(self) -> Float32:
        """Return what is left once all pieces were added."""
        held, self._held = self._held, np.empty(0, np.float32)
        if self._stream is None:
            return resample(held, from_hz=self._from_hz, to_hz=self._to_hz)
        last, self._stream = self._next(held, is_last=True), None  # 0.7 MB; thousands may finish
        return last

    def _next(self, piece: Float32, *, is_last: bool) -> Float32:
        if self._stream is None:
            rates = (self._from_hz, self._to_hz)
            self._stream = soxr.ResampleStream(*rates, 1, dtype="float32", quality="HQ")
        ready: Float32 = self._stream.resample_chunk(np.ascontiguousarray(piece), last=is_last)
        return ready
