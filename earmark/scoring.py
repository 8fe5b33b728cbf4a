"""Scores of probabilities against labels, each with the interval another draw of clips would give.

Shapes: B clips, K tags, R resamples, G groups of clips that fared alike.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.seeding import rng_for

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

METRICS = ("map_at_1", "map_at_3", "accuracy", "macro_precision", "macro_recall", "macro_f1")


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """How one set of probabilities fares on one set of clips."""

    map_at_1: Estimate
    map_at_3: Estimate
    accuracy: Estimate
    macro_precision: Estimate
    macro_recall: Estimate
    macro_f1: Estimate
    n_clips: int

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries: `{"map_at_3": {"value", "low", "high"}, ..., "n_clips"}`."""
        return asdict(self)


class Rates(NamedTuple):
    """Precision, recall and F1 of each class, 0 where the denominator is empty."""

    precision: Floats
    recall: Floats
    f1: Floats


def validate(probabilities: Floats, labels: Ints, tags: Sequence[str] | None = None) -> None:
    """Raise ValueError unless (B, K) finite probabilities meet (B,) labels in 0..K-1."""
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise ValueError(f"expected probabilities (clips, tags), got {probabilities.shape}")
    if labels.shape != probabilities.shape[:1]:
        raise ValueError(f"expected {probabilities.shape[:1]} labels, got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected labels as integers, got {labels.dtype}")
    n_tags = probabilities.shape[1]
    if labels.min() < 0 or labels.max() >= n_tags:
        raise ValueError(f"labels must lie in 0..{n_tags - 1}, got {labels.min()}..{labels.max()}")
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise ValueError(f"probabilities of clip {row} are not finite")
    if tags is not None and len(tags) != n_tags:
        raise ValueError(f"{len(tags)} tags for {n_tags} columns of probabilities")


def average_precision_at(probabilities: Floats, labels: Ints, k: int) -> Floats:
    """Return `(B,)`: 1, 1/2, ..., 1/k for the true tag at rank 1, 2, ..., k, else 0."""
    validate(probabilities, labels)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    ranks = _ranks(probabilities, labels)
    return np.where(ranks <= k, 1.0 / ranks, 0.0)


def confusion_matrix(probabilities: Floats, labels: Ints) -> Ints:
    """Return `(K, K)` counts of clips: actual tag by row, predicted tag by column."""
    validate(probabilities, labels)
    n_tags = probabilities.shape[1]
    cells = labels.astype(np.int64) * n_tags + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=n_tags**2).reshape(n_tags, n_tags)


def score(
    probabilities: Floats,
    labels: Ints,
    *,
    tags: Sequence[str],
    seed: int,
    n_resamples: int = 1000,
) -> Scores:
    """Score `(B, K)` probabilities; the intervals are percentiles of a bootstrap over clips.

    Macro values average the classes that occur among the labels or the predictions (those of the
    resample, for the interval), as scikit-learn does. An interval has no width where every clip
    fares alike. The order of the clips does not matter.
    """
    validate(probabilities, labels, tags)
    n_clips, n_tags = probabilities.shape
    ranks = np.minimum(_ranks(probabilities, labels), 4)  # beyond the third all score alike
    fates = np.stack([labels, probabilities.argmax(axis=1), ranks])
    fates, counts = np.unique(fates, axis=1, return_counts=True)  # (3, G), (G,)
    # Clips of one fate are interchangeable, so resampling B clips is a multinomial draw over the
    # fates: the same distribution as drawing clips, without an (R, B) matrix.
    rng = rng_for(seed, "bootstrap")
    resamples = rng.multinomial(n_clips, counts / n_clips, size=n_resamples)  # (R, G)
    values = _metrics(fates, counts[np.newaxis], n_tags)
    draws = _metrics(fates, resamples, n_tags)
    estimates = {
        name: Estimate(
            float(values[name][0]), *map(float, np.quantile(draws[name], (0.025, 0.975)))
        )
        for name in METRICS
    }
    return Scores(**estimates, n_clips=n_clips)


