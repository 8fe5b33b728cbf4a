"""What another confidence of the re-crop rule would give, from the crops that are stored.

Shapes: B rows, C crops of a clip, K tags, S confidences.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earmark.ensemble.aggregation import compared
from earmark.ensemble.members import open_predictions
from earmark.evaluation.points import point_values
from earmark.evaluation.predictions import Predictions

CONFIDENCES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def sweep_confidence(
    folder: Path,
    members: Mapping[str, Predictions],
    *,
    metric: str,
    label_groups: Mapping[str, Any],
) -> pd.DataFrame:
    """Score every member's validation clips by Shan & Ren's rule with each of CONFIDENCES.

    0 takes the first crop of a clip, and 1 the most confident one. The metric of tags that are
    answered (F1) has the thresholds that are best on these very clips.

    Args:
        folder: data/predictions.
        members: by name.
        metric: that is shown.
        label_groups: tags that are scored as one.

    Returns:
        One row per member and confidence: model, confidence, the metric, and n_crops, how many
        crops of a clip are looked at in the mean. No row of members with one crop for every clip.
    """
    rows = []
    for name, member in members.items():
        validation = member.validation
        by_confidence, n_crops = _aggregated(folder / name, validation)
        if n_crops.max() <= 1:
            continue
        for confidence, probabilities, n in zip(CONFIDENCES, by_confidence, n_crops, strict=True):
            one = Predictions.of(name, member.task, validation.clips, probabilities)
            one = one.grouped(label_groups)
            values = point_values(
                one.probabilities, one.targets, is_multi_label=one.task.is_multi_label
            )
            row = {"model": name, "confidence": confidence, metric: values[metric]}
            rows.append(row | {"n_crops": float(n)})
    return pd.DataFrame(rows, columns=["model", "confidence", metric, "n_crops"]).round(4)


def _aggregated(
    folder: Path, validation: Predictions
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The probabilities `(S, B, K)` with each confidence, and the mean number of crops `(S,)`."""
    clips, tags = validation.clips, validation.task.tags
    thresholds = np.array(CONFIDENCES)[:, np.newaxis]
    probabilities = np.empty((len(CONFIDENCES), len(clips), len(tags)))
    n_crops = np.empty((len(CONFIDENCES), len(clips)))
    for fold in clips["fold"].unique():
        in_fold = np.flatnonzero(clips["fold"] == fold)
        store = open_predictions(folder / fold, clips.iloc[in_fold], tags)
        wanted = compared(store.metadata["aggregation"])["confident_crop"]
        is_wanted = store.index["crops"] == wanted
        row_of = dict(zip(store.index["clip"][is_wanted], np.flatnonzero(is_wanted), strict=True))
        for i in in_fold:
            crops = store.rows(row_of[clips["clip"].iloc[i]])
            top = crops.max(axis=1)
            is_confident = top >= thresholds  # (S, C)
            first = np.where(is_confident.any(axis=1), is_confident.argmax(axis=1), -1)
            probabilities[:, i] = crops[np.where(first < 0, top.argmax(), first)]
            n_crops[:, i] = np.where(first < 0, len(crops), first + 1)
    return probabilities, n_crops.mean(axis=1)
