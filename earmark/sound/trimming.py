"""Find the quiet ends of a clip, as librosa's trim does, and scale a clip to full scale.

Shapes: T samples, N frames, H blocks of one hop.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from earmark.sound.samples import Float32, Int16, as_float
from earmark.spool import IN_MEMORY, FileRows, Scratch, Spool, blocks_of

AnyWaveform = TypeVar("AnyWaveform", Float32, Int16)

_FLOOR_RMS = 1e-5  # librosa's: below it every level is the same
_BLOCK_SAMPLES = 1 << 22  # that are computed with at a time


@dataclass(frozen=True)
class Ends:
    """The part waveform[start:end] that is left once the quiet ends are gone."""

    start: int
    end: int


@dataclass(frozen=True)
class Part:
    """What is left of a decoded clip: waveform[start:end], of which `peak` is at full scale.

    Its samples need no room of their own: `blocks` makes them of the decoded ones, to the bit.
    """

    start: int
    end: int
    peak: int  # the magnitude that is brought to full scale; 0: samples stay as they are
    kept_whole: bool

    def blocks(self, waveform: Int16) -> Iterator[Int16]:
        """The samples of the part of a decoded waveform (T,), some megabytes at a time."""
        for block in blocks_of(waveform[self.start : self.end], _BLOCK_SAMPLES):
            yield np.ascontiguousarray(_scaled(block, self.peak) if self.peak else block)


@dataclass(frozen=True, eq=False)
class Trimmed:
    """A clip ready for features: its ends cut off, its peak at full scale if that is wanted."""

    waveform: Int16 | FileRows  # (T,); in a file where it is too long for memory
    start: int  # of the decoded waveform
    kept_whole: bool
    sha256: str  # of the waveform's bytes, the same for equal sound in any file; "" if not wanted


def trim(
    waveform: Int16,
    *,
    sample_rate: int,
    top_db: float,
    min_seconds: float,
    normalise: bool,
    scratch: Scratch = IN_MEMORY,
    with_digest: bool = True,
) -> Trimmed:
    """Cut the silence off both ends (Xu et al., section 3.1: ends only, inner silence is rhythm).

    A clip of which less than `min_seconds` would be left is kept whole.

    Args:
        waveform: (T,), T at least 1.
        sample_rate: in Hz.
        top_db: how far below the loudest frame a frame counts as silence.
        min_seconds: of what is left.
        normalise: scale the peak to full scale (Xu et al., section 3.1).
        scratch: where a waveform goes that is too long for memory.
        with_digest: whether `Trimmed.sha256` is wanted, which takes as long as all else.

    >>> waveform = np.zeros(30_000, np.int16)
    >>> waveform[10_240:20_480] = 1000
    >>> options = {"top_db": 60.0, "min_seconds": 0.1, "normalise": True}
    >>> trimmed = trim(waveform, sample_rate=44_100, **options)
    >>> len(trimmed.waveform) < 15_000, int(trimmed.waveform.max())
    (True, 32767)
    """
    part = find_part(
        waveform,
        sample_rate=sample_rate,
        top_db=top_db,
        min_seconds=min_seconds,
        normalise=normalise,
    )
    spool, digest = Spool(np.int16, scratch=scratch), hashlib.sha256()
    for block in part.blocks(waveform):
        if with_digest:
            digest.update(block.data)
        spool.append(block)
    sha256 = digest.hexdigest() if with_digest else ""
    return Trimmed(spool.rows(), part.start, part.kept_whole, sha256)


def find_part(
    waveform: Int16, *, sample_rate: int, top_db: float, min_seconds: float, normalise: bool
) -> Part:
    """Where the part lies that `trim` keeps of (T,), and what peak it has; arguments as there."""
    ends = trim_ends(waveform, top_db=top_db)
    kept_whole = ends.end - ends.start < round(min_seconds * sample_rate)
    start, end = (0, len(waveform)) if kept_whole else (ends.start, ends.end)
    blocks = blocks_of(waveform[start:end], _BLOCK_SAMPLES) if normalise else ()
    peak = max((_peak(block) for block in blocks), default=0.0)
    return Part(start, end, int(peak), kept_whole)


def trim_ends(
    waveform: Float32 | Int16, *, top_db: float, frame_length: int = 2048, hop_length: int = 512
) -> Ends:
    """Find the first and last frame within `top_db` of the loudest; inner silence stays.

    The same samples as librosa.effects.trim(ref=np.max). A wholly silent clip keeps its length.

    Args:
        waveform: (T,), T at least 1; int16 is measured as its float32 counterpart.

    Raises:
        ValueError: an empty waveform, or frames whose half is no multiple of the hop.
    """
    loud = loud_frames(waveform, top_db=top_db, frame_length=frame_length, hop_length=hop_length)
    if not len(loud):  # only where top_db is not positive
        return Ends(0, 0)
    return Ends(int(loud[0]), min(len(waveform), int(loud[-1]) + hop_length))


def loud_frames(
    waveform: Float32 | Int16, *, top_db: float, frame_length: int = 2048, hop_length: int = 512
) -> NDArray[np.int64]:
    """The samples `(L,)` at which the frames within `top_db` of the loudest are centred, in order.

    Args:
        waveform: (T,), T at least 1; int16 is measured as its float32 counterpart.

    Raises:
        ValueError: an empty waveform, or frames whose half is no multiple of the hop.
    """
    if frame_length % (2 * hop_length):
        raise ValueError(
            f"half of frame_length {frame_length} must be a multiple of hop_length {hop_length}"
        )
    if waveform.ndim != 1 or not len(waveform):
        raise ValueError(f"expected a waveform of shape (T,), T > 0, got {waveform.shape}")
    power = _frame_powers(waveform, frame_length, hop_length)  # (N,)
    loud = np.flatnonzero(_level_db(power) - _level_db(power.max()) > -top_db)
    return loud.astype(np.int64) * hop_length


def peak_normalise(waveform: AnyWaveform) -> AnyWaveform:
    """Scale (T,) so that its largest magnitude is 1, or 32,767 in int16; silence stays as it is."""
    peak = _peak(waveform)
    return _scaled(waveform, peak) if peak else waveform.copy()


def _peak(waveform: Float32 | Int16) -> float:
    return max(float(waveform.max()), -float(waveform.min()))


def _scaled(waveform: AnyWaveform, peak: float) -> AnyWaveform:
    is_integer = waveform.dtype == np.int16
    scaled = waveform * np.float32(32767 / peak) if is_integer else waveform / np.float32(peak)
    normalised: AnyWaveform = (np.rint(scaled) if is_integer else scaled).astype(waveform.dtype)
    return normalised


def without_clipping(waveform: Float32) -> Float32:
    """Scale (T,) down to full scale where its largest magnitude is above 1; else it passes."""
    return peak_normalise(waveform) if np.abs(waveform).max() > 1 else waveform


def _frame_powers(waveform: Float32 | Int16, frame_length: int, hop_length: int) -> Float32:
    """Mean square of every centred frame: (T,) -> (N,), N = 1 + T // hop_length.

    Frame 2 of 4-block frames, between the zeros that stand for what is outside the clip:

        0 0 | b0 b1 b2 b3 b4 b5 | 0
              `---------`          each block's energy is computed once and is in four frames
    """
    n_whole = len(waveform) // hop_length
    n_frames = 1 + n_whole
    n_blocks = frame_length // hop_length
    energies = np.zeros(n_frames + n_blocks - 1, np.float32)
    first = n_blocks // 2
    rest = as_float(waveform[n_whole * hop_length :])
    energies[first + n_whole] = np.dot(rest, rest)
    n_samples = max(1, _BLOCK_SAMPLES // hop_length) * hop_length
    for part in blocks_of(waveform[: n_whole * hop_length], n_samples):
        whole = as_float(part).reshape(-1, hop_length)  # (H, hop)
        np.vecdot(whole, whole, out=energies[first : first + len(whole)])
        first += len(whole)
    total = energies[:n_frames].copy()
    for shift in range(1, n_blocks):
        total += energies[shift : shift + n_frames]
    return total / np.float32(frame_length)


def _level_db(power: Float32 | np.float32) -> Float32:
    level: Float32 = 10 * np.log10(np.maximum(power, np.float32(_FLOOR_RMS**2)))
    return level