def per_class(probabilities: Floats, labels: Ints, tags: Sequence[str]) -> pd.DataFrame:
    """Return one row per tag; `map_at_3` is missing for a tag without clips.

    `confused_with` is the wrong tag predicted most often for its clips, "" if there is none.
    """
    validate(probabilities, labels, tags)
    confusion = confusion_matrix(probabilities, labels)
    n_clips = confusion.sum(axis=1)
    precision, recall, f1 = _rates(np.diag(confusion), n_clips, confusion.sum(axis=0))
    gained = np.bincount(labels, average_precision_at(probabilities, labels, 3), len(tags))
    mistakes = confusion - np.diag(np.diag(confusion))
    worst = [tags[j] for j in mistakes.argmax(axis=1).tolist()]
    return pd.DataFrame(
        {
            "tag": list(tags),
            "n_clips": n_clips,
            "map_at_3": np.where(n_clips > 0, gained / np.maximum(n_clips, 1), np.nan),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "confused_with": np.where(mistakes.sum(axis=1) > 0, worst, ""),
        }
    )


def confusion_pairs(confusion: Ints, tags: Sequence[str]) -> pd.DataFrame:
    """Return the mistakes, the most frequent first: actual, predicted, count, share_of_actual."""
    if confusion.shape != (len(tags), len(tags)):
        raise ValueError(f"expected confusion ({len(tags)}, {len(tags)}), got {confusion.shape}")
    actual, predicted = np.nonzero(confusion - np.diag(np.diag(confusion)))
    count = confusion[actual, predicted]
    order = np.argsort(-count, kind="stable")  # ties by the order of the tags
    actual, predicted, count = actual[order], predicted[order], count[order]
    return pd.DataFrame(
        {
            "actual": pd.Series([tags[i] for i in actual.tolist()], dtype="str"),
            "predicted": pd.Series([tags[i] for i in predicted.tolist()], dtype="str"),
            "count": count,
            "share_of_actual": count / confusion.sum(axis=1)[actual],
        }
    )


def _ranks(probabilities: Floats, labels: Ints) -> Ints:
    """Rank of the true tag, from 1; among equals the lower index comes first."""
    own = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)  # (B, 1)
    earlier = np.arange(probabilities.shape[1]) < labels[:, np.newaxis]  # (B, K)
    ranks: Ints = 1 + ((probabilities > own) | ((probabilities == own) & earlier)).sum(axis=1)
    return ranks


def _metrics(fates: Ints, counts: Ints, n_tags: int) -> dict[str, Floats]:
    """Every metric, `(R,)` each, of the clips counted in `(R, G)` under the fates `(3, G)`."""
    actual, predicted, ranks = fates
    weights = counts.astype(np.float64)
    n_clips = weights.sum(axis=1)
    is_hit = (ranks == 1).astype(np.float64)
    truths = weights @ np.eye(n_tags)[actual]  # (R, K)
    guesses = weights @ np.eye(n_tags)[predicted]
    hits = (weights * is_hit) @ np.eye(n_tags)[actual]
    occurs = truths + guesses > 0
    rates = _rates(hits, truths, guesses)
    accuracy = weights @ is_hit / n_clips
    return {
        "map_at_1": accuracy,  # one true label: the same number under two names
        "map_at_3": weights @ np.where(ranks <= 3, 1.0 / ranks, 0.0) / n_clips,
        "accuracy": accuracy,
        "macro_precision": np.mean(rates.precision, axis=1, where=occurs),
        "macro_recall": np.mean(rates.recall, axis=1, where=occurs),
        "macro_f1": np.mean(rates.f1, axis=1, where=occurs),
    }


def _rates(hits: Any, truths: Any, guesses: Any) -> Rates:
    return Rates(_ratio(hits, guesses), _ratio(hits, truths), _ratio(2 * hits, truths + guesses))


def _ratio(numerator: Any, denominator: Any) -> Floats:
    ratio: Floats = np.zeros(numerator.shape)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
