"""Other thresholds, by hand on a few clips."""

import numpy as np
import pandas as pd
import pytest

from earmark.evaluation.coverage import coverage_curve
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.temperature import temper_cross_fitted
from earmark.evaluation.threshold_sweep import sweep_rejection, sweep_tags
from earmark.labels import Task


def test_below_a_rejection_threshold_nothing_is_answered():
    curve = pd.DataFrame(
        {"confidence": [0.95, 0.9, 0.65, 0.2], "coverage": [0.25, 0.5, 0.75, 1.0],
         "accuracy": [1.0, 0.5, 2 / 3, 0.5]}
    )  # fmt: skip
    sweep = sweep_rejection(curve).set_index("rejection_threshold")
    assert sweep.loc[0.0].tolist() == [1.0, 0.5, 4]
    assert sweep.loc[0.6].tolist() == [0.75, pytest.approx(2 / 3), 3]
    assert sweep.loc[0.9].tolist() == [0.5, 0.5, 2]  # from the threshold on
    assert sweep.loc[0.99, "answered"] == 0
    assert np.isnan(sweep.loc[0.99, "right"])


def test_the_rejection_sweep_reads_the_coverage_curve_as_it_is_made():
    rng = np.random.default_rng(0)
    confidences, is_right = rng.random(300), rng.random(300) < 0.7
    sweep = sweep_rejection(coverage_curve(confidences, is_right))
    for row in sweep.itertuples():
        answered = confidences >= row.rejection_threshold
        assert row.answered == pytest.approx(answered.mean())
        assert row.clips == answered.sum()
        if answered.any():
            assert row.right == pytest.approx(is_right[answered].mean())


def test_one_threshold_for_all_tags_is_counted_over_clips_and_tags():
    rng = np.random.default_rng(0)
    targets = (rng.random((60, 3)) < 0.4).astype(np.float32)
    p = np.clip(0.6 * targets + 0.4 * rng.random((60, 3)), 0.01, 0.99)
    clips = pd.DataFrame(
        {"cross_fit_group": (np.arange(60) % 2).astype(str), "label": "x", "split": "validation"}
    )
    predictions = Predictions("ensemble", Task(list("abc"), True, []), clips, targets, p)
    groups = predictions.cross_fit_groups
    tempered = temper_cross_fitted(p, targets, groups, is_multi_label=True)
    for row in sweep_tags(predictions).itertuples():
        answers = tempered >= row.threshold
        right = (answers & (targets > 0)).sum()
        assert row.recall == pytest.approx(right / targets.sum())
        assert row.tags_per_clip == pytest.approx(answers.sum() / 60)
        if answers.any():
            precision = right / answers.sum()
            assert row.precision == pytest.approx(precision)
            if right:
                mean = 2 * precision * row.recall / (precision + row.recall)
                assert row.micro_f1 == pytest.approx(mean)
