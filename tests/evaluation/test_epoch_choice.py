"""What the choice of an epoch is worth: on noise it flatters, and the other folds show it."""

import numpy as np
import pandas as pd

from earmark.evaluation.epoch_choice import epoch_choices, epoch_notes


def curves_of(values: np.ndarray, *, rule: str = "scored_fold") -> pd.DataFrame:
    """From `(folds, epochs)` values; NaN where a fold stopped before."""
    rows = [
        {"model": "cnn", "fold": str(fold), "epoch_choice": rule, "epoch": epoch + 1, "accuracy": v}
        for fold, of_fold in enumerate(values)
        for epoch, v in enumerate(of_fold)
        if not np.isnan(v)
    ]
    return pd.DataFrame(rows)


def test_of_pure_noise_the_best_epoch_flatters_and_the_other_folds_do_not() -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.05, size=(400, 30))
    of_noise = epoch_choices(curves_of(noise), "accuracy")["cnn"]
    assert of_noise["scored_fold"] > 0.58  # the mean of the largest of 30: two deviations above
    assert abs(of_noise["other_folds"] - 0.5) < 0.01
    assert abs(of_noise["last"] - 0.5) < 0.01


def test_a_fold_that_stopped_early_is_compared_at_the_epochs_that_all_have() -> None:
    values = np.array([[0.1, 0.6, 0.9], [0.2, 0.5, np.nan]])
    stopped = epoch_choices(curves_of(values), "accuracy")["cnn"]
    assert stopped == {"rule": "scored_fold", "scored_fold": 0.7, "other_folds": 0.55, "last": 0.55}


def test_one_fold_has_no_others() -> None:
    assert "other_folds" not in epoch_choices(curves_of(np.array([[0.1, 0.2]])), "accuracy")["cnn"]


def test_only_a_choice_on_the_scored_fold_is_noted() -> None:
    choices = epoch_choices(curves_of(np.ones((2, 2))), "accuracy")
    assert "The epoch of cnn was chosen on the fold that it is scored on" in epoch_notes(choices)[0]
    for rule in ("last", "inner_split"):
        unbiased = epoch_choices(curves_of(np.ones((2, 2)), rule=rule), "accuracy")
        assert epoch_notes(unbiased) == []
