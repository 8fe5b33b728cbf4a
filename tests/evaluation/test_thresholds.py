"""Thresholds: what they are tuned for, and that no clip is answered by one tuned on it."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from earmark.evaluation.thresholds import cross_fitted_answers, tune


def random_tags(seed: int = 0, n_clips: int = 60):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n_clips, 4)) < [0.1, 0.3, 0.5, 0.0]).astype(np.float32)
    return (0.3 * targets + 0.7 * rng.random(targets.shape)).round(2), targets


@pytest.mark.parametrize("seed", range(3))
def test_one_threshold_is_best_for_micro_f1_and_each_tags_for_its_own(seed: int):
    probabilities, targets = random_tags(seed)
    thresholds = tune(probabilities, targets)
    grid = np.unique(probabilities)

    def f1(answers, k):
        return f1_score(targets[:, k], answers)

    micro = f1_score(targets, thresholds.answers(probabilities).by_one, average="micro")
    assert micro >= max(f1_score(targets, probabilities >= t, average="micro") for t in grid)
    for k in range(3):
        own = f1(thresholds.answers(probabilities).by_tag[:, k], k)
        assert own >= max(f1(probabilities[:, k] >= t, k) for t in grid[::4])
    assert thresholds.by_tag[3] == 1  # no clip has it, so it is never answered
    assert not thresholds.answers(probabilities).by_tag[:, 3].any()


def test_each_group_is_answered_by_thresholds_of_the_others():
    probabilities, targets = random_tags()
    groups = np.arange(60) % 3
    answers = cross_fitted_answers(probabilities, targets, groups)
    for group in range(3):
        rows = groups == group
        expected = tune(probabilities[~rows], targets[~rows]).answers(probabilities[rows])
        assert np.array_equal(answers.by_one[rows], expected.by_one)
        assert np.array_equal(answers.by_tag[rows], expected.by_tag)


def test_a_lone_group_is_answered_by_a_half():
    probabilities, targets = random_tags()
    answers = cross_fitted_answers(probabilities, targets, np.zeros(60, int))
    assert np.array_equal(answers.by_one, probabilities >= 0.5)
    assert np.array_equal(answers.by_tag, probabilities >= 0.5)
