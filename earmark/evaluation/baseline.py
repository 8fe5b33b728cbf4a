"""Whether networks beat the baseline: a linear one on statistics of what a clip sounds like."""

from collections.abc import Mapping
from typing import Any

from earmark.evaluation.intervals import interval_text
from earmark.evaluation.paired import gain
from earmark.evaluation.predictions import Predictions

MOST_BY_CHANCE = 0.05  # of the p-value, where the difference has no interval


def over_baseline(
    baseline: Predictions,
    others: Mapping[str, Predictions],
    *,
    metric: str,
    seed: int,
    n_resamples: int,
) -> dict[str, Any]:
    """Compare members with the baseline on the same clips, out of fold.

    Returns:
        `{"name", "members": {name: gain and "beats"}}`, where gain is that of `Gain.to_json`. A
        member beats the baseline if its interval is above zero; where it has none, if it is better
        and p is at most 0.05.
    """
    members = {}
    for name, one in others.items():
        found = gain(baseline, one, metric=metric, seed=seed, n_resamples=n_resamples)
        low = found.difference.low
        if low is None:
            beats = found.difference.value > 0 and found.p_value <= MOST_BY_CHANCE
        else:
            beats = low > 0
        members[name] = {**found.to_json(), "beats": bool(beats)}
    return {"name": baseline.name, "members": members}


def baseline_notes(scores: Mapping[str, Any]) -> list[str]:
    """One line for each member: whether it beats the baseline, and by how much."""
    return [_note(name, entry, scores["name"]) for name, entry in scores["members"].items()]


def _note(name: str, entry: Mapping[str, Any], baseline: str) -> str:
    difference = entry["difference"]
    numbers = (
        f"out-of-fold {entry['metric']} {entry['second']:.4f} against {entry['first']:.4f}, "
        f"difference {difference['value']:+.4f} ({interval_text(difference, '+.4f')}; "
        f"p = {entry['p_value']:.2g})."
    )
    if entry["beats"]:
        return f"{name} beats the baseline, {baseline}: {numbers}"
    chance = " Its lead may be due to chance." if difference["value"] > 0 else ""
    return f"{name} does NOT beat the baseline, {baseline}: {numbers}{chance}"
