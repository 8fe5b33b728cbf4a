"""Scores of probabilities against labels, without intervals, and which of them fit a task.

This is all that training needs of the evaluation: the figures of the report are in measures.py
and intervals.py, so that a change there trains nothing again.
Shapes: B clips, K tags.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.labels import Task

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

# What `evaluate.metric` and `model.monitor` may name.
MULTI_CLASS_METRICS = ("map_at_3", "accuracy", "macro_f1")
MULTI_LABEL_METRICS = ("map_at_3", "roc_auc", "mean_average_precision", "micro_f1", "macro_f1")


def metrics_of(task: Task) -> tuple[str, ...]:
    """The metrics that fit a task: those that `point_values` returns for it."""
    return MULTI_LABEL_METRICS if task.is_multi_label else MULTI_CLASS_METRICS


def check_metric(metric: str, task: Task, *, key: str, others: tuple[str, ...] = ()) -> None:
    """Check that a metric fits the task of the corpus.

    Args:
        key: where the metric is set, for the message, such as `evaluate.metric`.
        others: what may be set besides the metrics, such as `loss`.

    Raises:
        UserError: it does not fit.
    """
    valid = (*metrics_of(task), *others)
    if metric not in valid:
        tags = "several tags" if task.is_multi_label else "one tag"
        raise UserError(
            f"params.yaml: {key}: {metric} does not fit a corpus with {tags} per clip; "
            f"set one of {', '.join(valid)}"
        )


class Rates(NamedTuple):
    """Precision, recall and F1 of each class, 0 where the denominator is empty."""

    precision: Floats
    recall: Floats
    f1: Floats


def point_values(
    probabilities: Floats, targets: Floats, *, is_multi_label: bool
) -> dict[str, float]:
    """Score `(B, K)` probabilities against `(B, K)` targets of 0 and 1.

    Multi-class: MULTI_CLASS_METRICS. Multi-label: MULTI_LABEL_METRICS and `threshold`, the one for
    all tags that makes micro F1 the best on these very clips (the official F1 of DCASE 2017, task 4
    is micro; its threshold is tuned, as no paper states one); `macro_f1` has one threshold per tag,
    tuned likewise. `roc_auc` and `mean_average_precision` are means over the tags that have both a
    clip with and one without them, NaN if there is none.

    Args:
        probabilities: (B, K).
        targets: (B, K), 0 or 1.
        is_multi_label: whether a clip may have several tags.

    Raises:
        ValueError: arrays of another shape, no numbers, or a clip without exactly one tag where
            there is one per clip.

    >>> probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    >>> targets = np.array([[1, 0, 0], [0, 1, 0]])  # the second is found at rank 2
    >>> point_values(probabilities, targets, is_multi_label=False)["map_at_3"]
    0.75
    """
    validate_targets(probabilities, targets)
    is_true = targets > 0.5
    map_at_3 = float(average_precision_at_k(probabilities, is_true, 3).mean())
    if not is_multi_label:
        if not (is_true.sum(axis=1) == 1).all():
            row = int(np.flatnonzero(is_true.sum(axis=1) != 1)[0])
            raise ValueError(
                f"clip {row} has {is_true[row].sum()} tags; this task has one tag per clip"
            )
        labels = is_true.argmax(axis=1)
        confusion = confusion_matrix(probabilities, labels)
        truths, guesses = confusion.sum(axis=1), confusion.sum(axis=0)
        f1 = rates(np.diag(confusion), truths, guesses).f1[truths + guesses > 0]
        accuracy = float(np.diag(confusion).sum() / len(labels))
        return {"map_at_3": map_at_3, "accuracy": accuracy, "macro_f1": float(f1.mean())}
    threshold, micro_f1 = best_threshold(probabilities.ravel(), is_true.ravel())
    by_tag = [best_threshold(p, y)[1] for p, y in zip(probabilities.T, is_true.T, strict=True)]
    judged = has_both(is_true)
    areas = roc_auc(probabilities[:, judged], is_true[:, judged])
    precisions = average_precision(probabilities[:, judged], is_true[:, judged])
    return {
        "map_at_3": map_at_3,
        "roc_auc": float(areas.mean()) if judged.any() else float("nan"),
        "mean_average_precision": float(precisions.mean()) if judged.any() else float("nan"),
        "micro_f1": micro_f1,
        "macro_f1": float(np.mean(by_tag, where=is_true.any(axis=0))) if is_true.any() else 0.0,
        "threshold": threshold,
    }


def validate(probabilities: Floats, labels: Ints, tags: Sequence[str] | None = None) -> None:
    """Raise ValueError unless (B, K) finite probabilities meet (B,) labels in 0..K-1."""
    _validate_probabilities(probabilities)
    if labels.shape != probabilities.shape[:1]:
        raise ValueError(f"expected {probabilities.shape[:1]} labels, got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected labels as integers, got {labels.dtype}")
    n_tags = probabilities.shape[1]
    if labels.min() < 0 or labels.max() >= n_tags:
        raise ValueError(f"labels must lie in 0..{n_tags - 1}, got {labels.min()}..{labels.max()}")
    if tags is not None and len(tags) != n_tags:
        raise ValueError(f"{len(tags)} tags for {n_tags} columns of probabilities")


def validate_targets(
    probabilities: Floats, targets: NDArray[Any], tags: Sequence[str] | None = None
) -> None:
    """Raise ValueError unless (B, K) finite probabilities meet (B, K) targets of 0 and 1."""
    _validate_probabilities(probabilities)
    if targets.shape != probabilities.shape:
        raise ValueError(f"expected targets {probabilities.shape}, got {targets.shape}")
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets must be 0 or 1")
    if tags is not None and len(tags) != probabilities.shape[1]:
        raise ValueError(f"{len(tags)} tags for {probabilities.shape[1]} columns of probabilities")


def average_precision_at(probabilities: Floats, labels: Ints, k: int) -> Floats:
    """Return `(B,)`: 1, 1/2, ..., 1/k for the true tag at rank 1, 2, ..., k, else 0."""
    validate(probabilities, labels)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    ranks = ranks_of(probabilities, labels)
    return np.where(ranks <= k, 1.0 / ranks, 0.0)


def average_precision_at_k(probabilities: Floats, is_true: Bools, k: int) -> Floats:
    """Return `(B,)`: precision at each of the first k ranks that hits, over min(true tags, k).

    The general definition, for any number of true tags; a clip without one has 0. Among equal
    probabilities the lower index ranks first.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(is_true, top, axis=1)  # (B, k)
    precisions = hits.cumsum(axis=1) / np.arange(1, top.shape[1] + 1)
    possible = np.minimum(is_true.sum(axis=1), k)
    return ratio((precisions * hits).sum(axis=1), possible)


