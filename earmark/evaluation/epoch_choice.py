"""What the choice of an epoch is worth, from the learning curves of the folds.

A network that is kept at its best epoch on the fold that it is scored on flatters: the other clips
of that epoch's luck are the same clips. Beside it stand two figures without that luck.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

EPOCH_RULES = ("scored_fold", "other_folds", "last")


def epoch_choices(curves: pd.DataFrame, metric: str) -> dict[str, dict[str, Any]]:
    """For each model, the mean over its folds of a metric at the epoch that each rule would keep.

    `scored_fold`: the best epoch of the fold itself. `other_folds`: the best epoch of the other
    folds' mean curve; missing where there is one fold. `last`: the last that every fold has.
    All are of the few segments that validation reads after each epoch, so they can be compared with
    one another, not with the scores of whole clips. `rule` is the recipe's own.

    Args:
        curves: columns model, fold, epoch_choice, epoch and the metric.

    >>> curves = pd.DataFrame({
    ...     "model": "cnn", "fold": list("001122"), "epoch_choice": "last", "epoch": [1, 2] * 3,
    ...     "accuracy": [0.5, 0.8, 0.75, 0.5, 0.25, 0.5],
    ... })  # fmt: skip
    >>> epoch_choices(curves, "accuracy")["cnn"]
    {'rule': 'last', 'scored_fold': 0.683, 'other_folds': 0.5, 'last': 0.6}
    """
    return {
        str(model): {
            "rule": str(of_model["epoch_choice"].iloc[0]),
            **_of_model(of_model.pivot(index="epoch", columns="fold", values=metric)),
        }
        for model, of_model in curves.groupby("model")
    }


def _of_model(by_fold: pd.DataFrame) -> dict[str, float]:
    """From a table of epochs by folds, in which a fold that stopped early has blanks."""
    values = by_fold.to_numpy(np.float64)
    common = values[~np.isnan(values).any(axis=1)]  # the epochs that every fold has
    choices = {"scored_fold": np.nanmax(values, axis=0).mean()}
    n_folds = values.shape[1]
    if n_folds > 1 and len(common):
        others = (common.sum(axis=1, keepdims=True) - common) / (n_folds - 1)
        chosen = others.argmax(axis=0)
        choices["other_folds"] = common[chosen, np.arange(n_folds)].mean()
    if len(common):
        choices["last"] = common[-1].mean()
    return {rule: round(float(value), 6) for rule, value in choices.items()}


def epoch_notes(choices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a reader of the scores must know where a rule flatters; none otherwise."""
    flattered = [model for model, entry in choices.items() if entry["rule"] == "scored_fold"]
    if not flattered:
        return []
    return [
        f"The epoch of {', '.join(flattered)} was chosen on the fold that it is scored on "
        "(epoch_choice: scored_fold, as in the papers). That flatters out-of-fold scores, those of "
        "the ensemble too, by about the difference to the column other folds in the table of "
        "epochs; it does not flatter those of a test set."
    ]
