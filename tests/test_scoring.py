"""Scores against hand-made values, scikit-learn, and the normal approximation."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from earmark.scoring import (
    METRICS,
    average_precision_at,
    confusion_matrix,
    confusion_pairs,
    per_class,
    score,
)

TAGS = ["bark", "bell", "cello", "cough"]


def draw(seed: int, n_clips: int = 60, n_tags: int = 4, skill: float = 1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_tags, n_clips)
    logits = rng.normal(size=(n_clips, n_tags))
    logits[np.arange(n_clips), labels] += skill
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def outcomes(n_right: int, n_clips: int):
    """Two tags, all labels 0, the first `n_right` clips right."""
    right = (np.arange(n_clips) < n_right)[:, np.newaxis]
    return np.where(right, [0.9, 0.1], [0.1, 0.9]), np.zeros(n_clips, dtype=np.int64)


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


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn(seed: int):
    probabilities, labels = draw(seed, n_clips=12 + 20 * seed)
    predicted = probabilities.argmax(axis=1)
    ours = score(probabilities, labels, tags=TAGS, seed=0, n_resamples=10)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )
    assert ours.accuracy.value == pytest.approx(reference.accuracy_score(labels, predicted))
    assert ours.macro_precision.value == pytest.approx(precision)
    assert ours.macro_recall.value == pytest.approx(recall)
    assert ours.macro_f1.value == pytest.approx(f1)
    assert ours.map_at_3.value == pytest.approx(
        average_precision_at(probabilities, labels, 3).mean()
    )
    theirs = reference.confusion_matrix(labels, predicted, labels=range(4))
    assert np.array_equal(confusion_matrix(probabilities, labels), theirs)


def test_macro_values_leave_out_classes_that_never_occur():
    probabilities = np.eye(5)[[0, 0, 1]]  # classes 3 and 4 are nobody's label or prediction
    ours = score(probabilities, np.array([0, 2, 1]), tags=list("abcde"), seed=0, n_resamples=10)
    # classes 0, 1, 2: recall 1, 1, 0 and precision 1/2, 1, 0
    assert ours.macro_recall.value == pytest.approx(2 / 3)
    assert ours.macro_precision.value == pytest.approx(1 / 2)
    assert ours.macro_f1.value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_macro_f1_is_the_mean_of_the_classes_f1():
    probabilities, labels = draw(3, n_clips=40)
    ours = score(probabilities, labels, tags=TAGS, seed=0, n_resamples=10)
    assert ours.macro_f1.value == pytest.approx(per_class(probabilities, labels, TAGS)["f1"].mean())
    precision, recall = ours.macro_precision.value, ours.macro_recall.value
    assert ours.macro_f1.value != pytest.approx(2 * precision * recall / (precision + recall))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 6))
def test_scores_do_not_depend_on_the_order_of_clips_and_stay_in_range(seed, n_clips, n_tags):
    probabilities, labels = draw(seed, n_clips, n_tags)
    tags = [str(i) for i in range(n_tags)]
    ours = score(probabilities, labels, tags=tags, seed=seed, n_resamples=50)
    order = np.random.default_rng(seed).permutation(n_clips)
    again = score(probabilities[order], labels[order], tags=tags, seed=seed, n_resamples=50)
    assert ours == again
    for name in METRICS:
        estimate = getattr(ours, name)
        assert 0 <= estimate.low <= estimate.high <= 1
        assert 0 <= estimate.value <= 1
    assert ours.map_at_1.value <= ours.map_at_3.value
    assert ours.map_at_1 == ours.accuracy


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_only_the_ranking_of_the_tags_matters(seed: int):
    probabilities, labels = draw(seed)
    ours = average_precision_at(probabilities, labels, 3)
    assert np.array_equal(ours, average_precision_at(np.sqrt(probabilities), labels, 3))


def test_the_interval_of_a_proportion_is_the_normal_approximation():
    n_clips, share = 400, 0.8
    probabilities, labels = outcomes(320, n_clips)
    ours = score(probabilities, labels, tags=["a", "b"], seed=0, n_resamples=4000).accuracy
    half = 1.959964 * np.sqrt(share * (1 - share) / n_clips)
    assert ours.value == share
    assert ours.low == pytest.approx(share - half, abs=0.004)
    assert ours.high == pytest.approx(share + half, abs=0.004)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n_covered = 0
    for trial, n_right in enumerate(rng.binomial(150, 0.7, size=300)):
        probabilities, labels = outcomes(int(n_right), 150)
        ours = score(probabilities, labels, tags=["a", "b"], seed=trial, n_resamples=300).accuracy
        n_covered += ours.low <= 0.7 <= ours.high
    assert 0.91 <= n_covered / 300 <= 0.98


def test_resampling_fates_is_resampling_clips():
    probabilities, labels = draw(1, n_clips=80)
    ours = score(probabilities, labels, tags=TAGS, seed=0, n_resamples=3000)
    rng = np.random.default_rng(1)
    f1s = []
    for _ in range(600):
        rows = rng.integers(0, 80, 80)
        predicted = probabilities[rows].argmax(axis=1)
        f1s.append(reference.f1_score(labels[rows], predicted, average="macro", zero_division=0))
    low, high = np.quantile(f1s, [0.025, 0.975])
    assert ours.macro_f1.low == pytest.approx(low, abs=0.02)
    assert ours.macro_f1.high == pytest.approx(high, abs=0.02)


def test_the_seed_decides_the_interval_but_not_the_value():
    probabilities, labels = draw(2)
    one, same, other = (
        score(probabilities, labels, tags=TAGS, seed=seed, n_resamples=200) for seed in (1, 1, 2)
    )
    assert one == same
    assert one.map_at_3.value == other.map_at_3.value
    assert one.map_at_3 != other.map_at_3


def test_scores_become_plain_json():
    probabilities, labels = draw(2)
    plain = score(probabilities, labels, tags=TAGS, seed=1, n_resamples=20).to_json()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {*METRICS, "n_clips"}
    assert set(plain["map_at_3"]) == {"value", "low", "high"}
    assert plain["n_clips"] == 60


def test_per_class_names_what_each_tag_is_taken_for():
    probabilities = np.eye(4)[[0, 1, 1, 2, 2]]
    table = per_class(probabilities, np.array([0, 0, 0, 2, 2]), TAGS).set_index("tag")
    assert table["n_clips"].tolist() == [3, 0, 2, 0]
    assert table["confused_with"].tolist() == ["bell", "", "", ""]
    assert table.loc["bark", ["precision", "recall", "f1"]].tolist() == [1, 1 / 3, 1 / 2]
    assert table.loc["bark", "map_at_3"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert np.isnan(table.loc["cough", "map_at_3"])
    assert table.loc["bell", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]


def test_confusion_pairs_come_by_count_and_leave_out_the_hits():
    confusion = np.array([[5, 1, 0, 4], [2, 8, 0, 0], [0, 0, 3, 0], [1, 0, 0, 0]])
    pairs = confusion_pairs(confusion, TAGS)
    assert pairs.to_dict("list") == {
        "actual": ["bark", "bell", "bark", "cough"],
        "predicted": ["cough", "bark", "bell", "bark"],
        "count": [4, 2, 1, 1],
        "share_of_actual": [0.4, 0.2, 0.1, 1.0],
    }
    assert confusion_pairs(np.diag([1, 2, 3, 4]), TAGS).empty


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
        (np.ones((2, 3)), np.zeros(2, int), "4 tags for 3 columns"),
    ],
)
def test_what_cannot_be_scored_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        score(probabilities, labels, tags=TAGS, seed=0)


def test_a_confusion_matrix_of_other_tags_is_refused():
    with pytest.raises(ValueError, match=r"expected confusion \(4, 4\), got \(3, 3\)"):
        confusion_pairs(np.eye(3, dtype=int), TAGS)
