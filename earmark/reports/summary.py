"""The sentence that a report begins with: is the ensemble better than its best member?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from earmark.evaluation.intervals import interval_text
from earmark.evaluation.scores import best_member
from earmark.reports.figures import METRIC_NAMES


class Summary(NamedTuple):
    """Whether the ensemble beats all of its members, and a sentence that says so."""

    is_best: bool
    sentence: str


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
    text = (
        f"The difference is {difference['value']:+.4f} ({interval_text(difference, '+.4f')}; "
        f"p = {gain['p_value']:.2g} by a permutation test)."
    )
    may_be_chance = difference["low"] <= 0 if "low" in difference else gain["p_value"] > 0.05
    return f"{text} The improvement may be due to chance." if is_better and may_be_chance else text
