"""Metrics as functions of how often each clip counts, so that a bootstrap is one matrix product.

Shapes: B clips, C cells (clips that fare alike), R resamples, K tags.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from earmark.evaluation.points import (
    Bools,
    Floats,
    Ints,
    average_precision_at_k,
    ranks_of,
    rates,
    ratio,
)
from earmark.evaluation.thresholds import Answers

CLASS_METRICS = (
    "map_at_1",
    "map_at_3",
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
)
TAG_METRICS = (
    "map_at_3",
    "roc_auc",
    "mean_average_precision",
    "micro_precision",
    "micro_recall",
    "micro_f1",
    "macro_f1",
)


class Measure(Protocol):
    """Metrics as functions of how often each cell counts."""

    def values(self, counts: Floats) -> dict[str, Floats]:
        """Return every metric, `(R,)` each, for counts `(C, R)`."""
        ...


@dataclass(frozen=True)
class ClassMeasure:
    """Cells of clips with one tag: actual tag, predicted tag, rank of the actual, `(C,)` each."""

    actual: Ints
    predicted: Ints
    ranks: Ints
    n_tags: int

    def values(self, counts: Floats) -> dict[str, Floats]:
        n_clips = counts.sum(axis=0)
        is_hit = (self.ranks == 1).astype(np.float64)
        cells = np.arange(len(self.ranks))
        shape = (self.n_tags, len(cells))
        truths = csr_array((np.ones(len(cells)), (self.actual, cells)), shape=shape) @ counts
        guesses = csr_array((np.ones(len(cells)), (self.predicted, cells)), shape=shape) @ counts
        hits = csr_array((is_hit, (self.actual, cells)), shape=shape) @ counts  # (K, R)
        occurs = truths + guesses > 0
        by_tag = rates(hits, truths, guesses)
        accuracy = is_hit @ counts / n_clips
        return {
            "map_at_1": accuracy,  # one true label: the same number under two names
            "map_at_3": np.where(self.ranks <= 3, 1.0 / self.ranks, 0.0) @ counts / n_clips,
            "accuracy": accuracy,
            "macro_precision": np.mean(by_tag.precision, axis=0, where=occurs),
            "macro_recall": np.mean(by_tag.recall, axis=0, where=occurs),
            "macro_f1": np.mean(by_tag.f1, axis=0, where=occurs),
        }


def classes_of(probabilities: Floats, labels: Ints) -> tuple[ClassMeasure, Ints]:
    """Return the measure of `(B, K)` probabilities with one true tag per clip, and clips' cells."""
    ranks = np.minimum(ranks_of(probabilities, labels), 4)  # beyond the third all score alike
    fates = np.stack([labels, probabilities.argmax(axis=1), ranks])
    fates, cell_of = np.unique(fates, axis=1, return_inverse=True)  # (3, C), (B,)
    actual, predicted, ranks = fates
    measure = ClassMeasure(actual, predicted, ranks, n_tags=probabilities.shape[1])
    return measure, cell_of.reshape(-1)


class TagMeasure:
    """Metrics of clips with any number of tags; every clip is a cell of its own."""

    def __init__(self, probabilities: Floats, is_true: Bools, answers: Answers) -> None:
        self._precisions = average_precision_at_k(probabilities, is_true, 3)  # (B,)
        one, by_tag = answers
        pooled = [is_true & one, is_true, one]
        self._pooled = np.stack([cells.sum(axis=1) for cells in pooled]).astype(np.float64)
        tagged = [is_true & by_tag, is_true, by_tag]
        self._tagged = [csr_array(cells.T.astype(np.float64)) for cells in tagged]  # (K, B) each
        columns = zip(probabilities.T, is_true.T, strict=True)
        self._ladders = [_Ladder.of(p, y) for p, y in columns if y.any()]

    def values(self, counts: Floats) -> dict[str, Floats]:
        micro = rates(*(self._pooled @ counts))
        hits, truths, guesses = (cells @ counts for cells in self._tagged)  # (K, R)
        by_tag = rates(hits, truths, guesses).f1
        areas, precisions = _areas(self._ladders, counts)
        return {
            "map_at_3": self._precisions @ counts / counts.sum(axis=0),
            "roc_auc": areas,
            "mean_average_precision": precisions,
            "micro_precision": micro.precision,
            "micro_recall": micro.recall,
            "micro_f1": micro.f1,
            "macro_f1": ratio(by_tag.sum(axis=0), (truths + guesses > 0).sum(axis=0)),
        }


@dataclass(frozen=True)
class _Ladder:
    """One tag's clips by probability; a rung is a probability that a clip with the tag has.

    Clips without the tag matter only by the rungs that they stand between, or on:

        place   0     1      2     3      4
              below rung 0 between rung 1 above     with m = 2 rungs
    """

    with_tag: csr_array  # (m, B)
    without: csr_array  # (2 m + 1, B)

    @classmethod
    def of(cls, probabilities: Floats, is_true: Bools) -> "_Ladder":
        rungs, rung_of = np.unique(probabilities[is_true], return_inverse=True)
        true, other = np.flatnonzero(is_true), np.flatnonzero(~is_true)
        n_clips, m = len(is_true), len(rungs)
        above = np.searchsorted(rungs, probabilities[other], side="left")
        is_tied = np.append(rungs, np.inf)[above] == probabilities[other]
        places = 2 * above + is_tied
        return cls(
            csr_array((np.ones(len(true)), (rung_of, true)), shape=(m, n_clips)),
            csr_array((np.ones(len(other)), (places, other)), shape=(2 * m + 1, n_clips)),
        )

    def curves(self, counts: Floats) -> tuple[Floats, Floats]:
        """Return area under the ROC curve and average precision, `(R,)`; NaN without both kinds."""
        hits = self.with_tag @ counts  # (m, R), the lowest rung first
        others = self.without @ counts  # (2 m + 1, R)
        ties = others[1::2]
        below = others[:-1:2].copy()  # (m, R), from here on summed up in place
        below[1:] += ties[:-1]
        np.cumsum(below, axis=0, out=below)
        n_true, n_false = hits.sum(axis=0), others.sum(axis=0)
        won = ((below + ties / 2) * hits).sum(axis=0)
        reached = hits[::-1].cumsum(axis=0)[::-1]  # with the tag, on this rung or above
        precision = ratio(reached, reached + n_false - below)
        is_judged = (n_true > 0) & (n_false > 0)
        area = np.where(is_judged, ratio(won, n_true * n_false), np.nan)
        return area, np.where(is_judged, ratio((hits * precision).sum(axis=0), n_true), np.nan)


def _areas(ladders: list[_Ladder], counts: Floats) -> tuple[Floats, Floats]:
    """Means over the tags that can be judged in a resample, `(R,)` each; NaN if none can."""
    sums = np.zeros((2, counts.shape[1]))
    n_judged = np.zeros(counts.shape[1])
    for ladder in ladders:
        curves = np.stack(ladder.curves(counts))
        sums += np.nan_to_num(curves)
        n_judged += ~np.isnan(curves[0])
    means: NDArray[np.float64] = np.where(
        n_judged > 0, ratio(sums, np.stack([n_judged] * 2)), np.nan
    )
    return means[0], means[1]
