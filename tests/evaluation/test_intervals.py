"""Intervals: of proportions, of macro values, of AUC; over clips and over recordings."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from earmark.evaluation.by_tag import per_class
from earmark.evaluation.intervals import Estimate, groups_of, resamples, score_classes, score_tags
from earmark.evaluation.measures import CLASS_METRICS, TAG_METRICS, TagMeasure
from earmark.evaluation.points import average_precision_at, point_values
from earmark.evaluation.thresholds import Answers

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


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn(seed: int):
    probabilities, labels = draw(seed, n_clips=12 + 20 * seed)
    predicted = probabilities.argmax(axis=1)
    ours = score_classes(probabilities, labels, tags=TAGS, seed=0, n_resamples=10)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )
    assert ours["accuracy"].value == pytest.approx(reference.accuracy_score(labels, predicted))
    assert ours["macro_precision"].value == pytest.approx(precision)
    assert ours["macro_recall"].value == pytest.approx(recall)
    assert ours["macro_f1"].value == pytest.approx(f1)
    assert ours["map_at_3"].value == pytest.approx(
        average_precision_at(probabilities, labels, 3).mean()
    )


def test_macro_values_leave_out_classes_that_never_occur():
    probabilities = np.eye(5)[[0, 0, 1]]  # classes 3 and 4 are nobody's label or prediction
    ours = score_classes(
        probabilities, np.array([0, 2, 1]), tags=list("abcde"), seed=0, n_resamples=10
    )
    # classes 0, 1, 2: recall 1, 1, 0 and precision 1/2, 1, 0
    assert ours["macro_recall"].value == pytest.approx(2 / 3)
    assert ours["macro_precision"].value == pytest.approx(1 / 2)
    assert ours["macro_f1"].value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_macro_f1_is_the_mean_of_the_classes_f1():
    probabilities, labels = draw(3, n_clips=40)
    ours = score_classes(probabilities, labels, tags=TAGS, seed=0, n_resamples=10)
    assert ours["macro_f1"].value == pytest.approx(
        per_class(probabilities, labels, TAGS)["f1"].mean()
    )
    precision, recall = ours["macro_precision"].value, ours["macro_recall"].value
    assert ours["macro_f1"].value != pytest.approx(2 * precision * recall / (precision + recall))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 6))
def test_scores_do_not_depend_on_the_order_of_clips_and_stay_in_range(seed, n_clips, n_tags):
    probabilities, labels = draw(seed, n_clips, n_tags)
    tags = [str(i) for i in range(n_tags)]
    ours = score_classes(probabilities, labels, tags=tags, seed=seed, n_resamples=50)
    order = np.random.default_rng(seed).permutation(n_clips)
    again = score_classes(probabilities[order], labels[order], tags=tags, seed=seed, n_resamples=50)
    assert ours == again
    for name in CLASS_METRICS:
        estimate = ours[name]
        assert 0 <= estimate.low <= estimate.high <= 1
        assert 0 <= estimate.value <= 1
    assert ours["map_at_1"].value <= ours["map_at_3"].value
    assert ours["map_at_1"] == ours["accuracy"]


def test_the_interval_of_a_proportion_is_the_normal_approximation():
    n_clips, share = 400, 0.8
    probabilities, labels = outcomes(320, n_clips)
    ours = score_classes(probabilities, labels, tags=["a", "b"], seed=0, n_resamples=4000)[
        "accuracy"
    ]
    half = 1.959964 * np.sqrt(share * (1 - share) / n_clips)
    assert ours.value == share
    assert ours.low == pytest.approx(share - half, abs=0.004)
    assert ours.high == pytest.approx(share + half, abs=0.004)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n_covered = 0
    for trial, n_right in enumerate(rng.binomial(150, 0.7, size=300)):
        probabilities, labels = outcomes(int(n_right), 150)
        ours = score_classes(probabilities, labels, tags=["a", "b"], seed=trial, n_resamples=300)[
            "accuracy"
        ]
        n_covered += ours.low <= 0.7 <= ours.high
    assert 0.91 <= n_covered / 300 <= 0.98


def test_resampling_fates_is_resampling_clips():
    probabilities, labels = draw(1, n_clips=80)
    ours = score_classes(probabilities, labels, tags=TAGS, seed=0, n_resamples=3000)
    rng = np.random.default_rng(1)
    f1s = []
    for _ in range(600):
        rows = rng.integers(0, 80, 80)
        predicted = probabilities[rows].argmax(axis=1)
        f1s.append(reference.f1_score(labels[rows], predicted, average="macro", zero_division=0))
    low, high = np.quantile(f1s, [0.025, 0.975])
    assert ours["macro_f1"].low == pytest.approx(low, abs=0.02)
    assert ours["macro_f1"].high == pytest.approx(high, abs=0.02)


def test_the_seed_decides_the_interval_but_not_the_value():
    probabilities, labels = draw(2)
    one, same, other = (
        score_classes(probabilities, labels, tags=TAGS, seed=seed, n_resamples=200)
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one["map_at_3"].value == other["map_at_3"].value
    assert one["map_at_3"] != other["map_at_3"]


def test_scores_become_plain_json():
    probabilities, labels = draw(2)
    plain = score_classes(probabilities, labels, tags=TAGS, seed=1, n_resamples=20).to_json()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {*CLASS_METRICS, "n_clips"}
    assert set(plain["map_at_3"]) == {"value", "low", "high"}
    assert plain["n_clips"] == 60


def tagged(seed: int, n_clips: int = 80, n_tags: int = 5, skill: float = 1.5):
    """Probabilities with ties, targets with several tags a clip, and answers by 0.5 and by 0.4."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n_clips, n_tags)) < 0.3).astype(np.float32)
    logits = rng.normal(size=targets.shape) + skill * (targets - 0.5)
    probabilities = (1 / (1 + np.exp(-logits))).round(2)
    return probabilities, targets, Answers(probabilities >= 0.5, probabilities >= 0.4)


