"""Scores against hand-made values and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from earmark.errors import UserError
from earmark.evaluation.points import (
    average_precision_at,
    average_precision_at_k,
    best_threshold,
    check_metric,
    confusion_matrix,
    metrics_of,
    point_values,
)
from earmark.labels import Task

ONE = Task(list("abcd"), is_multi_label=False, aux_labels=[])
SEVERAL = Task(list("abcd"), is_multi_label=True, aux_labels=[])


def draw(seed: int, n_clips: int = 60, n_tags: int = 4, skill: float = 1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_tags, n_clips)
    logits = rng.normal(size=(n_clips, n_tags))
    logits[np.arange(n_clips), labels] += skill
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def test_ranks_one_to_four_give_the_published_mean():
    probabilities = np.tile([0.4, 0.3, 0.2, 0.1], (4, 1))
    precisions = average_precision_at(probabilities, np.arange(4), 3)
    assert precisions.tolist() == [1, 1 / 2, 1 / 3, 0]
    assert precisions.mean() == pytest.approx(0.458333, abs=1e-6)


def test_equal_probabilities_rank_by_class_index():
    probabilities = np.full((4, 4), 0.25)
    assert average_precision_at(probabilities, np.arange(4), 3).tolist() == [1, 1 / 2, 1 / 3, 0]
    assert confusion_matrix(probabilities, np.arange(4))[:, 0].tolist() == [1, 1, 1, 1]


def test_k_cuts_the_ranking():
    probabilities = np.tile([0.5, 0.3, 0.2], (3, 1))
    assert average_precision_at(probabilities, np.arange(3), 1).tolist() == [1, 0, 0]
    assert average_precision_at(probabilities, np.arange(3), 2).tolist() == [1, 1 / 2, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_only_the_ranking_of_the_tags_matters(seed: int):
    probabilities, labels = draw(seed)
    ours = average_precision_at(probabilities, labels, 3)
    assert np.array_equal(ours, average_precision_at(np.sqrt(probabilities), labels, 3))


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones(4), np.zeros(4, int), r"expected probabilities \(clips, tags\), got \(4,\)"),
        (np.ones((0, 4)), np.zeros(0, int), r"expected probabilities .* got \(0, 4\)"),
        (np.ones((3, 4)), np.zeros(2, int), r"expected \(3,\) labels, got \(2,\)"),
        (np.ones((2, 4)), np.zeros(2), "labels as integers, got float64"),
        (np.ones((2, 4)), np.array([0, 4]), r"must lie in 0\.\.3, got 0\.\.4"),
        (np.ones((2, 4)), np.array([-1, 0]), r"must lie in 0\.\.3, got -1\.\.0"),
        (np.array([[1.0, 0], [np.nan, 0]]), np.zeros(2, int), "clip 1 are not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        average_precision_at(probabilities, labels, 3)


def several(seed: int, n_clips: int = 60, n_tags: int = 5):
    """Probabilities with many ties, and targets with none, one or several tags per clip."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n_clips, n_tags)) < 0.3).astype(np.float32)
    return (0.3 * targets + 0.7 * rng.random(targets.shape)).round(1), targets


@pytest.mark.parametrize("seed", range(4))
def test_values_of_one_tag_per_clip_agree_with_scikit_learn(seed: int):
    probabilities, labels = draw(seed, n_clips=15 + 20 * seed)
    found = point_values(probabilities, np.eye(4)[labels], is_multi_label=False)
    predicted = probabilities.argmax(axis=1)
    assert tuple(found) == metrics_of(ONE)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(
        reference.f1_score(labels, predicted, average="macro", zero_division=0)
    )
    assert found["map_at_3"] == average_precision_at(probabilities, labels, 3).mean()
    theirs = reference.confusion_matrix(labels, predicted, labels=range(4))
    assert np.array_equal(confusion_matrix(probabilities, labels), theirs)


@pytest.mark.parametrize("seed", range(4))
def test_values_of_several_tags_agree_with_scikit_learn(seed: int):
    probabilities, targets = several(seed)
    found = point_values(probabilities, targets, is_multi_label=True)
    assert set(found) == {*metrics_of(SEVERAL), "threshold"}
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(targets, probabilities))
    mean_ap = reference.average_precision_score(targets, probabilities)
    assert found["mean_average_precision"] == pytest.approx(mean_ap)
    answers = probabilities >= found["threshold"]
    assert found["micro_f1"] == pytest.approx(reference.f1_score(targets, answers, average="micro"))


