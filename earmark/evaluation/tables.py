"""Tables for csv files: scores by tag, confusions, and what is predicted for test clips.

Shapes: B clips, K tags.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from earmark.evaluation.by_tag import confusion_pairs, per_class, per_tag
from earmark.evaluation.points import confusion_matrix
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.temperature import temper
from earmark.labels import SEPARATOR


def tag_tables(predictions: Predictions, temperature: float) -> dict[str, pd.DataFrame]:
    """The tables per_class, confusion (a row per clip) and confusion_pairs of labelled rows.

    Thresholds are given for tempered probabilities, as `predict` shows them. Where clips may have
    several tags, none is mistaken for another: the latter two then have no rows, but DVC wants to
    find them nevertheless.
    """
    tags = predictions.task.tags
    if predictions.answers is None or predictions.thresholds is None:
        confusion = confusion_matrix(predictions.probabilities, predictions.labels)
        return {
            "per_class": per_class(predictions.probabilities, predictions.labels, tags),
            "confusion": confusion_rows(predictions),
            "confusion_pairs": confusion_pairs(confusion, tags),
        }
    answers = predictions.answers.by_tag
    thresholds = temper(predictions.thresholds.by_tag, temperature, is_multi_label=True)
    no_confusion = np.zeros((len(tags), len(tags)), dtype=np.int64)
    return {
        "per_class": per_tag(
            predictions.probabilities, predictions.targets, answers, thresholds, tags
        ),
        "confusion": confusion_rows(predictions)[:0],
        "confusion_pairs": confusion_pairs(no_confusion, tags),
    }


def confusion_rows(predictions: Predictions) -> pd.DataFrame:
    """One row per clip, its actual and its predicted tag: what DVC's confusion plot reads."""
    tags = np.array(predictions.task.tags)
    predicted = tags[predictions.probabilities.argmax(axis=1)]
    return pd.DataFrame({"actual": tags[predictions.labels], "predicted": predicted})


def predicted_tags(predictions: Predictions) -> pd.DataFrame:
    """Return a row per test clip, labelled or not: clip, tags, probability, quarantined.

    For one tag per clip `tags` are the three likeliest with a space between; else those above their
    thresholds, the likeliest first, with ";" between ("" for none). `probability` is that of the
    most probable tag.
    """
    test = predictions.take(np.asarray(predictions.clips["split"] == "test"))
    order = np.argsort(-test.probabilities, axis=1, kind="stable")
    ranked = np.array(test.task.tags)[order]
    if test.answers is None:
        tags = [" ".join(row) for row in ranked[:, :3]]
    else:
        is_answered = np.take_along_axis(test.answers.by_tag, order, axis=1)
        tags = [SEPARATOR.join(row[keep]) for row, keep in zip(ranked, is_answered, strict=True)]
    return pd.DataFrame(
        {
            "clip": test.clips["clip"],
            "tags": tags,
            "probability": test.probabilities.max(axis=1, initial=0).round(4),
            "quarantined": test.clips["quarantined"],
        }
    )


def aggregation_table(metadata: Mapping[str, Any]) -> pd.DataFrame:
    """What each aggregation of a member's crops gives out of fold, two rows per member.

    Args:
        metadata: of data/ensemble. `aggregations` is a mapping of member and aggregation to the
            values of `ensemble.aggregation.describe`; `aggregation` names the one applied.
    """
    rows = [
        {"model": model, "aggregation": name, "used": metadata["aggregation"][model] == name}
        | dict(values)
        for model, entries in metadata["aggregations"].items()
        for name, values in entries.items()
    ]
    return pd.DataFrame(rows).round(6)
