"""Weights of the members, learned from out-of-fold probabilities, and cross-fitted.

Shapes: B clips, K tags, M members.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.ensemble.combining import combine, validate_shapes
from earmark.evaluation.logits import log, logit
from earmark.evaluation.temperature import fit_temperature, temper

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]
_Loss = Callable[[Floats], tuple[float, Floats]]  # weights (M,) -> loss and gradient (M,)


def learn_weights(
    members: Mapping[str, Floats], targets: Floats, *, is_multi_label: bool, l2: float = 1e-3
) -> dict[str, float]:
    """Find the weights, none negative and 1 in sum, whose ensemble makes the targets likeliest.

    Each member is tempered on its own before, and the weights are of what it was: the ensemble is
    tempered in the end, so a member is worth what it knows, not how sharp its probabilities are.
    Minimises a clip's mean negative log-likelihood (multi-label: the binary cross-entropies of its
    tags, summed) plus `l2` times the squared distance from equal weights, which decides between
    members that predict the same. The loss is convex, so the start does not matter.

    Args:
        members: out-of-fold probabilities `(B, K)`; else the most overfitted member wins.
        targets: `(B, K)` of 0 and 1.

    Raises:
        ValueError: members or targets do not fit each other.
        RuntimeError: the solver did not converge.
    """
    from scipy.optimize import minimize

    validate_shapes(members)
    _validate_targets(targets, members, is_multi_label=is_multi_label)
    names = sorted(members)
    fitted = [fit_temperature(members[n], targets, is_multi_label=is_multi_label) for n in names]
    tempered = [
        temper(members[n], t, is_multi_label=is_multi_label)
        for n, t in zip(names, fitted, strict=True)
    ]
    loss_of = (_tag_loss if is_multi_label else _class_loss)(tempered, targets)
    equal = np.full(len(names), 1 / len(names))

    def loss_and_gradient(weights: Floats) -> tuple[float, Floats]:
        loss, gradient = loss_of(weights)
        pull = weights - equal
        return loss + float(l2 * pull @ pull), gradient + 2 * l2 * pull

    result = minimize(
        loss_and_gradient,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(names),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    gradient = loss_and_gradient(result.x)[1]
    # For a convex loss on the simplex this gap bounds what any other weights could still gain.
    if gradient @ result.x - gradient.min() > 1e-3:
        fix = "set ensemble.weights to equal"
        raise RuntimeError(f"ensemble weights did not converge ({result.message}); {fix}")
    best = np.clip(result.x, 0, 1).round(6) / fitted  # what lies beyond is the solver's noise
    best /= best.sum()
    return dict(zip(names, best.tolist(), strict=True))


def combine_cross_fitted(
    members: Mapping[str, Floats],
    targets: Floats,
    folds: Ints,
    *,
    is_multi_label: bool,
    is_trusted: Bools | None = None,
    l2: float = 1e-3,
) -> Floats:
    """Combine `(B, K)` members, each fold's clips with weights learned on the other folds alone.

    Of those only the clips of `is_trusted` `(B,)` are learned from, if it is given.

    No label influences the probabilities of its own fold, so their score is not flattered.
    """
    validate_shapes(members)
    _validate_targets(targets, members, is_multi_label=is_multi_label)
    if folds.shape != targets.shape[:1]:
        raise ValueError(f"expected a fold for each of {len(targets)} clips, got {folds.shape}")
    if len(np.unique(folds)) < 2:
        raise ValueError("cross-fitting needs clips of at least two folds")
    combined = np.empty(next(iter(members.values())).shape)
    for fold in np.unique(folds):
        in_fold = folds == fold
        rows = ~in_fold if is_trusted is None else ~in_fold & is_trusted
        others = {name: p[rows] for name, p in members.items()}
        weights = learn_weights(others, targets[rows], is_multi_label=is_multi_label, l2=l2)
        predicted = {name: p[in_fold] for name, p in members.items()}
        combined[in_fold] = combine(predicted, weights, is_multi_label=is_multi_label)
    return combined


def _class_loss(members: list[Floats], targets: Floats) -> _Loss:
    from scipy.special import logsumexp

    logs = np.stack([log(p) for p in members])  # (M, B, K)
    labels = targets.argmax(axis=1)
    logs -= np.take_along_axis(logs, labels[np.newaxis, :, np.newaxis], axis=2)

    def loss_and_gradient(weights: Floats) -> tuple[float, Floats]:
        combined = np.tensordot(weights, logs, axes=1)  # (B, K), 0 at the label
        normaliser = logsumexp(combined, axis=1, keepdims=True)  # the clip's loss
        gradient = np.tensordot(logs, np.exp(combined - normaliser), axes=2) / len(labels)
        return float(normaliser.mean()), gradient

    return loss_and_gradient


def _tag_loss(members: list[Floats], targets: Floats) -> _Loss:
    from scipy.special import expit

    logits = np.stack([logit(p) for p in members])  # (M, B, K)

    def loss_and_gradient(weights: Floats) -> tuple[float, Floats]:
        combined = np.tensordot(weights, logits, axes=1)  # (B, K)
        losses = np.logaddexp(0, combined) - targets * combined
        gradient = np.tensordot(logits, expit(combined) - targets, axes=2) / len(targets)
        return float(losses.sum() / len(targets)), gradient

    return loss_and_gradient


def _validate_targets(
    targets: Floats, members: Mapping[str, Floats], *, is_multi_label: bool
) -> None:
    shape = next(iter(members.values())).shape
    if targets.shape != shape or len(targets) == 0:
        raise ValueError(f"expected targets {shape}, at least one, got {targets.shape}")
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets must be 0 or 1")
    n_tags = targets.sum(axis=1)
    if not is_multi_label and not (n_tags == 1).all():
        row = int(np.flatnonzero(n_tags != 1)[0])
        raise ValueError(f"clip {row} has {n_tags[row]:.0f} tags; this task has one tag per clip")
