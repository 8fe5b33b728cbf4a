"""Where the segments of a clip lie, for a network that reads a fixed number of rows.

A row is whatever the network reads in time: a sample, a frame, or a patch. All starts and lengths
are in rows, so `cut(waveform, ...)` and `cut(log_mel, ...)` are the same function.
Shapes: N rows of the clip, S rows of the segment.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.features.feature_type import FeatureType
from earmark.params import ModelInput, Padding

Rows = NDArray[Any]
Starts = NDArray[np.int64]


class Crop(NamedTuple):
    """Where a segment lies in a clip; rows outside the clip are silence.

    A start below 0 lies before the clip. With a period the clip is repeated after that many rows;
    a period above its length leaves silence between. The clip is first rotated in time: its row
    `rotation` comes first.

        start -2, segment of 12, clip abcde
            period 0:   [..abcde.....]       period 5: [deabcdeabcde]
            period 7:   [..abcde..abc]       period 0, rotation 1: [..bcdea.....]
    """

    start: int
    period: int = 0
    rotation: int = 0

    def scaled(self, factor: int) -> "Crop":
        """The same crop, in rows that are `factor` times shorter."""
        return Crop(self.start * factor, self.period * factor, self.rotation * factor)


def lengths_in_rows(input_: ModelInput, feature: FeatureType) -> list[int]:
    """How many rows of its feature a model reads at once, for each of its lengths; 0 for all."""
    length = getattr(input_, feature.segment_key)
    if length == "all":
        return [0]
    return [feature.segment_rows(times * length) for times in input_.lengths or [1.0]]


def random_crop(
    n_rows: int, segment_rows: int, padding: Padding, *, shift: bool, rng: np.random.Generator
) -> Crop:
    """Draw a segment of a long clip, or how a short one is padded (Lederle & Wilhelm, Figure 3).

    For a short clip `right` and `tile` draw nothing; `random` draws how much silence comes before
    it; `tile_gap` draws that and the silence between its repetitions. `shift` first rotates the
    clip in time by a random amount, so that its onset may come after its end.

    Args:
        n_rows: of the clip.
        segment_rows: of the segment.
        padding: what stands beside a short clip.
        rng: draws at most three numbers.

    >>> from earmark.seeding import rng_for
    >>> random_crop(400, 173, "right", shift=False, rng=rng_for(1, "crop")).start <= 400 - 173
    True
    """
    start = random_start(n_rows, segment_rows, rng)
    rotation = int(rng.integers(n_rows)) if shift else 0
    room = segment_rows - n_rows
    if room <= 0 or padding == "right":
        return Crop(start, rotation=rotation)
    if padding == "tile":
        return Crop(0, n_rows, rotation)
    if padding == "random":
        return Crop(-int(rng.integers(room + 1)), rotation=rotation)
    gap = int(rng.integers(room + 1))
    return Crop(-int(rng.integers(gap + 1)), n_rows + gap, rotation)


def fixed_crop(n_rows: int, segment_rows: int, padding: Padding, start: int) -> Crop:
    """The crop at a given start, where nothing is drawn; `random` padding centres a short clip."""
    if padding in ("tile", "tile_gap"):
        return Crop(start, n_rows)
    is_centred = padding == "random" and n_rows < segment_rows
    return Crop(-((segment_rows - n_rows) // 2) if is_centred else start)


def random_start(n_rows: int, segment_rows: int, rng: np.random.Generator) -> int:
    """Draw the start of a crop that lies inside the clip; 0 if the clip is not longer."""
    _validate(n_rows, segment_rows)
    return int(rng.integers(max(n_rows - segment_rows, 0) + 1))


def even_starts(n_rows: int, segment_rows: int, count: int) -> Starts:
    """Spread `count` segments from the clip's start to its end; a single one lies in the middle.

    There are fewer than `count` where the clip has fewer distinct starts: none is predicted twice.
    """
    _validate(n_rows, segment_rows)
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    last = max(n_rows - segment_rows, 0)
    if count == 1:
        return np.array([last // 2], dtype=np.int64)
    return np.unique(np.linspace(0, last, count).round().astype(np.int64))


def covering_starts(n_rows: int, segment_rows: int) -> Starts:
    """Cover the clip with as few segments as it takes, the last one right-aligned.

    Lee et al. count segments rounded up, so the last overlaps its neighbour:

        rows       0         S         2S  N
        clip       |----------------------|
        segments   [--------]
                             [--------]
                                 [--------]   starts at N - S, not at 2S
    """
    starts = chunk_starts(n_rows, segment_rows)
    starts[-1] = max(n_rows - segment_rows, 0)
    return starts


def chunk_starts(n_rows: int, segment_rows: int) -> Starts:
    """Cut the clip into chunks that do not overlap, a partial last one included.

    Xu et al. pad it from the start of the clip: a crop whose period is the clip's length.

        rows       0         S         2S  N
        clip       |----------------------|
        chunks     [--------]
                             [--------]
                                       [---=====]   = the clip's first 3S - N rows again
    """
    _validate(n_rows, segment_rows)
    return np.arange(0, n_rows, segment_rows, dtype=np.int64)


def cut(rows: Rows, crop: Crop, segment_rows: int, *, silence: ArrayLike = 0) -> Rows:
    """Return rows (S, ...): a view where all of them lie in the clip, else a copy.

    `silence` is one value, or one row.

    Args:
        rows: (N, ...) of a clip.
        crop: where the segment lies in it.
        segment_rows: S.

    >>> cut(np.arange(5), Crop(start=-2), 8, silence=-1)
    array([-1, -1,  0,  1,  2,  3,  4, -1])
    >>> cut(np.arange(5), Crop(start=0, period=5), 8)
    array([0, 1, 2, 3, 4, 0, 1, 2])
    """
    _validate(len(rows), segment_rows)
    end = crop.start + segment_rows
    if crop.start >= 0 and end <= len(rows) and not crop.rotation:
        return rows[crop.start : end]
    positions = np.arange(crop.start, end)
    if crop.period:
        positions %= crop.period
    is_clip = (positions >= 0) & (positions < len(rows))
    segment = np.empty((segment_rows, *rows.shape[1:]), dtype=rows.dtype)
    segment[is_clip] = rows[(positions[is_clip] + crop.rotation) % len(rows)]
    segment[~is_clip] = silence
    return segment


def _validate(n_rows: int, segment_rows: int) -> None:
    if n_rows < 1:
        raise ValueError("a clip of 0 rows has no segment")
    if segment_rows < 1:
        raise ValueError(f"segment_rows must be at least 1, got {segment_rows}")
