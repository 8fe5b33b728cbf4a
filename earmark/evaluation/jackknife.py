"""How a metric moves when one recording after the other is left out.

Efron, "The Jackknife, the Bootstrap and Other Resampling Plans" (1982), chapters 2 and 3.
Shapes: B clips, C cells (clips that fare alike), R recordings, U units (recordings, or blocks of
them), K tags.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array

from earmark.evaluation.measures import Measure
from earmark.evaluation.points import Bools, Floats, Ints
from earmark.seeding import rng_for

CHUNK = 500_000  # counts held at once: what fits a cache is faster than all of them
MAX_UNITS = 1000  # more recordings are left out in blocks, drawn by lot


@dataclass(frozen=True)
class Units:
    """What is left out at a time, `(B,)` each: a recording, or a block of them.

    Where no two clips are known to be of one recording, every clip is one, and `over` says clips.
    """

    unit_of: Ints
    recording_of: Ints
    over: str

    @classmethod
    def of(cls, n_clips: int, sources: Sequence[str] | None) -> "Units":
        groups = groups_of(sources)
        over = "clips" if groups is None else "recordings"
        recording_of = np.arange(n_clips) if groups is None else groups
        n_recordings = int(recording_of.max()) + 1
        if n_recordings <= MAX_UNITS:
            return cls(recording_of, recording_of, over)
        # A key of its own: the intervals of a given set of clips do not depend on any seed.
        lots = rng_for(0, "jackknife", n_recordings).permutation(n_recordings) % MAX_UNITS
        return cls(lots[recording_of], recording_of, over)

    @property
    def n(self) -> int:
        return int(self.unit_of.max()) + 1

    @property
    def effective(self) -> float:
        """As many recordings of equal length would say as much (Kish, "Survey Sampling", 1965)."""
        sizes = np.bincount(self.recording_of)
        return float(sizes.sum() ** 2 / np.square(sizes).sum())

    def effective_per_class(self, is_true: Bools) -> float:
        """The harmonic mean of that number over the classes that `(B, K)` truths have.

        The variance of a class is as 1 / n, that of a macro average as their mean.
        """
        n_classes, n_recordings = is_true.shape[1], int(self.recording_of.max()) + 1
        clips, classes = np.nonzero(is_true)
        cells = classes * n_recordings + self.recording_of[clips]
        of_class, sizes = np.unique(cells, return_counts=True)
        of_class //= n_recordings
        n_clips = np.bincount(of_class, sizes, minlength=n_classes)
        squares = np.bincount(of_class, np.square(sizes), minlength=n_classes)
        occurs = n_clips > 0
        inverse = squares[occurs] / np.square(n_clips[occurs])
        return float(1 / inverse.mean()) if occurs.any() else 0.0


@dataclass(frozen=True)
class LeftOut:
    """A metric of all clips, and without each unit, `(U,)`; NaN where it cannot be told."""

    value: float
    without: Floats

    @property
    def bias(self) -> float:
        return float((len(self.without) - 1) * (self.without.mean() - self.value))

    @property
    def deviation(self) -> float:
        """The standard deviation of the value over draws of as many recordings."""
        return float(np.sqrt((len(self.without) - 1) * self.without.var()))

    @property
    def telling(self) -> float:
        """As many units that move the value equally would say as much about its deviation.

        Where a few units move it much, it is hardly known. NaN where `without` has one.
        """
        squares = np.square(self.without - self.without.mean())
        return float(squares.sum() ** 2 / max(np.square(squares).sum(), 1e-300))

    def minus(self, other: "LeftOut") -> "LeftOut":
        return LeftOut(self.value - other.value, self.without - other.without)


def jackknife(measure: Measure, cell_of: Ints, units: Units) -> dict[str, LeftOut]:
    """Leave out each unit: every metric of a measure, given the cell of each of the B clips."""
    whole = np.bincount(cell_of)[:, np.newaxis].astype(np.float64)  # (C, 1)
    values = {name: float(value[0]) for name, value in measure.values(whole).items()}
    if units.n == 1:
        return {name: LeftOut(value, np.array([np.nan])) for name, value in values.items()}
    shape = (len(whole), units.n)
    clips_of = csc_array((np.ones(len(cell_of)), (cell_of, units.unit_of)), shape=shape)
    step = max(1, CHUNK // len(whole))
    parts = [
        measure.values(whole - clips_of[:, start : start + step].toarray())
        for start in range(0, units.n, step)
    ]
    return {
        name: LeftOut(value, np.concatenate([part[name] for part in parts]))
        for name, value in values.items()
    }


def groups_of(sources: Sequence[str] | None) -> Ints | None:
    """Return `(B,)` group numbers, a clip of unknown source ("") alone; None if all are alone."""
    if sources is None:
        return None
    names = [source or f"\x1f{row}" for row, source in enumerate(sources)]
    groups = np.unique(names, return_inverse=True)[1]
    return groups if groups.max() + 1 < len(groups) else None
