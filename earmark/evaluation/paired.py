"""Whether one tagger is better than another on the same clips, and on which.

Shapes: B clips, R resamples, U units (recordings, or blocks of them).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from earmark.evaluation.by_tag import per_class, per_tag
from earmark.evaluation.calibration import top_predictions
from earmark.evaluation.intervals import Estimate, whys_no_interval
from earmark.evaluation.jackknife import LeftOut, Units, jackknife
from earmark.evaluation.points import Floats
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.scores import measure_of
from earmark.seeding import rng_for

_MIN_TELLING = 6  # recordings that tell the taggers apart: of 5, all alike are p = 2 / 2^5 > 0.05


@dataclass(frozen=True)
class Gain:
    """By how much the second tagger is better in a metric, its interval, and how likely by luck.

    `p_value`: how often a difference at least as large comes when what every clip (or recording)
    adds to it changes its sign by the toss of a coin; NaN where the difference is none.
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

    Both are judged without the same clip (or recording), one after the other. What it adds to the
    difference decides about interval and p, so that what is hard for both is in neither, and that
    two taggers that are equally good in different ways, such as one that answers more tags, do not
    seem to differ.

    Raises:
        ValueError: the clips are not the same.
    """
    if not np.array_equal(first.targets, second.targets):
        raise ValueError("both taggers must be judged on the same clips, in one order")
    units = Units.of(len(first), first.sources)
    a, b = (jackknife(*measure_of(one), units)[metric] for one in (first, second))
    difference = b.minus(a)
    rng = rng_for(seed, "swaps")
    return Gain(
        metric=metric,
        first=a.value,
        second=b.value,
        difference=_estimate(difference, metric, units, first.targets),
        p_value=_p_value(_shares(difference), rng, n_resamples),
        n_clips=len(first),
        n_groups=int(units.recording_of.max()) + 1,
    )


def _shares(difference: LeftOut) -> Floats:
    """What each unit adds to the difference, `(U,)`; their mean is the difference."""
    without = difference.without
    is_known = np.isfinite(without)  # a metric cannot be told without the only clip of a tag
    mean = without[is_known].mean() if is_known.any() else 0.0
    moves = np.where(is_known, without - mean, 0.0)
    shares: Floats = difference.value - (len(moves) - 1) * moves
    return shares


def _estimate(difference: LeftOut, metric: str, units: Units, targets: Floats) -> Estimate:
    why = whys_no_interval({metric: difference}, units, targets > 0.5)[metric]
    squares = np.square(_shares(difference))
    n_telling = squares.sum() ** 2 / max(np.square(squares).sum(), 1e-300)
    if why is None and n_telling < _MIN_TELLING:
        why = f"the two differ on too few {units.over} ({n_telling:.1f}, below {_MIN_TELLING})"
    return Estimate.of_difference(difference, units, why)


def _p_value(shares: Floats, rng: np.random.Generator, n_draws: int) -> float:
    """How often a sum of shares `(U,)` of random sign is as large as their sum."""
    if np.isnan(shares).any():
        return float("nan")
    by_luck = [abs(float(rng.choice((-1.0, 1.0), len(shares)) @ shares)) for _ in range(n_draws)]
    # The observed signs are among those possible, so that p is never 0; the margin is rounding.
    n_as_large = int((np.array(by_luck) >= abs(shares.sum()) - 1e-9).sum())
    return (1 + n_as_large) / (1 + n_draws)


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
    from scipy.stats import binom  # most of a second, which comparisons alone need

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
