"""Whether one tagger is better than another on the same clips, and on which.

Shapes: B clips, C cells of both taggers' outcomes, D pairs of outcomes, G groups of clips, K tags,
R resamples.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.stats import binom, rankdata

from earmark.evaluation.by_tag import per_class, per_tag
from earmark.evaluation.calibration import top_predictions
from earmark.evaluation.intervals import CHUNK, Estimate, groups_of, resamples
from earmark.evaluation.measures import Measure, TagMeasure, classes_of
from earmark.evaluation.points import Floats, Ints
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.thresholds import Answers
from earmark.seeding import rng_for


@dataclass(frozen=True)
class Gain:
    """By how much the second tagger is better in a metric, its interval, and how likely by luck.

    `p_value`: how often a difference at least as large comes when the two predictions for every
    clip (or recording) are swapped by the toss of a coin.
    """

    metric: str
    first: float
    second: float
    difference: Estimate
    p_value: float
    n_clips: int
    n_groups: int  # of clips of one recording; the number of clips where each stands alone

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "difference": self.difference.to_json()}


def gain(
    first: Predictions, second: Predictions, *, metric: str, seed: int, n_resamples: int
) -> Gain:
    """Compare two taggers on the same labelled clips, in one order, by a metric.

    The interval resamples clips (and recordings, where some were cut into several clips), the same
    for both taggers, so that what is hard for both moves neither end.

    Raises:
        ValueError: the clips are not the same.
    """
    pair = _Pair.of(first, second, metric)
    groups = groups_of(first.sources)
    whole = np.bincount(pair.pair_of)[:, np.newaxis].astype(np.float64)
    a, b = float(pair.first(whole)[0]), float(pair.second(whole)[0])
    interval = pair.interval(None, rng_for(seed, "paired", "clip"), n_resamples)
    by_source: tuple[float | None, float | None] = (None, None)
    if groups is not None:
        by_source = pair.interval(groups, rng_for(seed, "paired", "source"), n_resamples)
    swaps = _swaps(pair.pair_of, groups, rng_for(seed, "swaps"), n_resamples)
    by_luck = np.concatenate([pair.swapped(whole, s) for s in swaps])
    # The observed assignment is one of those possible, so that p is never 0; 1e-12 is rounding.
    n_as_large = int((np.abs(by_luck) >= abs(b - a) - 1e-12).sum())
    return Gain(
        metric=metric,
        first=a,
        second=b,
        difference=Estimate(b - a, *interval, *by_source),
        p_value=(1 + n_as_large) / (1 + n_resamples),
        n_clips=len(first),
        n_groups=len(first) if groups is None else int(groups.max()) + 1,
    )


@dataclass(frozen=True)
class _Pair:
    """Both taggers' outcomes in one measure: cells of either, and which pair of them a clip is."""

    measure: Measure
    metric: str
    pair_of: Ints  # (B,)
    of_first: csr_array  # (C, D), 1 at the cell of the first tagger's outcome
    of_second: csr_array  # (C, D)

    @classmethod
    def of(cls, first: Predictions, second: Predictions, metric: str) -> "_Pair":
        if not np.array_equal(first.targets, second.targets):
            raise ValueError("both taggers must be judged on the same clips, in one order")
        n_clips = len(first)
        p = np.concatenate([first.probabilities, second.probabilities])
        targets = np.concatenate([first.targets, second.targets])
        measure: Measure
        if first.answers is None or second.answers is None:
            measure, cell_of = classes_of(p, targets.argmax(axis=1))
        else:
            if metric in ("roc_auc", "mean_average_precision"):
                # These rank the clips, and a swap puts one tagger's clip among the other's: only
                # ranks are on one scale.
                p = np.concatenate([rankdata(one.probabilities, axis=0) for one in (first, second)])
            both = zip(first.answers, second.answers, strict=True)
            answers = Answers(*(np.concatenate(one) for one in both))
            measure, cell_of = TagMeasure(p, targets > 0.5, answers), np.arange(2 * n_clips)
        cells = np.stack([cell_of[:n_clips], cell_of[n_clips:]])
        pairs, pair_of = np.unique(cells, axis=1, return_inverse=True)
        shape = (int(cell_of.max()) + 1, pairs.shape[1])
        columns, ones = np.arange(shape[1]), np.ones(shape[1])
        a, b = (csr_array((ones, (row, columns)), shape=shape) for row in pairs)
        return cls(measure, metric, pair_of.reshape(-1), a, b)

    def first(self, weights: Floats) -> Floats:
        """The first tagger's value `(R,)` where pairs count `(D, R)`."""
        return self.measure.values(self.of_first @ weights)[self.metric]

    def second(self, weights: Floats) -> Floats:
        return self.measure.values(self.of_second @ weights)[self.metric]

    def interval(
        self, groups: Ints | None, rng: np.random.Generator, n_resamples: int
    ) -> tuple[float, float]:
        """The 95 % interval of the difference over clips, or over groups of them."""
        counts = resamples(self.pair_of, groups, rng=rng, n_resamples=n_resamples)
        differences = np.concatenate([self.second(w) - self.first(w) for w in counts])
        low, high = np.nanquantile(differences, (0.025, 0.975))
        return float(low), float(high)

    def swapped(self, whole: Floats, swaps: Floats) -> Floats:
        """The difference `(R,)` when so many clips of each pair `(D, R)` change sides."""
        kept = whole - swaps
        a = self.of_first @ kept + self.of_second @ swaps
        b = self.of_second @ kept + self.of_first @ swaps
        return self.measure.values(b)[self.metric] - self.measure.values(a)[self.metric]


