"""What other thresholds would give: below which no answer is given, or from which on a tag is.

Shapes: B clips, K tags.
"""

import numpy as np
import pandas as pd

from earmark.evaluation.predictions import Predictions
from earmark.evaluation.temperature import temper_cross_fitted

REJECTION_THRESHOLDS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
TAG_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def sweep_rejection(coverage: pd.DataFrame) -> pd.DataFrame:
    """One row per rejection threshold: the share of clips answered, and of answers right.

    Args:
        coverage: confidence, coverage and accuracy of the clips, the most confident first.
    """
    rows = []
    for threshold in REJECTION_THRESHOLDS:
        answered = coverage[coverage["confidence"] >= threshold]
        last = answered.iloc[-1] if len(answered) else None
        rows.append(
            {
                "rejection_threshold": threshold,
                "answered": 0.0 if last is None else float(last["coverage"]),
                "right": np.nan if last is None else float(last["accuracy"]),
                "clips": len(answered),
            }
        )
    return pd.DataFrame(rows)


def sweep_tags(validation: Predictions) -> pd.DataFrame:
    """One row per threshold that all tags share: micro precision, recall and F1.

    Of validation clips with any number of tags, their probabilities tempered by the temperature of
    the other cross-fit groups.
    """
    p = temper_cross_fitted(
        validation.probabilities,
        validation.targets,
        validation.cross_fit_groups,
        is_multi_label=True,
    )
    is_true = validation.targets > 0.5
    rows = []
    for threshold in TAG_THRESHOLDS:
        answers = p >= threshold
        right = int((answers & is_true).sum())
        n_answers, n_true = int(answers.sum()), int(is_true.sum())
        rows.append(
            {
                "threshold": threshold,
                "precision": right / n_answers if n_answers else np.nan,
                "recall": right / n_true if n_true else np.nan,
                "micro_f1": 2 * right / max(n_answers + n_true, 1),
                "tags_per_clip": n_answers / max(len(validation), 1),
            }
        )
    return pd.DataFrame(rows)
