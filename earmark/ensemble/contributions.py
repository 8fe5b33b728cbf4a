"""What each member adds: the ensemble beside the same ensemble without it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earmark.ensemble.members import combine_members
from earmark.errors import UserError
from earmark.evaluation.paired import gain
from earmark.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Contribution:
    """The ensemble's value less that of the ensemble without a member, as `paired.Gain` has it."""

    member: str
    without: float
    difference: dict[str, Any]  # of an Estimate
    p_value: float


def contributions(
    members: Mapping[str, Predictions],
    ensemble: Predictions,
    *,
    weights: str | Mapping[str, float],
    label_groups: Mapping[str, Any],
    metric: str,
    seed: int,
    n_resamples: int,
) -> list[Contribution]:
    """Leave out each member in turn, out of fold; what adds most comes first.

    The others are combined anew as `ensemble.weights` says: weights are learned again, clips of a
    fold with those of the other folds. A member is left out of the list if no other has a weight.

    Args:
        members: by name, of the corpus' tags.
        ensemble: of all of them, by the tags that are scored.
        weights: of params.yaml.
        label_groups: tags that are scored as one.
        metric: that is compared.
        seed: of the permutation test.
        n_resamples: of the permutation test.
    """
    found = []
    for name in members:
        others = {other: one for other, one in members.items() if other != name}
        if not others or (isinstance(weights, Mapping) and not any(weights[o] for o in others)):
            continue
        try:
            combined = combine_members(others, weights).predictions
        except UserError:  # no validation clip to learn weights from
            continue
        without = combined.grouped(label_groups).with_answers()
        one = gain(
            without.validation,
            ensemble.validation,
            metric=metric,
            seed=seed,
            n_resamples=n_resamples,
        )
        found.append(Contribution(name, one.first, one.difference.to_json(), one.p_value))
    return sorted(found, key=lambda one: (one.without, one.member))
