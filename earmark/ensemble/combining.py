"""Many opinions into one: crops of a clip, networks of the folds, members of the ensemble.

Mappings are read in the order of their names, so the same inputs give the same bits.
Shapes: B clips, C crops of one clip, R crops of all clips, K tags, M members.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

# Networks write float32, so a smaller probability than this is a rounding of theirs, not a veto.
FLOOR = float(np.finfo(np.float32).tiny)
CEILING = 1 - 2.0**-25  # likewise: float32 has nothing between 1 - 2^-24 and 1


@dataclass(frozen=True)
class CropChoice:
    """The crop that speaks for its clip, and how it was found."""

    probabilities: Floats
    n_tries: int
    confident: bool


def confident_crop(crops: Iterable[Floats], *, confidence: float) -> CropChoice:
    """Take the first of the crops `(K,)` that is confident, else the most confident of them all.

    Shan & Ren: a crop whose top probability is below `confidence` is discarded and another tried.
    The paper has one tag a clip; for several we apply the same rule to the likeliest of them.
    No crop after a confident one is asked for, so they may be computed as they are drawn.
    """
    best, n_tries = np.zeros(0), 0
    for n_tries, crop in enumerate(crops, start=1):
        if n_tries == 1 or crop.max() > best.max():
            best = crop.astype(np.float64)
        if best.max() >= confidence:
            return CropChoice(best, n_tries, confident=True)
    if not n_tries:
        raise ValueError("a clip without a crop has no probabilities")
    return CropChoice(best, n_tries, confident=False)


def choose_crops(crops: Floats, clip_starts: Ints, *, confidence: float) -> Ints:
    """Return `(B,)`: the row of `(R, K)` crops that speaks for each clip by the re-crop rule.

    The crops of clip b are the rows from `clip_starts[b]` up to the next clip's start.
    """
    _validate_crops(crops, clip_starts)
    rows = np.arange(len(crops))
    tops = crops.max(axis=1).astype(np.float64)  # (R,)
    best = np.repeat(np.maximum.reduceat(tops, clip_starts), _n_crops(crops, clip_starts))
    first_sure = np.minimum.reduceat(np.where(tops >= confidence, rows, len(crops)), clip_starts)
    first_best = np.minimum.reduceat(np.where(tops == best, rows, len(crops)), clip_starts)
    chosen: Ints = np.where(first_sure < len(crops), first_sure, first_best)
    return chosen


def tag_clips(
    crops: Floats,
    clip_starts: Ints,
    *,
    aggregation: Literal["confident_crop", "mean"],
    confidence: float,
) -> Floats:
    """Join `(R, K)` crops into `(B, K)` clips: one crop by the re-crop rule, or their mean."""
    if aggregation == "confident_crop":
        return crops[choose_crops(crops, clip_starts, confidence=confidence)].astype(np.float64)
    if aggregation == "mean":
        _validate_crops(crops, clip_starts)
        sums = np.add.reduceat(crops.astype(np.float64), clip_starts, axis=0)
        return sums / _n_crops(crops, clip_starts)[:, np.newaxis]
    raise ValueError(f"rule must be recrop or mean, got {aggregation!r}")


def mean_over_folds(folds: Mapping[str, Floats]) -> Floats:
    """Return the arithmetic mean `(B, K)` of what the networks of the folds say."""
    validate(folds, what="fold")
    every = np.stack([folds[name].astype(np.float64) for name in sorted(folds)])
    return np.asarray(every.mean(axis=0))


def weighted_geometric_mean(members: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Return `(B, K)` rows proportional to exp(sum of w_i log p_i), the w_i scaled to sum to 1."""
    validate(members)
    shares = _normalised(weights, members)
    logs = sum(shares[name] * log(members[name]) for name in sorted(members))
    joint = np.exp(logs - np.max(logs, axis=1, keepdims=True))
    joint /= joint.sum(axis=1, keepdims=True)
    return np.asarray(joint, dtype=np.float64)


