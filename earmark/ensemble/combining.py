"""Combine predictions: the networks of the folds into a member, members into the ensemble.

Mappings are read in the order of their names, so the same inputs give the same bits.
Shapes: B clips, K tags.
"""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.logits import log, logit

Floats = NDArray[np.floating[Any]]


def mean_over_folds(
    folds: Mapping[str, Floats], *, fold_mean: str = "arithmetic", is_multi_label: bool = False
) -> Floats:
    """Return the mean `(B, K)` of the probabilities by the networks of the folds.

    With `fold_mean` "geometric" it is the mean of `combine`, so that an ensemble of equal weights
    is the geometric mean of all networks of all members (Xu et al., section 4.1).
    """
    validate_shapes(folds, what="fold")
    if fold_mean == "geometric":
        return combine(folds, dict.fromkeys(folds, 1.0), is_multi_label=is_multi_label)
    every = np.stack([folds[name].astype(np.float64) for name in sorted(folds)])
    return np.asarray(every.mean(axis=0))


def combine(
    members: Mapping[str, Floats], weights: Mapping[str, float], *, is_multi_label: bool
) -> Floats:
    """Combine the `(B, K)` probabilities of members by the mean that fits the task.

    Raises:
        ValueError: members of unequal shape, or weights that are not theirs, negative, or all 0.
    """
    if is_multi_label:
        return weighted_mean_of_logits(members, weights)
    return weighted_geometric_mean(members, weights)


def weighted_geometric_mean(members: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Return `(B, K)` rows proportional to exp(sum of w_i log p_i), the w_i scaled to sum to 1.

    Args:
        members: name -> probabilities `(B, K)`.
        weights: name -> w_i, 0 or above.

    Raises:
        ValueError: members of unequal shape, or weights that are not theirs, negative, or all 0.

    >>> members = {"cnn": np.array([[0.8, 0.2]]), "rnn": np.array([[0.5, 0.5]])}
    >>> weighted_geometric_mean(members, {"cnn": 1.0, "rnn": 1.0}).round(3)
    array([[0.667, 0.333]])
    """
    validate_shapes(members)
    shares = _normalised(weights, members)
    logs = sum(shares[name] * log(members[name]) for name in sorted(members))
    combined = np.exp(logs - np.max(logs, axis=1, keepdims=True))
    combined /= combined.sum(axis=1, keepdims=True)
    return np.asarray(combined, dtype=np.float64)


def weighted_mean_of_logits(members: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Return `(B, K)`: for each tag p^w against (1 - p)^w of all members, the w_i scaled to sum 1.

    What the weighted geometric mean is for tags that exclude each other, this is for a tag and its
    absence: every tag is combined by itself.
    """
    from scipy.special import expit

    validate_shapes(members)
    shares = _normalised(weights, members)
    logits = sum(shares[name] * logit(members[name]) for name in sorted(members))
    return np.asarray(expit(logits), dtype=np.float64)


def validate_shapes(members: Mapping[str, Floats], *, what: str = "member") -> None:
    """Raise ValueError, naming the culprit, unless all are (B, K), finite and not negative."""
    if not members:
        raise ValueError(f"no {what} to combine")
    first, *_ = sorted(members)
    for name, p in sorted(members.items()):
        if p.ndim != 2:
            raise ValueError(f"{what} {name}: expected (clips, tags), got {p.shape}")
        if p.shape != members[first].shape:
            expected = members[first].shape
            raise ValueError(f"{what} {name}: {p.shape}, but {what} {first} is {expected}")
        if not (np.isfinite(p).all() and (p >= 0).all()):
            raise ValueError(f"{what} {name}: probabilities must be finite and not negative")


def _normalised(weights: Mapping[str, float], members: Mapping[str, Floats]) -> dict[str, float]:
    if weights.keys() != members.keys():
        raise ValueError(f"weights for {sorted(weights)}, but the members are {sorted(members)}")
    for name, weight in sorted(weights.items()):
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight of {name} must be finite and not negative, got {weight}")
    # not sum(), which rounds otherwise since Python 3.12
    total = reduce(add, (weights[name] for name in sorted(weights)), 0.0)
    if total == 0:
        raise ValueError("at least one weight must be above 0")
    return {name: weight / total for name, weight in weights.items()}
