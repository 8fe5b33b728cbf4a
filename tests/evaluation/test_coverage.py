"""Answering only the most confident clips: closed forms."""

import numpy as np
import pytest

from earmark.evaluation.coverage import Selection, area_under_risk, coverage_curve


def test_the_coverage_curve_answers_the_most_confident_first():
    curve = coverage_curve(np.array([0.5, 0.9, 0.7, 0.7]), np.array([False, True, True, False]))
    assert curve["confidence"].tolist() == [0.9, 0.7, 0.5]
    assert curve["coverage"].tolist() == [0.25, 0.75, 1.0]
    assert curve["accuracy"].tolist() == [1, 2 / 3, 1 / 2]


def test_the_area_under_the_risk_is_the_mean_over_ever_more_answers():
    is_right = np.array([True, True, False, False])
    falling = np.array([0.9, 0.8, 0.7, 0.6])
    assert area_under_risk(falling, is_right) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert area_under_risk(1 - falling, is_right) == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert area_under_risk(np.full(4, 0.5), is_right) == pytest.approx(0.5)  # in no order
    assert area_under_risk(falling, np.ones(4, bool)) == 0


def test_clips_below_the_threshold_are_not_answered():
    confidences, is_right = np.array([0.9, 0.7, 0.5, 0.3]), np.array([True, False, True, False])
    assert Selection.at(0.0, confidences, is_right) == Selection(1.0, 0.5)
    assert Selection.at(0.5, confidences, is_right) == Selection(0.75, 2 / 3)
    assert Selection.at(0.95, confidences, is_right) == Selection(0.0, None)
