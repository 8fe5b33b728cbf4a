"""The interval that the value of a metric would have over all clips of this kind.

Leaving out one recording after the other shows how far the value would move with another draw, and
its bias: a class with few clips has too low an F1 on average. Wilson's interval (1927) for as many
clips as would move that far (Korn and Graubard, "Confidence intervals for proportions with small
expected number of positive counts estimated from survey data", 1998) keeps the ends right near 0
and 1. In `python -m benchmarks.coverage`, 30 to 1,600 clips of 4 to 80 classes, they cover 0.954 on
average and 0.915 to 0.985 where most of 200 sets have one; else a figure says why it has none.
Shapes: B clips, K tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes a second more to import

from earmark.evaluation.jackknife import LeftOut, Units, jackknife
from earmark.evaluation.measures import Measure, TagMeasure, classes_of
from earmark.evaluation.points import Bools, Floats, Ints, validate, validate_targets
from earmark.evaluation.thresholds import Answers

# With fewer the intervals cover too seldom. In numbers of recordings of equal length that would
# say as much; of the recordings per class, the harmonic mean over classes.
MIN_RECORDINGS = 10
MIN_PER_CLASS = {
    "macro_precision": 3,
    "macro_recall": 3,
    "macro_f1": 3,
    "roc_auc": 5,
    "mean_average_precision": 5,
}
_MEANS = ("map_at_1", "map_at_3", "accuracy")  # over clips
_MIN_DEGREES = 5  # that few clips are wrong is what Wilson's ends allow for


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, or with the reason why it has none.

    `over` is what the interval ranges over: recordings where some were cut into several clips, else
    clips. Clips of one recording fare alike, so that there are fewer independent ones than it
    seems. An interval that allows for a bias need not contain the value.
    """

    value: float
    low: float | None
    high: float | None
    over: str = "clips"
    why_no_interval: str | None = None

    @classmethod
    def of(
        cls,
        left_out: LeftOut,
        units: Units,
        why_no_interval: str | None,
        *,
        is_mean: bool = False,
    ) -> "Estimate":
        """The value of a metric that lies in 0 to 1, with its interval unless that has a flaw.

        `is_mean`: it is the mean of something over clips.
        """
        if why_no_interval is not None:
            return cls(left_out.value, None, None, units.over, why_no_interval)
        # Of clips that stand alone, Wilson's interval knows the deviation from the mean itself.
        is_known = is_mean and units.over == "clips"
        reach = quantile(units, None if is_known else left_out)
        return cls(left_out.value, *_wilson(left_out, units.effective, reach), units.over)

    @classmethod
    def of_difference(
        cls, left_out: LeftOut, units: Units, why_no_interval: str | None
    ) -> "Estimate":
        """The difference of two values on the same clips, with Student's interval about it."""
        if why_no_interval is not None:
            return cls(left_out.value, None, None, units.over, why_no_interval)
        # The biases of both nearly cancel out; to subtract them would only add noise.
        half = quantile(units, left_out) * left_out.deviation
        return cls(left_out.value, left_out.value - half, left_out.value + half, units.over)

    def to_json(self) -> dict[str, Any]:
        if self.why_no_interval is not None:
            return {"value": self.value, "why_no_interval": self.why_no_interval}
        return {"value": self.value, "low": self.low, "high": self.high, "over": self.over}


def interval_text(estimate: Mapping[str, Any], form: str = ".3f") -> str:
    """Say the interval of an `Estimate.to_json()`, or why there is none.

    >>> interval_text({"value": 0.6, "low": 0.5, "high": 0.7, "over": "recordings"})
    '95 % interval 0.500 to 0.700 over recordings'
    """
    if "why_no_interval" in estimate:
        return f"no interval: {estimate['why_no_interval']}"
    ends = f"{estimate['low']:{form}} to {estimate['high']:{form}}"
    return f"95 % interval {ends} over {estimate['over']}"


@dataclass(frozen=True)
class Scores:
    """How one set of probabilities fares on one set of clips."""

    estimates: dict[str, Estimate]
    n_clips: int

    def __getitem__(self, metric: str) -> Estimate:
        return self.estimates[metric]

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries: each metric's `Estimate.to_json()`, and "n_clips"."""
        values: dict[str, Any] = {name: e.to_json() for name, e in self.estimates.items()}
        return {**values, "n_clips": self.n_clips}


