"""The one sentence that a report begins with: is the ensemble worth its trouble?"""

from collections.abc import Mapping
from typing import Any

from earmark.evaluation.scores import best_member
from earmark.reports.figures import METRIC_NAMES

BY_SOURCE = "<sup>r</sup>"  # marks an interval over recordings


def verdict(scores: Mapping[str, Any], metric: str) -> tuple[bool, str]:
    """Say whether the ensemble beats every one of its members in the metric, out of fold.

    A member of weight 0 counts too: it could have been used alone instead. `scores["gain"]`, where
    it is there, is `paired.Gain.to_json()` of the ensemble over that member.
    """
    best = best_member(scores["models"], metric)
    ours = scores["ensemble"]["out_of_fold"][metric]["value"]
    theirs = scores["models"][best]["out_of_fold"][metric]["value"]
    name = METRIC_NAMES[metric]
    if len(scores["models"]) == 1:
        return False, f"The ensemble has one member, {best}: {name} {ours:.3f} out of fold."
    numbers = f"out-of-fold {name} {ours:.4f} against {theirs:.4f} of the best, {best}"
    found = scores.get("gain")
    if found:
        low, high, mark = ends_of(found["difference"])
        units = "recordings" if mark else "clips"
        numbers += (
            f". The difference is {found['difference']['value']:+.4f}, its 95 % interval over the "
            f"same {units} {low:+.4f} to {high:+.4f}; p is {found['p_value']:.2g} if the two were "
            f"swapped at random{', so this may be luck' if low <= 0 < ours - theirs else ''}"
        )
    if ours > theirs:
        n_members = len(scores["models"])
        return True, f"The ensemble beats every one of its {n_members} members: {numbers}."
    return False, f"The ensemble does NOT beat every one of its members: {numbers}."


def ends_of(e: Mapping[str, float]) -> tuple[float, float, str]:
    """The ends that are farther apart, and a mark where they are those over recordings."""
    low, high = e.get("low_by_source"), e.get("high_by_source")
    if low is not None and high is not None and high - low > e["high"] - e["low"]:
        return low, high, BY_SOURCE
    return e["low"], e["high"], ""
