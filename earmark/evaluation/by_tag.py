"""Tables with a row per tag: how well it is recognised, and what it is taken for.

Shapes: B clips, K tags.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from earmark.evaluation.points import (
    Bools,
    Floats,
    Ints,
    average_precision,
    average_precision_at,
    confusion_matrix,
    has_both,
    rates,
    roc_auc,
    validate,
    validate_targets,
)


def per_class(probabilities: Floats, labels: Ints, tags: Sequence[str]) -> pd.DataFrame:
    """Return one row per tag of clips with one tag each.

    `map_at_3` is missing for a tag without clips; `confused_with` is the wrong tag predicted most
    often for its clips, "" if there is none.
    """
    validate(probabilities, labels, tags)
    confusion = confusion_matrix(probabilities, labels)
    n_clips = confusion.sum(axis=1)
    precision, recall, f1 = rates(np.diag(confusion), n_clips, confusion.sum(axis=0))
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


def per_tag(
    probabilities: Floats, targets: Floats, answers: Bools, thresholds: Floats, tags: Sequence[str]
) -> pd.DataFrame:
    """Return one row per tag of clips with any number of tags.

    `roc_auc` and `average_precision` are missing for a tag that no clip has, or every clip.
    Precision, recall and F1 are of the `(B, K)` answers; the `(K,)` thresholds stand beside them.
    """
    validate_targets(probabilities, targets, tags)
    is_true = targets > 0.5
    judged = has_both(is_true)
    area, precision_mean = np.full((2, len(tags)), np.nan)
    area[judged] = roc_auc(probabilities[:, judged], is_true[:, judged])
    precision_mean[judged] = average_precision(probabilities[:, judged], is_true[:, judged])
    n_clips = is_true.sum(axis=0)
    score = rates((is_true & answers).sum(axis=0), n_clips, answers.sum(axis=0))
    return pd.DataFrame(
        {
            "tag": list(tags),
            "n_clips": n_clips,
            "roc_auc": area,
            "average_precision": precision_mean,
            "precision": score.precision,
            "recall": score.recall,
            "f1": score.f1,
            "threshold": thresholds,
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