def confusion_matrix(probabilities: Floats, labels: Ints) -> Ints:
    """Return `(K, K)` counts of clips: actual tag by row, predicted tag by column."""
    validate(probabilities, labels)
    n_tags = probabilities.shape[1]
    cells = labels.astype(np.int64) * n_tags + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=n_tags**2).reshape(n_tags, n_tags)


def has_both(is_true: Bools) -> Bools:
    """Which of the K tags have a clip with them and one without: AUC and AP need both."""
    return np.asarray(is_true.any(axis=0) & ~is_true.all(axis=0))


def roc_auc(probabilities: Floats, is_true: Bools) -> Floats:
    """Return `(K,)` areas under the ROC curve of each tag; a tie counts half.

    Every tag needs a clip with it and one without.
    """
    from scipy.stats import rankdata  # most of a second, which no other metric needs

    n_true = is_true.sum(axis=0)
    rank_sum = np.sum(rankdata(probabilities, axis=0), axis=0, where=is_true)
    areas: Floats = (rank_sum - n_true * (n_true + 1) / 2) / (n_true * (len(is_true) - n_true))
    return areas


def average_precision(probabilities: Floats, is_true: Bools) -> Floats:
    """Return `(K,)`: for each tag the sum of precision times the step of recall, as scikit-learn.

    Clips of equal probability come in one step. Every tag needs a clip with it.
    """
    values = []
    for p, y in zip(probabilities.T, is_true.T, strict=True):
        curve = _curve(p, y)
        steps = np.diff(curve.hits, prepend=0)
        values.append(float(np.sum(steps * curve.hits / curve.guesses) / curve.hits[-1]))
    return np.array(values)


def best_threshold(probabilities: Floats, is_true: Bools) -> tuple[float, float]:
    """Return the threshold of the highest F1, and that F1: `(B,)` answers, yes from it upwards.

    It is one of the probabilities; of several that are as good, the highest. Where no answer is
    yes nothing can be tuned: the threshold is 1 and F1 is 0.
    """
    if not is_true.any():
        return 1.0, 0.0
    curve = _curve(probabilities, is_true)
    f1 = 2 * curve.hits / (curve.guesses + curve.hits[-1])
    best = int(f1.argmax())
    return float(curve.thresholds[best]), float(f1[best])


def rates(hits: Any, truths: Any, guesses: Any) -> Rates:
    """Precision, recall and F1 from counts of any one shape."""
    return Rates(ratio(hits, guesses), ratio(hits, truths), ratio(2 * hits, truths + guesses))


def ratio(numerator: Any, denominator: Any) -> Floats:
    """Numerator over denominator, 0 where there is none."""
    result: Floats = np.zeros(np.shape(numerator))
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def ranks_of(probabilities: Floats, labels: Ints) -> Ints:
    """Rank of the true tag, from 1; among equals the lower index comes first."""
    true = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)  # (B, 1)
    earlier = np.arange(probabilities.shape[1]) < labels[:, np.newaxis]  # (B, K)
    ranks: Ints = 1 + ((probabilities > true) | ((probabilities == true) & earlier)).sum(axis=1)
    return ranks


class _Curve(NamedTuple):
    """At each distinct probability, the highest first: how many lie there or above, and hit."""

    thresholds: Floats
    guesses: Ints
    hits: Ints


def _curve(probabilities: Floats, is_true: Bools) -> _Curve:
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    last_of_equals = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    hits = is_true[order].cumsum()[last_of_equals]
    return _Curve(ordered[last_of_equals], last_of_equals + 1, hits)


def _validate_probabilities(probabilities: Floats) -> None:
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise ValueError(f"expected probabilities (clips, tags), got {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise ValueError(f"probabilities of clip {row} are not finite")
