"""The sentence that a report begins with: is the ensemble better than its best member?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from earmark.evaluation.scores import best_member
from earmark.reports.figures import METRIC_NAMES

BY_SOURCE = "<sup>r</sup>"  # marks an interval over recordings


class Summary(NamedTuple):
    """Whether the ensemble beats all of its members, and a sentence that says so."""

    is_best: bool
    sentence: str


class Interval(NamedTuple):
    """The ends of a 95 % interval, and a mark where it is over recordings instead of clips."""

    low: float
    high: float
    mark: str


def summary_of(scores: Mapping[str, Any], metric: str) -> Summary:
    """Compare the ensemble with its best member in a metric, out of fold.

    Members of weight 0 count as well, since each could be used alone.

    Args:
        scores: as `report.render_report` takes them. `scores["gain"]`, where it is present, is
            `paired.Gain.to_json()` of the ensemble over its best member.
        metric: a key of METRIC_NAMES.
    """
    best = best_member(scores["models"], metric)
    value = scores["ensemble"]["out_of_fold"][metric]["value"]
    best_value = scores["models"][best]["out_of_fold"][metric]["value"]
    name, n_members = METRIC_NAMES[metric], len(scores["models"])
    if n_members == 1:
        return Summary(
            False, f"The ensemble has one member, {best}: {name} {value:.3f} out of fold."
        )
    numbers = f"out-of-fold {name} {value:.4f} against {best_value:.4f} of the best member, {best}."
    if scores.get("gain"):
        numbers += f" {_difference(scores['gain'], is_better=value > best_value)}"
    if value > best_value:
        return Summary(True, f"The ensemble beats all of its {n_members} members: {numbers}")
    return Summary(False, f"The ensemble does NOT beat all of its members: {numbers}")


def _difference(gain: Mapping[str, Any], *, is_better: bool) -> str:
    difference = gain["difference"]
    low, high, mark = widest_interval(difference)
    units = "recordings" if mark else "clips"
    text = (
        f"The difference is {difference['value']:+.4f} (95 % interval over the same {units}: "
        f"{low:+.4f} to {high:+.4f}; p = {gain['p_value']:.2g} by a permutation test)."
    )
    return f"{text} The improvement may be due to chance." if is_better and low <= 0 else text


def widest_interval(estimate: Mapping[str, float]) -> Interval:
    """The interval over clips or, where it is wider, over the recordings they were cut from."""
    low, high = estimate.get("low_by_source"), estimate.get("high_by_source")
    if low is not None and high is not None and high - low > estimate["high"] - estimate["low"]:
        return Interval(low, high, BY_SOURCE)
    return Interval(estimate["low"], estimate["high"], "")
