"""Over-fitted and under-trained networks are told apart by their own clips and by others."""

import pandas as pd
import pytest

from earmark.evaluation.fit import fit_notes, model_fits


def curves_of(training: float, validation: float) -> pd.DataFrame:
    """Two folds of two epochs; the kept one, the last, has the training clips' scores."""
    rows = [
        {"model": "cnn", "fold": fold, "epoch": epoch, "accuracy": validation + shift}
        for fold, shift in (("0", -0.02), ("1", 0.02))
        for epoch in (1, 2)
    ]
    curves = pd.DataFrame(rows)
    curves.loc[curves["epoch"] == 1, "accuracy"] = 0.1
    curves["train_accuracy"] = [training if epoch == 2 else None for epoch in curves["epoch"]]
    return curves


@pytest.mark.parametrize(
    ("training", "validation", "fit"),
    [
        (1.0, 0.8, "over-fitted"),
        (0.94, 0.8, "over-fitted"),  # 0.06 of 0.2
        (0.92, 0.8, ""),
        (0.85, 0.8, "under-trained"),
        (0.3, 0.2, "under-trained"),
        (1.0, 0.96, ""),  # hardly any error is left
    ],
)
def test_the_share_of_the_error_that_training_clips_have_tells(
    training: float, validation: float, fit: str
) -> None:
    fits = model_fits(curves_of(training, validation), "accuracy")
    assert fits["cnn"]["training"] == pytest.approx(training)
    assert fits["cnn"]["validation"] == pytest.approx(validation), "of the kept epoch alone"
    assert fits["cnn"]["fit"] == fit
    assert [fit in note for note in fit_notes(fits, "accuracy")] == ([True] if fit else [])


def test_curves_of_an_older_run_say_nothing() -> None:
    assert model_fits(curves_of(1.0, 0.5).drop(columns="train_accuracy"), "accuracy") == {}