def score_classes(
    probabilities: Floats,
    labels: Ints,
    *,
    tags: Sequence[str],
    sources: Sequence[str] | None = None,
) -> Scores:
    """Score `(B, K)` probabilities of clips with one tag each; every name of CLASS_METRICS.

    Macro values average the classes that occur among the labels or the predictions, as scikit-learn
    does. The order of the clips does not matter. `sources` names the recording of each clip, ""
    where it is not known.
    """
    validate(probabilities, labels, tags)
    measure, cell_of = classes_of(probabilities, labels)
    is_true = labels[:, np.newaxis] == np.arange(len(tags))
    return Scores(estimates(measure, cell_of, is_true, sources), len(labels))


def score_tags(
    probabilities: Floats,
    targets: Floats,
    answers: Answers,
    *,
    sources: Sequence[str] | None = None,
) -> Scores:
    """Score `(B, K)` probabilities against targets of 0 and 1; every name of TAG_METRICS.

    `micro_*` pool the answers by one threshold over clips and tags, `macro_f1` is the mean over
    tags of the answers by tag. Answers are given, not tuned here, since a threshold that was tuned
    on the clips it is scored on flatters.
    """
    validate_targets(probabilities, targets)
    is_true = targets > 0.5
    measure = TagMeasure(probabilities, is_true, answers)
    return Scores(estimates(measure, np.arange(len(targets)), is_true, sources), len(targets))


def estimates(
    measure: Measure, cell_of: Ints, is_true: Bools, sources: Sequence[str] | None
) -> dict[str, Estimate]:
    """Estimate every metric of a measure, given the cell and the tags `(B, K)` of each clip."""
    units = Units.of(len(cell_of), sources)
    left_out = jackknife(measure, cell_of, units)
    whys = whys_no_interval(left_out, units, is_true)
    return {
        name: Estimate.of(one, units, whys[name], is_mean=name in _MEANS)
        for name, one in left_out.items()
    }


def whys_no_interval(
    left_out: Mapping[str, LeftOut], units: Units, is_true: Bools
) -> dict[str, str | None]:
    """For each metric why its interval would not cover the truth in 95 %; None if it would."""
    per_class = units.effective_per_class(is_true)

    def why(name: str, one: LeftOut) -> str | None:
        if np.isnan(one.value):
            return "no tag has clips with it and clips without it"
        if (too_few := too_few_recordings(units)) is not None or name not in MIN_PER_CLASS:
            return too_few
        if per_class < MIN_PER_CLASS[name]:
            return f"too few {units.over} per class ({per_class:.1f}, below {MIN_PER_CLASS[name]})"
        if np.isnan(one.without).any():
            return f"too few {units.over}: without one of them no tag can be judged"
        return None

    return {name: why(name, one) for name, one in left_out.items()}


def too_few_recordings(units: Units) -> str | None:
    """Say that there are too few recordings for any interval, if so."""
    if units.effective >= MIN_RECORDINGS:
        return None
    return f"too few {units.over} ({units.effective:.1f}, below {MIN_RECORDINGS})"


def quantile(units: Units, left_out: LeftOut | None = None) -> float:
    """How many standard deviations the 95 % interval reaches: Student's.

    Where these are estimated from `left_out`, the degrees of freedom are two for every unit that
    tells, as Satterthwaite's (1946) are at least.
    """
    degrees = units.effective - 1
    if left_out is not None and left_out.telling > 0:  # 0: every unit moves the value alike
        degrees = min(degrees, max(_MIN_DEGREES, 2 * left_out.telling))
    return float(stdtrit(degrees, 0.975))


def _wilson(left_out: LeftOut, effective: float, reach: float) -> tuple[float, float]:
    """Wilson's interval around the value less its bias; ends in 0 to 1."""
    centre = float(np.clip(left_out.value - left_out.bias, 0, 1))
    variance, spread = left_out.deviation**2, centre * (1 - centre)
    n = spread / variance if variance > 1e-18 and spread > 0 else effective
    z2 = reach**2
    middle = (centre + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (spread / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