@pytest.mark.parametrize("seed", range(4))
def test_scores_of_several_tags_agree_with_scikit_learn(seed: int):
    probabilities, targets, answers = tagged(seed)
    ours = score_tags(probabilities, targets, answers, seed=0, n_resamples=10)
    expected = {
        "roc_auc": reference.roc_auc_score(targets, probabilities, average="macro"),
        "mean_average_precision": reference.average_precision_score(targets, probabilities),
        "micro_precision": reference.precision_score(targets, answers.by_one, average="micro"),
        "micro_recall": reference.recall_score(targets, answers.by_one, average="micro"),
        "micro_f1": reference.f1_score(targets, answers.by_one, average="micro"),
        "macro_f1": reference.f1_score(targets, answers.by_tag, average="macro"),
        "map_at_3": point_values(probabilities, targets, is_multi_label=True)["map_at_3"],
    }
    assert set(expected) == set(TAG_METRICS)
    for name, value in expected.items():
        assert ours[name].value == pytest.approx(value), name


def test_a_weighted_clip_counts_as_so_many_equal_ones():
    """The bootstrap's AUC and AP of counts are those of the clips written out."""
    probabilities, targets, answers = tagged(3, n_clips=40)
    counts = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=6).T
    found = TagMeasure(probabilities, targets > 0.5, answers).values(counts.astype(float))
    for draw_, column in enumerate(counts.T):
        rows = np.repeat(np.arange(40), column)
        p, y = probabilities[rows], targets[rows]
        assert found["roc_auc"][draw_] == pytest.approx(reference.roc_auc_score(y, p))
        mean_ap = reference.average_precision_score(y, p)
        assert found["mean_average_precision"][draw_] == pytest.approx(mean_ap)
        f1 = reference.f1_score(y, answers.by_tag[rows], average="macro")
        assert found["macro_f1"][draw_] == pytest.approx(f1)


def test_a_tag_that_every_clip_has_is_no_part_of_auc_and_mean_ap():
    probabilities, targets, answers = tagged(0)
    whole = score_tags(probabilities, targets, answers, seed=0, n_resamples=50)
    more = [np.concatenate([part, part[:, :1]], axis=1) for part in (probabilities, *answers)]
    targets = np.concatenate([targets, np.ones((80, 1), np.float32)], axis=1)
    wider = score_tags(more[0], targets, Answers(*more[1:]), seed=0, n_resamples=50)
    for name in ("roc_auc", "mean_average_precision"):
        assert wider[name] == whole[name]
    none = score_tags(probabilities, np.ones_like(probabilities), answers, seed=0, n_resamples=9)
    assert np.isnan([none["roc_auc"].value, none["roc_auc"].low]).all()


