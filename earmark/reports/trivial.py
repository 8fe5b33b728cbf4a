"""The lines that a chart of scores is compared with: answers that ignore the sound."""

import numpy as np

from earmark.audit.balance import trivial_baselines
from earmark.evaluation.points import has_both
from earmark.evaluation.predictions import Predictions


def trivial_scores(validation: Predictions) -> dict[str, dict[str, float]]:
    """Name -> metric -> the exact score of chance and of a constant answer on these clips.

    Where clips may have several tags, only for the metrics whose value does not hang on a
    threshold: a constant answer ranks no clip above another.
    """
    if not validation.task.is_multi_label:
        shares = validation.targets.sum(axis=0, dtype=np.float64)
        scores = trivial_baselines(shares[shares > 0])
        # a random answer may be a tag that no clip has
        k = len(shares)
        scores["chance"] = {
            **scores["chance"],
            "accuracy": 1 / k,
            "map_at_3": sum(1 / rank for rank in range(1, min(3, k) + 1)) / k,
        }
        return {name: scores[name] for name in ("chance", "constant")}
    is_true = validation.targets > 0.5
    judged = has_both(is_true)
    if not judged.any():
        return {}
    prevalence = float(is_true[:, judged].mean(axis=0).mean())
    return {"chance": {"roc_auc": 0.5, "mean_average_precision": prevalence}}
