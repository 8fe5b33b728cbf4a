"""Thresholds: what they are tuned for, and that no clip is judged by one that it taught."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from earmark.evaluation.thresholds import cross_fitted_answers, tune


def drawn(seed: int = 0, n_clips: int = 60):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n_clips, 4)) < [0.1, 0.3, 0.5, 0.0]).astype(np.float32)
    return (0.3 * targets + 0.7 * rng.random(targets.shape)).round(2), targets


@pytest.mark.parametrize("seed", range(3))
def test_one_threshold_is_best_for_micro_f1_and_each_tags_for_its_own(seed: int):
    probabilities, targets = drawn(seed)
    found = tune(probabilities, targets)
    grid = np.unique(probabilities)

    def f1(answers, k):
        return f1_score(targets[:, k], answers)

    micro = f1_score(targets, found.answers(probabilities).by_one, average="micro")
    assert micro >= max(f1_score(targets, probabilities >= t, average="micro") for t in grid)
    for k in range(3):
        own = f1(found.answers(probabilities).by_tag[:, k], k)
        assert own >= max(f1(probabilities[:, k] >= t, k) for t in grid[::4])
    assert found.by_tag[3] == 1  # no clip has it, so it is never said
    assert not found.answers(probabilities).by_tag[:, 3].any()


def test_each_part_is_answered_by_thresholds_of_the_others():
    probabilities, targets = drawn()
    parts = np.arange(60) % 3
    answers = cross_fitted_answers(probabilities, targets, parts)
    for part in range(3):
        own = parts == part
        expected = tune(probabilities[~own], targets[~own]).answers(probabilities[own])
        assert np.array_equal(answers.by_one[own], expected.by_one)
        assert np.array_equal(answers.by_tag[own], expected.by_tag)


def test_a_lone_part_has_nobody_to_learn_from():
    probabilities, targets = drawn()
    answers = cross_fitted_answers(probabilities, targets, np.zeros(60, int))
    assert np.array_equal(answers.by_one, probabilities >= 0.5)
    assert np.array_equal(answers.by_tag, probabilities >= 0.5)