def _swaps(
    pair_of: Ints, groups: Ints | None, rng: np.random.Generator, n_draws: int
) -> Iterator[Floats]:
    """Yield how many clips of each pair are swapped, `(D, r)`: each clip or group by a coin."""
    sizes = np.bincount(pair_of)
    clips_of: csr_array | None = None  # (D, G): how many clips of each group are of each pair
    if groups is not None:
        shape = (len(sizes), int(groups.max()) + 1)
        clips_of = csr_array((np.ones(len(groups)), (pair_of, groups)), shape=shape)
    step = max(1, CHUNK // max(len(sizes), clips_of.shape[1] if clips_of is not None else 0))
    for start in range(0, n_draws, step):
        size = min(step, n_draws - start)
        if clips_of is None:
            yield rng.binomial(sizes[:, np.newaxis], 0.5, size=(len(sizes), size)).astype(float)
        else:
            yield clips_of @ rng.integers(0, 2, size=(clips_of.shape[1], size)).astype(float)


@dataclass(frozen=True)
class Changes:
    """How often the most probable tag differs, and whether that fixed or broke the answer.

    For a clip with several tags any of them is right. `p_value` is McNemar's, exact: how likely so
    uneven a split into fixed and broken is if both are equally likely.
    """

    n_clips: int
    n_changed: int
    n_fixed: int
    n_broken: int
    p_value: float

    @classmethod
    def between(cls, first: Predictions, second: Predictions) -> "Changes":
        _, was_right = top_predictions(first.probabilities, first.targets)
        _, is_right = top_predictions(second.probabilities, second.targets)
        tops = first.probabilities.argmax(axis=1), second.probabilities.argmax(axis=1)
        fixed, broken = int((~was_right & is_right).sum()), int((was_right & ~is_right).sum())
        n_changed = int((tops[0] != tops[1]).sum())
        return cls(len(first), n_changed, fixed, broken, mcnemar(fixed, broken))


def mcnemar(n_fixed: int, n_broken: int) -> float:
    """Exact two-sided p of McNemar's test."""
    fewer, n = min(n_fixed, n_broken), n_fixed + n_broken
    return min(1.0, 2 * float(binom.cdf(fewer, n, 0.5))) if n else 1.0


def tag_changes(first: Predictions, second: Predictions) -> pd.DataFrame:
    """Return one row per tag, the largest change first: tag, n_clips, first, second, change.

    Of F1 where clips have one tag, of average precision where they may have several.
    """
    column = "average_precision" if first.task.is_multi_label else "f1"
    a, b = (_by_tag(one).set_index("tag") for one in (first, second))
    table = pd.DataFrame({"n_clips": a["n_clips"], "first": a[column], "second": b[column]})
    table = table[table["n_clips"] > 0].assign(change=table["second"] - table["first"]).dropna()
    order = table["change"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index()


def _by_tag(one: Predictions) -> pd.DataFrame:
    if one.answers is None or one.thresholds is None:
        return per_class(one.probabilities, one.labels, one.task.tags)
    answers, thresholds = one.answers.by_tag, one.thresholds.by_tag
    return per_tag(one.probabilities, one.targets, answers, thresholds, one.task.tags)