@pytest.mark.parametrize("seed", range(2))
def test_no_threshold_gives_a_better_f1(seed: int):
    probabilities, targets = several(seed)
    found = point_values(probabilities, targets, is_multi_label=True)
    grid = np.linspace(0, 1.05, 22)  # the probabilities are tenths
    micro = [reference.f1_score(targets, probabilities >= t, average="micro") for t in grid]
    assert found["micro_f1"] == pytest.approx(max(micro))
    macro = [
        max(reference.f1_score(y, p >= t) for t in grid)
        for y, p in zip(targets.T, probabilities.T, strict=True)
    ]
    assert found["macro_f1"] == pytest.approx(np.mean(macro))


def test_the_threshold_is_the_least_probability_that_counts_as_yes():
    is_true = np.array([True, True, False, True, False])
    assert best_threshold(np.array([0.9, 0.8, 0.7, 0.6, 0.1]), is_true) == (0.6, 6 / 7)
    assert best_threshold(np.array([0.9, 0.9, 0.9, 0.9, 0.1]), is_true) == (0.9, 6 / 7)
    assert best_threshold(np.array([0.9, 0.1]), np.array([False, False])) == (1.0, 0.0)


def test_a_tag_without_both_kinds_of_clips_is_left_out_of_auc_and_mean_ap():
    probabilities, targets = several(0)
    usual = point_values(probabilities, targets, is_multi_label=True)
    never, always = np.zeros((60, 1)), np.ones((60, 1))
    more = np.concatenate([targets, never, always], axis=1)
    wider = np.concatenate([probabilities, probabilities[:, :2]], axis=1)
    found = point_values(wider, more, is_multi_label=True)
    for name in ("roc_auc", "mean_average_precision"):
        assert found[name] == usual[name]
    assert np.isnan(point_values(always, always, is_multi_label=True)["roc_auc"])


def test_map_at_3_of_several_tags_is_the_general_one():
    probabilities = np.tile([0.5, 0.4, 0.3, 0.2], (6, 1))
    targets = np.array(
        [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    )
    expected = [1, 1 / 2, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 3, 1, 0]
    found = average_precision_at_k(probabilities, targets > 0, 3)
    assert found.tolist() == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_with_one_tag_per_clip_the_general_map_at_3_is_the_simple_one(seed: int):
    probabilities, labels = draw(seed)
    is_true = np.eye(4)[labels] > 0
    general = average_precision_at_k(probabilities, is_true, 3)
    assert np.array_equal(general, average_precision_at(probabilities, labels, 3))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([[1, 0], [1, 1]]), "clip 1 has 2 tags; this task has one tag per clip"),
        (np.array([[1, 0], [0, 0]]), "clip 1 has 0 tags"),
        (np.array([[1, 0], [0.5, 0.5]]), "targets must be 0 or 1"),
        (np.array([[1, 0]]), r"expected targets \(2, 2\), got \(1, 2\)"),
    ],
)
def test_targets_that_are_no_classes_are_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        point_values(np.full((2, 2), 0.5), targets, is_multi_label=False)


@pytest.mark.parametrize(
    ("task", "metric", "message"),
    [
        (ONE, "roc_auc", "one tag per clip; set one of map_at_3, accuracy, macro_f1$"),
        (SEVERAL, "accuracy", "several tags per clip; set one of map_at_3, roc_auc, .*, macro_f1$"),
        (ONE, "loss", "one tag per clip"),
    ],
)
def test_a_metric_that_does_not_fit_the_task_is_refused_by_its_key(task, metric, message):
    with pytest.raises(UserError, match=rf"params\.yaml: a\.b: {metric} does not fit .* {message}"):
        check_metric(metric, task, key="a.b")


@pytest.mark.parametrize(("task", "other"), [(ONE, SEVERAL), (SEVERAL, ONE)])
def test_metrics_that_fit_are_accepted_and_so_is_what_else_may_be_set(task, other):
    refused = set()
    for metric in {*metrics_of(task), *metrics_of(other), "loss"}:
        try:
            check_metric(metric, task, key="model.monitor", others=("loss",))
        except UserError:
            refused.add(metric)
    assert refused == set(metrics_of(other)) - set(metrics_of(task))