def test_the_interval_of_auc_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth, n_covered, n_trials = 0.7602499, 0, 200  # normal scores one apart: Phi(1 / sqrt 2)
    for trial in range(n_trials):
        targets = (np.arange(120) < 40).astype(np.float32)[:, np.newaxis]
        scores = rng.normal(size=(120, 1)) + targets
        answers = Answers(scores > 0, scores > 0)
        ours = score_tags(scores, targets, answers, seed=trial, n_resamples=200)["roc_auc"]
        n_covered += ours.low <= truth <= ours.high
    assert 0.90 <= n_covered / n_trials <= 0.985


def test_clips_of_one_recording_need_the_interval_over_recordings():
    """20 recordings of 10 clips that fare alike: over clips the interval is far too narrow."""
    rng = np.random.default_rng(0)
    sources = [f"r{i // 10}" for i in range(200)]
    n_covered, n_over_clips, n_trials = 0, 0, 200
    for trial in range(n_trials):
        right = np.repeat(rng.random(20) < 0.7, 10)[:, np.newaxis]
        probabilities = np.where(right, [0.9, 0.1], [0.1, 0.9])
        labels = np.zeros(200, dtype=np.int64)
        ours = score_classes(
            probabilities, labels, tags=["a", "b"], seed=trial, n_resamples=300, sources=sources
        )["accuracy"]
        n_covered += ours.low_by_source <= 0.7 <= ours.high_by_source
        n_over_clips += ours.low <= 0.7 <= ours.high
        assert ours.widest("clips", "recordings")[2] == "recordings"
    assert n_covered / n_trials > 0.88
    assert n_over_clips / n_trials < 0.6


def test_sources_of_one_clip_each_leave_the_interval_as_it_is():
    probabilities, labels = draw(0)
    how = {"tags": TAGS, "seed": 0, "n_resamples": 50}
    alone = score_classes(probabilities, labels, **how, sources=[str(i) for i in range(60)])
    assert alone == score_classes(probabilities, labels, **how)
    assert alone["accuracy"].low_by_source is None
    assert groups_of(["", "", "a"]) is None
    assert groups_of(["a", "", "", "a"]).tolist().count(groups_of(["a", "", "", "a"])[0]) == 2


def test_a_resampled_recording_brings_all_of_its_clips():
    cell_of, groups = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1])
    rng = np.random.default_rng(0)
    (counts,) = resamples(cell_of, groups, rng=rng, n_resamples=500)
    assert counts.shape == (3, 500)
    assert (counts[0] + counts[2] == 2).all()  # two recordings, one with either cell
    assert (counts[1] == 2).all()  # and each of them has a clip of the middle cell
    uneven = np.array([0, 0, 0, 1])
    (counts,) = resamples(np.arange(4), uneven, rng=rng, n_resamples=4000)
    np.testing.assert_allclose(counts.mean(axis=1), [1, 1, 1, 1], atol=0.05)
    (clips,) = resamples(cell_of, None, rng=rng, n_resamples=4000)
    assert (clips.sum(axis=0) == 4).all()
    np.testing.assert_allclose(clips.mean(axis=1), [1, 2, 1], atol=0.05)


def test_ends_over_recordings_are_told_only_where_there_are_some():
    assert Estimate(0.5, 0.4, 0.6).to_json() == {"value": 0.5, "low": 0.4, "high": 0.6}
    both = Estimate(0.5, 0.4, 0.6, 0.3, 0.7)
    assert both.to_json()["low_by_source"] == 0.3
    assert both.widest("clips", "recordings") == (0.3, 0.7, "recordings")
    assert Estimate(0.5, 0.4, 0.6, 0.45, 0.55).widest("clips", "recordings")[2] == "clips"


def test_many_clips_and_tags_are_resampled_in_pieces(monkeypatch):
    probabilities, targets, answers = tagged(1)
    whole = score_tags(probabilities, targets, answers, seed=0, n_resamples=30)
    monkeypatch.setattr("earmark.evaluation.intervals.CHUNK", 400)
    assert score_tags(probabilities, targets, answers, seed=0, n_resamples=30) == whole
