"""A part of a recording, collected block by block at the working rate as mono int16.

Shapes: T samples, n of a block, C channels.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from earmark.sound.samples import FULL_SCALE, Float32, Int16, Resampler, as_float, as_int16
from earmark.sound.unusable import UnusableAudio
from earmark.spool import FileRows, Scratch, Spool

SHORTEST_SECONDS = 0.01  # less than a hop of every paper's frames: a click without a spectrum
# Float samples beyond these peaks are brought within them: below 8 steps of int16 hardly 4 bits
# would be left, below half a step none; and no codec overshoots full scale eightfold, but floats
# on the scale of integers do.
QUIETEST_PEAK, LOUDEST_PEAK = 2.0**-12, 8.0
_SMALLEST_STEP = 2.0**-24  # half of one of 24 bits: what lies below was not recorded
_CANCELLED = 2.0**-10  # of the peak of the channels; what is left of their mean is rounding
_SLACK_SECONDS = 0.01  # how far an excerpt may pass the end: times in tables are rounded

Span = tuple[float, float]  # start and end in seconds; NaN: those of the recording
WHOLE: Span = (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """A recording at the working rate, and what it was in its file.

    Attributes:
        waveform: int16 (T,), mono at the working rate; in a file where it is too long for memory.
        n_frames: samples of one channel of the clip at `native_sample_rate`.
        peak: the largest magnitude of the file; 1 is full scale, where all but gross excess ends.
        sha256: of the waveform's bytes: equal for equal sound, whatever container it came in; ""
            where it was not wanted.
        gain: what the samples were multiplied by: a power of two where their peak was outside of
            QUIETEST_PEAK to LOUDEST_PEAK, else 1.
    """

    waveform: Int16 | FileRows
    native_sample_rate: int
    channels: int
    n_frames: int
    peak: float
    sha256: str
    gain: float

    @property
    def duration_seconds(self) -> float:
        return self.n_frames / self.native_sample_rate


class Wanted(NamedTuple):
    """An excerpt to decode, and what to multiply its samples by, if that is known."""

    span: Span
    gain: float | None = None
    with_digest: bool = True  # whether `Decoded.sha256` is wanted, which takes a third of all


class Excerpt:
    """A part of a recording, collected block by block at the working rate as int16."""

    def __init__(self, wanted: Wanted, rate: int, sample_rate: int, scratch: Scratch) -> None:
        self.rate, self.sample_rate = rate, sample_rate
        self.span = span = wanted.span
        self.gain, self.with_digest = wanted.gain, wanted.with_digest
        # The nearest samples are taken.
        self.start = 0 if math.isnan(span[0]) else round(span[0] * rate)
        self.end = math.inf if math.isnan(span[1]) else round(span[1] * rate)
        self.n_frames, self.is_finite, self.is_finished = 0, True, False
        # Of the samples before they are int16: the largest magnitude of floats, and their range.
        self.float_peak, self.lowest, self.highest = 0.0, math.inf, -math.inf
        self.channel_peak, self.mono_peak = 0.0, 0.0  # where there are several channels
        self.int16_lowest, self.int16_highest = FULL_SCALE, -FULL_SCALE - 1
        self._resampler = Resampler(from_hz=rate, to_hz=sample_rate)
        self._spool = Spool(np.int16, scratch=scratch)
        self._digest = hashlib.sha256()

    def take(self, mono: Int16 | Float32, channels: Int16 | Float32, position: int) -> None:
        """Take what belongs to it of samples that begin at a position of the recording.

        Args:
            mono: (n,), the mean of the channels (n, C).
        """
        stop = int(min(max(self.end - position, 0), len(mono)))
        mine = slice(max(self.start - position, 0), stop)
        part = mono[mine]
        self.n_frames += len(part)
        if len(part) and channels.shape[1] > 1:
            self.channel_peak = max(self.channel_peak, _peak(channels[mine]))
            self.mono_peak = max(self.mono_peak, _peak(part))
        if 0 < len(part) < len(mono):
            part = part.copy()  # so that it does not hold the whole block in memory
        if self.rate != self.sample_rate:
            part = self._resampler.push(as_float(part))
        self._add(part)
        if position + len(mono) >= self.end:
            self._finish()

    def result(self, path: Path, n_read: int, channels: int) -> Decoded | UnusableAudio | Wanted:
        """The excerpt of a recording of `n_read` samples, why it cannot be used, or its gain."""
        self._finish()
        other = self._unusable(path, n_read) or self._with_gain() or self._silent(path)
        if other is not None:
            self.discard()
            return other
        gain = self.gain or 1.0
        return Decoded(
            waveform=self._spool.rows(),
            native_sample_rate=self.rate,
            channels=channels,
            n_frames=self.n_frames,
            peak=max(self.int16_highest, -self.int16_lowest) / FULL_SCALE / gain,
            sha256=self._digest.hexdigest() if self.with_digest else "",
            gain=gain,
        )

    def discard(self) -> None:
        self._spool.discard()

    def _finish(self) -> None:
        if not self.is_finished:
            self.is_finished = True
            self._add(self._resampler.finish())

    def _add(self, part: Int16 | Float32) -> None:
        """Add samples (n,) at the working rate."""
        if not len(part) or not self.is_finite:
            return
        if part.dtype == np.float32 and not np.isfinite(part).all():
            self.is_finite = False
            return
        lowest, highest = float(part.min()), float(part.max())
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        if part.dtype == np.float32:
            self.float_peak = max(self.float_peak, highest, -lowest)
            if self.gain:
                part = np.ldexp(part, round(math.log2(self.gain)))
        waveform = as_int16(part)
        if part.dtype == np.float32:
            lowest, highest = float(waveform.min()), float(waveform.max())
        self.int16_lowest = min(self.int16_lowest, int(lowest))
        self.int16_highest = max(self.int16_highest, int(highest))
        if self.with_digest:
            self._digest.update(np.ascontiguousarray(waveform).data)
        self._spool.append(waveform)

    def _unusable(self, path: Path, n_read: int) -> UnusableAudio | None:
        seconds = n_read / self.rate
        start = 0.0 if math.isnan(self.span[0]) else self.span[0]
        end = seconds if math.isnan(self.span[1]) else self.span[1]
        if end > seconds + _SLACK_SECONDS or (start > 0 and not self.n_frames):
            finding = f"it is {seconds:.3f} s long, its excerpt {start:.3f} to {end:.3f} s"
            fix = "correct start_seconds and end_seconds, or leave the clip out"
            return UnusableAudio(path, "beyond_end", finding, fix)
        if not self.is_finite:
            finding, fix = "has NaN or infinite samples", "export it again, or leave it out"
            return UnusableAudio(path, "not_finite", finding, fix)
        if not self._spool:
            finding = f"has no sample at {self.sample_rate} Hz"
            return UnusableAudio(path, "empty", finding, "leave it out")
        if (seconds := self.n_frames / self.rate) < SHORTEST_SECONDS:
            finding = f"is {1000 * seconds:.3g} ms long, below {1000 * SHORTEST_SECONDS:g} ms"
            is_whole = all(map(math.isnan, self.span))
            fix = "record it again" if is_whole else "widen start_seconds and end_seconds"
            return UnusableAudio(path, "too_short", finding, f"{fix}, or leave it out")
        if self.mono_peak < _CANCELLED * self.channel_peak:
            finding, fix = "its channels cancel each other", "export one channel, or leave it out"
            return UnusableAudio(path, "silent", finding, fix)
        return None

    def _with_gain(self) -> Wanted | None:
        """The same with the power of two that brings a peak out of the range to 0.25 to 0.5."""
        peak = self.float_peak
        if self.gain or QUIETEST_PEAK <= peak <= LOUDEST_PEAK or peak < _SMALLEST_STEP:
            return None
        gain = 2.0 ** -(math.frexp(peak)[1] + 1)
        return Wanted(self.span, gain, self.with_digest)

    def _silent(self, path: Path) -> UnusableAudio | None:
        if self.int16_lowest < self.int16_highest:
            return None
        finding = "every sample is the same" if self.highest else "every sample is zero"
        if self.gain is None and self.lowest < self.highest:
            finding = "no sample reaches the smallest step of 24 bits"
        return UnusableAudio(path, "silent", finding, "record it again, or leave it out")


def _peak(samples: Int16 | Float32) -> float:
    """The largest magnitude; 1 is full scale."""
    scale = FULL_SCALE if samples.dtype == np.int16 else 1
    return max(float(samples.max()), -float(samples.min())) / scale