def weighted_mean_of_logits(members: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Return `(B, K)`: for each tag p^w against (1 - p)^w of all members, the w_i scaled to sum 1.

    What the weighted geometric mean is for tags that exclude each other, this is for a tag and its
    absence, so that every tag is joined apart from the others.
    """
    from scipy.special import expit

    validate(members)
    shares = _normalised(weights, members)
    logits = sum(shares[name] * logit(members[name]) for name in sorted(members))
    return np.asarray(expit(logits), dtype=np.float64)


def join(
    members: Mapping[str, Floats], weights: Mapping[str, float], *, is_multi_label: bool
) -> Floats:
    """Join `(B, K)` members as the kind of task asks."""
    if is_multi_label:
        return weighted_mean_of_logits(members, weights)
    return weighted_geometric_mean(members, weights)


def learn_weights(
    members: Mapping[str, Floats], targets: Floats, *, is_multi_label: bool, l2: float = 1e-3
) -> dict[str, float]:
    """Find the weights, none negative and 1 in sum, whose ensemble makes the targets likeliest.

    Minimises a clip's mean negative log-likelihood (multi-label: the binary cross-entropies of its
    tags, summed) plus `l2` times the squared distance from equal weights, which decides between
    members that say the same. Convex, so the start is no matter. `members` must be out-of-fold
    probabilities, or the most overfitted member wins. `targets` are `(B, K)` of 0 and 1.
    """
    from scipy.optimize import minimize

    validate(members)
    _validate_targets(targets, members, is_multi_label=is_multi_label)
    names = sorted(members)
    loss_of = (_tag_loss if is_multi_label else _class_loss)([members[n] for n in names], targets)
    equal = np.full(len(names), 1 / len(names))

    def loss_and_gradient(weights: Floats) -> tuple[float, Floats]:
        loss, gradient = loss_of(weights)
        pull = weights - equal
        return loss + float(l2 * pull @ pull), gradient + 2 * l2 * pull

    found = minimize(
        loss_and_gradient,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(names),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    gradient = loss_and_gradient(found.x)[1]
    # For a convex loss on the simplex this gap bounds what any other weights could still gain.
    if gradient @ found.x - gradient.min() > 1e-3:
        raise RuntimeError(f"ensemble weights did not converge: {found.message}")
    best = np.clip(found.x, 0, 1).round(6)  # what lies beyond is the solver's noise
    best /= best.sum()
    return dict(zip(names, best.tolist(), strict=True))


_Loss = Callable[[Floats], tuple[float, Floats]]  # weights (M,) -> loss and gradient (M,)


def _class_loss(members: list[Floats], targets: Floats) -> _Loss:
    from scipy.special import logsumexp

    logs = np.stack([log(p) for p in members])  # (M, B, K)
    labels = targets.argmax(axis=1)
    logs -= np.take_along_axis(logs, labels[np.newaxis, :, np.newaxis], axis=2)

    def loss_and_gradient(weights: Floats) -> tuple[float, Floats]:
        joint = np.tensordot(weights, logs, axes=1)  # (B, K), 0 at the label
        normaliser = logsumexp(joint, axis=1, keepdims=True)  # the clip's loss
        gradient = np.tensordot(logs, np.exp(joint - normaliser), axes=2) / len(labels)
        return float(normaliser.mean()), gradient

    return loss_and_gradient


def _tag_loss(members: list[Floats], targets: Floats) -> _Loss:
    from scipy.special import expit

    logits = np.stack([logit(p) for p in members])  # (M, B, K)

    def loss_and_gradient(weights: Floats) -> tuple[float, Floats]:
        joint = np.tensordot(weights, logits, axes=1)  # (B, K)
        losses = np.logaddexp(0, joint) - targets * joint
        gradient = np.tensordot(logits, expit(joint) - targets, axes=2) / len(targets)
        return float(losses.sum() / len(targets)), gradient

    return loss_and_gradient


def cross_fitted_ensemble(
    members: Mapping[str, Floats],
    targets: Floats,
    folds: Ints,
    *,
    is_multi_label: bool,
    l2: float = 1e-3,
) -> Floats:
    """Join `(B, K)` members, each fold's clips with weights learned on the other folds alone.

    So no label has a say in the probabilities of its own fold, and their score is honest.
    """
    validate(members)
    _validate_targets(targets, members, is_multi_label=is_multi_label)
    if folds.shape != targets.shape[:1]:
        raise ValueError(f"expected a fold for each of {len(targets)} clips, got {folds.shape}")
    if len(np.unique(folds)) < 2:
        raise ValueError("cross-fitting needs clips of at least two folds")
    joint = np.empty(next(iter(members.values())).shape)
    for fold in np.unique(folds):
        held_out = folds == fold
        others = {name: p[~held_out] for name, p in members.items()}
        weights = learn_weights(others, targets[~held_out], is_multi_label=is_multi_label, l2=l2)
        own = {name: p[held_out] for name, p in members.items()}
        joint[held_out] = join(own, weights, is_multi_label=is_multi_label)
    return joint


def log(probabilities: Floats) -> Floats:
    """Natural logarithm; a probability of 0 counts as the least that float32 tells from it."""
    return np.log(np.maximum(probabilities.astype(np.float64), FLOOR))


def logit(probabilities: Floats) -> Floats:
    """Log-odds; probabilities of 0 and 1 count as the nearest that float32 tells from them."""
    p = np.clip(probabilities.astype(np.float64), FLOOR, CEILING)
    return np.log(p) - np.log1p(-p)


def validate(members: Mapping[str, Floats], *, what: str = "member") -> None:
    """Raise ValueError, naming the culprit, unless all are (B, K), finite and not negative."""
    if not members:
        raise ValueError(f"no {what} to join")
    first, *_ = sorted(members)
    for name, p in sorted(members.items()):
        if p.ndim != 2:
            raise ValueError(f"{what} {name}: expected (clips, tags), got {p.shape}")
        if p.shape != members[first].shape:
            expected = members[first].shape
            raise ValueError(f"{what} {name}: {p.shape}, but {what} {first} is {expected}")
        if not (np.isfinite(p).all() and (p >= 0).all()):
            raise ValueError(f"{what} {name}: probabilities must be finite and not negative")


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
        raise ValueError(f"clip {row} has {n_tags[row]:.0f} tags; a class is one tag a clip")


def _validate_crops(crops: Floats, clip_starts: Ints) -> None:
    if crops.ndim != 2 or 0 in crops.shape:
        raise ValueError(f"expected (crops, tags), got {crops.shape}")
    if clip_starts.ndim != 1 or not len(clip_starts) or clip_starts[0] != 0:
        raise ValueError("clip_starts must begin with 0, the first clip's first crop")
    empty = np.flatnonzero(_n_crops(crops, clip_starts) < 1)
    if len(empty):
        raise ValueError(f"clip {empty[0]} has no crop: clip_starts must rise below {len(crops)}")


def _n_crops(crops: Floats, clip_starts: Ints) -> Ints:
    return np.diff(clip_starts, append=len(crops))


def _normalised(weights: Mapping[str, float], members: Mapping[str, Floats]) -> dict[str, float]:
    if weights.keys() != members.keys():
        raise ValueError(f"weights for {sorted(weights)}, but the members are {sorted(members)}")
    for name, weight in sorted(weights.items()):
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight of {name} must be finite and not negative, got {weight}")
    total = sum(weights[name] for name in sorted(weights))
    if total == 0:
        raise ValueError("at least one weight must be above 0")
    return {name: weight / total for name, weight in weights.items()}
