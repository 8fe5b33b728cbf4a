"""Where the segments of a clip lie, for a network that reads a fixed number of rows.

A row is whatever the network reads in time: a sample, a frame, or a patch. All starts and lengths
are in rows, so `cut(waveform, ...)` and `cut(log_mel, ...)` are the same function.
Shapes: N rows of the clip, S rows of the segment.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[Any]
Starts = NDArray[np.int64]


def random_start(n_rows: int, segment_rows: int, rng: np.random.Generator) -> int:
    """Draw the start of a crop that lies inside the clip; 0 if the clip is not longer."""
    _validate(n_rows, segment_rows)
    return int(rng.integers(max(n_rows - segment_rows, 0) + 1))


def even_starts(n_rows: int, segment_rows: int, count: int) -> Starts:
    """Spread `count` segments from the clip's start to its end; a single one lies in the middle.

    Fewer than `count` where the clip has no more distinct starts, so none is predicted twice.
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

    Yu et al. fill it from the start of the clip, which is `cut(..., fill="repeat")`:

        rows       0         S         2S  N
        clip       |----------------------|
        chunks     [--------]
                             [--------]
                                       [---=====]   = the clip's first 3S - N rows again
    """
    _validate(n_rows, segment_rows)
    return np.arange(0, n_rows, segment_rows, dtype=np.int64)


def cut(
    rows: Rows,
    start: int,
    segment_rows: int,
    *,
    fill: Literal["silence", "repeat"],
    silence: ArrayLike = 0,
) -> Rows:
    """Return `(S, ...)` rows from `start` on: a view where the clip is long enough, else a copy.

    What is missing at the end is `silence` (one value, or one row) or the clip again from its
    start, as often as it takes.
    """
    _validate(len(rows), segment_rows)
    if not 0 <= start < len(rows):
        raise ValueError(f"start must lie in 0..{len(rows) - 1}, got {start}")
    if fill not in ("silence", "repeat"):
        raise ValueError(f"fill must be silence or repeat, got {fill!r}")
    inside = rows[start : start + segment_rows]
    if len(inside) == segment_rows:
        return inside
    if fill == "repeat":
        return rows[np.arange(start, start + segment_rows) % len(rows)]
    segment = np.empty((segment_rows, *rows.shape[1:]), dtype=rows.dtype)
    segment[: len(inside)] = inside
    segment[len(inside) :] = silence
    return segment


def _validate(n_rows: int, segment_rows: int) -> None:
    if n_rows < 1:
        raise ValueError("a clip of 0 rows has no segment")
    if segment_rows < 1:
        raise ValueError(f"segment_rows must be at least 1, got {segment_rows}")
