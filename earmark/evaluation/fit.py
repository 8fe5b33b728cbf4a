"""Whether a network learned its training clips by heart, or too little of them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

LEAST_ERROR = 0.05  # of the validation; below it there is nothing to say
# Of the error on validation clips, the share that is there on training clips already.
OVER_FITTED = 1 / 3  # at most: the clips are known, other recordings of the same tags are not
UNDER_TRAINED = 2 / 3  # at least: what is not known was not learned
ADVICE = {
    "over-fitted": "more recordings, stronger augmentation or weight decay, or a network that "
    "learned AudioSet (`profile use pretrained`) may help",
    "under-trained": "more epochs or a wider network may help",
}


def model_fits(curves: pd.DataFrame, metric: str) -> dict[str, dict[str, Any]]:
    """For each model, a metric on its training and its validation clips, mean over the folds.

    `fit` is "over-fitted" or "under-trained", by the two shares above, or "" where neither shows.
    Both are of the weights that are kept and of the few segments that validation reads.

    Args:
        curves: columns model, the metric, and train_ and the metric, which the kept epoch alone
            has.

    >>> curves = pd.DataFrame({"model": "cnn", "accuracy": [0.5, 0.8], "train_accuracy": [None, 1]})
    >>> model_fits(curves, "accuracy")
    {'cnn': {'training': 1.0, 'validation': 0.8, 'fit': 'over-fitted'}}
    """
    column = f"train_{metric}"
    if column not in curves:
        return {}
    kept = curves.dropna(subset=[column, metric]).astype({column: float})
    means = kept.groupby("model")[[column, metric]].mean()
    return {
        str(model): {
            "training": round(float(train), 6),
            "validation": round(float(validation), 6),
            "fit": _fit(1 - train, 1 - validation),
        }
        for model, train, validation in means.itertuples()
    }


def fit_notes(fits: Mapping[str, Mapping[str, Any]], metric: str) -> list[str]:
    """One line for each model that is over-fitted or under-trained: what that is, and its cure."""
    return [
        f"{model} is {entry['fit']}: {metric} {entry['training']:.3f} on its training clips, "
        f"{entry['validation']:.3f} on validation clips; {ADVICE[entry['fit']]}."
        for model, entry in fits.items()
        if entry["fit"]
    ]


def _fit(training_error: float, validation_error: float) -> str:
    if validation_error < LEAST_ERROR:
        return ""
    share = training_error / validation_error
    if share <= OVER_FITTED:
        return "over-fitted"
    return "under-trained" if share >= UNDER_TRAINED else ""
