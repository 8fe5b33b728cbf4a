"""Calibration error and reliability: closed forms, and taggers of known calibration."""

import numpy as np
import pandas as pd
import pytest

from earmark.evaluation.calibration import (
    Confidences,
    bins_of,
    calibration_error,
    calibration_report,
    error_if_calibrated,
    judge,
    reliability,
    top_predictions,
    verdict,
)
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.temperature import temper
from earmark.labels import Task
from tests.evaluation.overconfident import overconfident


def confidences_of(values, is_right) -> Confidences:
    values = np.asarray(values, dtype=float)
    return Confidences(values, np.asarray(is_right, dtype=bool))


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    # bins of width 1/15: 0.95 (four clips, three right) and 0.55 (two clips, none right)
    confidences = confidences_of([0.95] * 4 + [0.55] * 2, [1, 1, 1, 0, 0, 0])
    error = calibration_error(confidences, equal_mass=False)
    assert error == pytest.approx((4 * 0.2 + 2 * 0.55) / 6)
    table = reliability(confidences, equal_mass=False)
    assert table["n"].tolist() == [2, 4]
    assert table["confidence"].tolist() == pytest.approx([0.55, 0.95])
    assert table["share_right"].tolist() == [0, 0.75]


def test_bins_of_equal_mass_hold_equally_many_and_keep_ties_together():
    values = np.random.default_rng(0).random(3000)
    assert np.bincount(bins_of(values, equal_mass=True)).tolist() == pytest.approx(
        [200] * 15, abs=1
    )
    tied = np.repeat([0.2, 0.9], [10, 90])
    bins = bins_of(tied, equal_mass=True)
    assert len(set(bins[:10])) == len(set(bins[10:])) == 1
    assert bins[0] != bins[-1]
    assert bins_of(np.array([0.0, 1.0]), equal_mass=False).tolist() == [0, 14]


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_what_is_calibrated_shows_no_more_error_than_chance(is_multi_label):
    errors, expected = [], []
    for seed in range(30):
        calibrated = overconfident(1.0, is_multi_label=is_multi_label, seed=seed, n_clips=300)
        confidences = Confidences.of(*calibrated, is_multi_label=is_multi_label)
        options = {"equal_mass": not is_multi_label}
        errors.append(calibration_error(confidences, **options))
        expected.append(error_if_calibrated(confidences, **options))
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=0.12)
    too_confident = Confidences.of(
        *overconfident(4.0, is_multi_label=is_multi_label, n_clips=300),
        is_multi_label=is_multi_label,
    )
    error = calibration_error(too_confident, **options)
    assert error > 2 * error_if_calibrated(too_confident, **options)


def test_nineteen_of_twenty_calibrated_taggers_are_called_so():
    n_called = 0
    for seed in range(200):
        calibrated = overconfident(1.0, is_multi_label=False, seed=seed, n_clips=150)
        probabilities, targets = calibrated
        judged = judge(predictions_of(probabilities, targets), probabilities)
        n_called += verdict(judged).startswith("calibrated within chance")
    assert 0.9 <= n_called / 200 <= 0.99


@pytest.mark.parametrize(("temperature", "word"), [(3.0, "overconfident"), (0.3, "underconfident")])
def test_the_verdict_says_which_way_probabilities_err(temperature, word):
    probabilities, targets = overconfident(temperature, is_multi_label=False, n_clips=400)
    judged = judge(predictions_of(probabilities, targets), probabilities)
    gap = judged["confidence"] - judged["share_right"]
    assert verdict(judged).startswith(f"{word} by {abs(gap):.3f} (expected calibration error")


def predictions_of(probabilities, targets) -> Predictions:
    clips = pd.DataFrame({"split": ["validation"] * len(targets)})
    return Predictions("one", Task(list("abcd"), False, []), clips, targets, probabilities)


def test_any_of_several_tags_is_right():
    probabilities = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1]])
    targets = np.array([[1, 1, 0], [1, 0, 1]])
    values, is_right = top_predictions(probabilities, targets)
    assert values.tolist() == [0.9, 0.3]
    assert is_right.tolist() == [True, False]
    statements = Confidences.of(probabilities, targets, is_multi_label=True)
    assert statements.values.tolist() == [0.9, 0.8, 0.1, 0.2, 0.3, 0.1]
    assert statements.is_right.tolist() == [True, True, False, True, False, True]


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_the_report_judges_validation_and_test_clips_apart(is_multi_label):
    probabilities, targets = overconfident(3.0, is_multi_label=is_multi_label, n_clips=600)
    split = np.where(np.arange(600) < 400, "validation", "test")
    clips = pd.DataFrame({"split": split, "label": "x", "source": "", "cross_fit_group": ""})
    clips["verified"] = True
    clips.loc[:399, "cross_fit_group"] = (np.arange(400) % 4).astype(str)
    clips.loc[599, "label"] = ""
    task = Task(list("abcd"), is_multi_label, [])
    predictions = Predictions("ensemble", task, clips, targets, probabilities)
    values, bins, curve = calibration_report(predictions, 3.0, rejection_threshold=0.6)
    assert values["out_of_fold"]["estimator"] == "one fold's networks"
    assert values["test"]["estimator"] == "mean over folds"
    for row in values["out_of_fold"]["rejection_for_accuracy"].values():
        assert 0 < row["threshold"] < 1
        assert 20 / 400 <= row["coverage"] <= 1
    for key in ("out_of_fold", "test"):
        assert values[key]["ece_after"]["value"] < values[key]["ece_before"]["value"] / 2
    tempered = temper(probabilities[400:599], 3.0, is_multi_label=is_multi_label)
    top, is_right = top_predictions(tempered, targets[400:599])
    assert values["test"]["coverage"] == (top >= 0.6).mean()
    assert values["test"]["accuracy"] == is_right[top >= 0.6].mean()
    assert set(bins["clips"]) == set(curve["clips"]) == {"out_of_fold", "test"}
    assert set(bins["probabilities"]) == {"before", "after"}
    before = bins[(bins["clips"] == "test") & (bins["probabilities"] == "before")]
    assert before["n"].sum() == 199 * (4 if is_multi_label else 1)
