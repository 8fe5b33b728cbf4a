"""Intervals: of proportions, of macro values, of AUC; over clips and over recordings."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import t as student
from sklearn import metrics as reference

from earmark.evaluation.by_tag import per_class
from earmark.evaluation.intervals import (
    Estimate,
    interval_text,
    quantile,
    score_classes,
    score_tags,
)
from earmark.evaluation.jackknife import LeftOut, Units, groups_of, jackknife
from earmark.evaluation.measures import CLASS_METRICS, TAG_METRICS, TagMeasure, classes_of
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
    ours = score_classes(probabilities, labels, tags=TAGS)
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
    ours = score_classes(probabilities, np.array([0, 2, 1]), tags=list("abcde"))
    # classes 0, 1, 2: recall 1, 1, 0 and precision 1/2, 1, 0
    assert ours["macro_recall"].value == pytest.approx(2 / 3)
    assert ours["macro_precision"].value == pytest.approx(1 / 2)
    assert ours["macro_f1"].value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_macro_f1_is_the_mean_of_the_classes_f1():
    probabilities, labels = draw(3, n_clips=40)
    ours = score_classes(probabilities, labels, tags=TAGS)
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
    ours = score_classes(probabilities, labels, tags=tags)
    order = np.random.default_rng(seed).permutation(n_clips)
    again = score_classes(probabilities[order], labels[order], tags=tags)
    for name, estimate in ours.estimates.items():  # sums of another order differ in last bits
        same = again[name]
        assert (estimate.over, estimate.why_no_interval) == (same.over, same.why_no_interval)
        ends = [(e.value, e.low or 0, e.high or 0) for e in (estimate, same)]
        assert ends[0] == pytest.approx(ends[1])
    for name in CLASS_METRICS:
        estimate = ours[name]
        if estimate.why_no_interval is None:
            assert 0 <= estimate.low <= estimate.high <= 1
        assert 0 <= estimate.value <= 1
    assert ours["map_at_1"].value <= ours["map_at_3"].value
    assert ours["map_at_1"] == ours["accuracy"]


def test_the_interval_of_a_proportion_is_wilsons():
    for n_right in (320, 396, 400):
        probabilities, labels = outcomes(n_right, 400)
        ours = score_classes(probabilities, labels, tags=["a", "b"])["accuracy"]
        expected = binomtest(n_right, 400).proportion_ci(method="wilson")
        assert ours.value == n_right / 400
        # Of Student's distribution, and with 399 in place of 400 for the variance.
        assert ours.low == pytest.approx(expected.low, abs=0.0005)
        assert ours.high == pytest.approx(expected.high, abs=0.0005)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n_covered = 0
    for n_right in rng.binomial(150, 0.7, size=300):
        probabilities, labels = outcomes(int(n_right), 150)
        ours = score_classes(probabilities, labels, tags=["a", "b"])["accuracy"]
        n_covered += ours.low <= 0.7 <= ours.high
    assert 0.91 <= n_covered / 300 <= 0.98


def test_leaving_out_a_recording_leaves_out_all_of_its_clips():
    probabilities, labels = draw(1, n_clips=60)
    sources = [f"r{i // 3}" for i in range(60)]
    measure, cell_of = classes_of(probabilities, labels)
    found = jackknife(measure, cell_of, Units.of(60, sources))["macro_f1"]
    units = groups_of(sources)
    for unit in range(20):
        p, y = probabilities[units != unit].argmax(axis=1), labels[units != unit]
        expected = reference.f1_score(y, p, average="macro", zero_division=0)
        assert found.without[unit] == pytest.approx(expected)
    assert found.bias == pytest.approx(19 * (found.without.mean() - found.value))


def test_many_recordings_are_left_out_in_blocks(monkeypatch):
    probabilities, labels = draw(1, n_clips=600)
    whole = score_classes(probabilities, labels, tags=TAGS)["macro_f1"]
    monkeypatch.setattr("earmark.evaluation.jackknife.MAX_UNITS", 200)
    assert Units.of(600, None).n == 200
    blocks = score_classes(probabilities, labels, tags=TAGS)["macro_f1"]
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=0.01)


def drawn_of_41_classes(seed: int, n_clips: int, n_tags: int = 41):
    """Classes that are not equally hard, and resemble another one each."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(0).normal(3.2, 0.7, n_tags)
    labels = rng.integers(0, n_tags, n_clips)
    logits = rng.normal(size=(n_clips, n_tags))
    logits[np.arange(n_clips), labels] += hard[labels]
    logits[np.arange(n_clips), (labels + 1) % n_tags] += 1.0
    return np.exp(logits), labels


def test_the_interval_of_macro_f1_covers_or_is_not_shown():
    """200 clips of 41 classes: a bootstrap's percentiles held the truth in two of three."""
    tags = [str(k) for k in range(41)]
    truth = score_classes(*drawn_of_41_classes(0, 40_000), tags=tags)["macro_f1"].value
    for n_clips in (200, 400):
        found = [
            score_classes(*drawn_of_41_classes(1 + i, n_clips), tags=tags)["macro_f1"]
            for i in range(80)
        ]
        shown = [one for one in found if one.why_no_interval is None]
        n_covered = sum(one.low <= truth <= one.high for one in shown)
        assert n_covered >= 0.89 * len(shown)
        assert len(shown) > 70
        # A class with few clips has too low an F1 on average, which the intervals allow for.
        middle = np.mean([(one.low + one.high) / 2 for one in shown])
        assert abs(middle - truth) < abs(np.mean([one.value for one in shown]) - truth) / 2
        for one in found:
            assert (one.low is None) == (one.why_no_interval is not None)


def test_400_clips_of_10_classes_cut_from_304_recordings_have_intervals():
    """As many clips per recording as in ESC-10, scored in all five folds."""
    sizes = np.repeat([1, 2, 3, 4, 5, 6, 7], [237, 51, 10, 2, 2, 1, 1])
    sources = np.repeat(np.arange(len(sizes)), sizes).astype(str)
    probabilities, _ = draw(0, n_clips=400, n_tags=10, skill=3.0)
    labels = np.arange(400) // 40
    for row, label in enumerate(labels):
        probabilities[row] = np.roll(probabilities[row], label - probabilities[row].argmax())
    probabilities[::9] = np.roll(probabilities[::9], 1, axis=1)
    tags = [str(k) for k in range(10)]
    ours = score_classes(probabilities, labels, tags=tags, sources=sources)
    for name in ("accuracy", "map_at_3", "macro_f1"):
        assert ours[name].over == "recordings"
        assert 0.02 < ours[name].high - ours[name].low < 0.15


def test_the_fewer_recordings_move_a_value_the_wider_is_its_interval():
    units = Units.of(50, None)
    for n_telling, degrees in ((0, 49), (2, 5), (4, 8), (30, 49)):
        moves = np.repeat([0.0, 1.0, -1.0], [50 - n_telling, n_telling // 2, n_telling // 2])
        left_out = LeftOut(0.5, 0.5 + 0.01 * moves)
        assert left_out.telling == pytest.approx(n_telling)
        assert quantile(units, left_out) == pytest.approx(student.ppf(0.975, degrees))
    assert quantile(units) == student.ppf(0.975, 49)


def test_too_few_clips_have_no_interval_but_a_reason():
    probabilities, labels = draw(0, n_clips=9)
    few = score_classes(probabilities, labels, tags=TAGS)["accuracy"]
    assert few.why_no_interval == "too few clips (9.0, below 10)"
    assert few.to_json() == {"value": few.value, "why_no_interval": few.why_no_interval}
    assert interval_text(few.to_json()) == "no interval: too few clips (9.0, below 10)"
    probabilities, labels = draw(0, n_clips=12)
    some = score_classes(probabilities, labels, tags=TAGS)
    assert some["accuracy"].why_no_interval is None
    assert "too few clips per class (2." in some["macro_f1"].why_no_interval
    one = score_classes(probabilities, labels, tags=TAGS, sources=["r"] * 12)
    assert one["accuracy"].why_no_interval == "too few recordings (1.0, below 10)"


def test_scores_become_plain_json():
    probabilities, labels = draw(2)
    plain = score_classes(probabilities, labels, tags=TAGS).to_json()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {*CLASS_METRICS, "n_clips"}
    assert set(plain["map_at_3"]) == {"value", "low", "high", "over"}
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
    ours = score_tags(probabilities, targets, answers)
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
    whole = score_tags(probabilities, targets, answers)
    more = [np.concatenate([part, part[:, :1]], axis=1) for part in (probabilities, *answers)]
    targets = np.concatenate([targets, np.ones((80, 1), np.float32)], axis=1)
    wider = score_tags(more[0], targets, Answers(*more[1:]))
    for name in ("roc_auc", "mean_average_precision"):
        assert wider[name] == whole[name]
    none = score_tags(probabilities, np.ones_like(probabilities), answers)
    assert np.isnan(none["roc_auc"].value)
    assert none["roc_auc"].why_no_interval == "no tag has clips with it and clips without it"


def test_the_interval_of_auc_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth, n_covered, n_trials = 0.7602499, 0, 200  # normal scores one apart: Phi(1 / sqrt 2)
    for _ in range(n_trials):
        targets = (np.arange(120) < 40).astype(np.float32)[:, np.newaxis]
        scores = rng.normal(size=(120, 1)) + targets
        answers = Answers(scores > 0, scores > 0)
        ours = score_tags(scores, targets, answers)["roc_auc"]
        n_covered += ours.low <= truth <= ours.high
    assert 0.90 <= n_covered / n_trials <= 0.985


def test_clips_of_one_recording_need_the_interval_over_recordings():
    """20 recordings of 10 clips that fare alike: over clips the interval is far too narrow."""
    rng = np.random.default_rng(0)
    sources = [f"r{i // 10}" for i in range(200)]
    n_covered, n_over_clips, n_trials = 0, 0, 200
    for _ in range(n_trials):
        right = np.repeat(rng.random(20) < 0.7, 10)[:, np.newaxis]
        probabilities = np.where(right, [0.9, 0.1], [0.1, 0.9])
        labels = np.zeros(200, dtype=np.int64)
        clips = score_classes(probabilities, labels, tags=["a", "b"])["accuracy"]
        ours = score_classes(probabilities, labels, tags=["a", "b"], sources=sources)["accuracy"]
        assert (clips.over, ours.over) == ("clips", "recordings")
        n_covered += ours.low <= 0.7 <= ours.high
        n_over_clips += clips.low <= 0.7 <= clips.high
    assert n_covered / n_trials > 0.92
    assert n_over_clips / n_trials < 0.6


def test_sources_of_one_clip_each_leave_the_interval_as_it_is():
    probabilities, labels = draw(0)
    alone = score_classes(probabilities, labels, tags=TAGS, sources=[str(i) for i in range(60)])
    assert alone == score_classes(probabilities, labels, tags=TAGS)
    assert groups_of(["", "", "a"]) is None
    assert groups_of(["a", "", "", "a"]).tolist().count(groups_of(["a", "", "", "a"])[0]) == 2


def test_recordings_of_unequal_length_count_as_fewer():
    assert Units.of(4, None).effective == 4
    units = Units.of(6, ["a", "a", "a", "a", "b", "c"])
    assert units.effective == pytest.approx(36 / 18)
    is_true = np.array([[1, 0]] * 4 + [[1, 1], [0, 1]]) > 0
    # The first tag: 4 clips and 1; the second: 1 and 1.
    assert units.effective_per_class(is_true) == pytest.approx(2 / (17 / 25 + 1 / 2))


def test_an_interval_says_what_it_ranges_over():
    ends = {"value": 0.5, "low": 0.4, "high": 0.6, "over": "clips"}
    assert Estimate(0.5, 0.4, 0.6).to_json() == ends
    assert interval_text(ends, "+.2f") == "95 % interval +0.40 to +0.60 over clips"


def test_many_clips_and_tags_are_left_out_in_pieces(monkeypatch):
    probabilities, targets, answers = tagged(1)
    whole = score_tags(probabilities, targets, answers)
    monkeypatch.setattr("earmark.evaluation.jackknife.CHUNK", 400)
    assert score_tags(probabilities, targets, answers) == whole
