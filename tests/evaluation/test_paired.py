"""Differences of two taggers on the same clips, in closed form and over simulated pairs."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, roc_auc_score

from earmark.evaluation.paired import Changes, Gain, gain, mcnemar, tag_changes
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.scores import values_of
from earmark.evaluation.thresholds import Thresholds
from earmark.labels import Task

TWO = Task(["a", "b"], is_multi_label=False, aux_labels=[])
ACCURACY = {"metric": "accuracy", "seed": 0}


def tagger(is_right, sources=None) -> Predictions:
    """Clips of tag a, or (the latter half) b, that one tagger answers rightly or wrongly."""
    is_right = np.asarray(is_right, dtype=bool)
    labels = (np.arange(len(is_right)) * 2 >= len(is_right)).astype(int)
    answers = np.where(is_right, labels, 1 - labels)
    columns = {"split": "validation", "cross_fit_group": "", "source": sources or ""}
    clips = pd.DataFrame({"clip": range(len(labels)), "label": np.array(["a", "b"])[labels]})
    return Predictions.of("a", TWO, clips.assign(**columns), np.eye(2)[answers] * 0.8 + 0.1)


def test_the_difference_and_its_interval_are_those_of_the_pairs():
    rng = np.random.default_rng(0)
    first = rng.random(400) < 0.7
    second = np.where(rng.random(400) < 0.85, first, ~first)
    found = gain(tagger(first), tagger(second), **ACCURACY, n_resamples=4000)
    pairs = second.astype(float) - first
    assert (found.first, found.second) == (first.mean(), second.mean())
    assert found.difference.value == pytest.approx(pairs.mean())
    half = 1.959964 * pairs.std() / 20
    assert found.difference.low == pytest.approx(pairs.mean() - half, abs=0.005)
    assert found.difference.high == pytest.approx(pairs.mean() + half, abs=0.005)
    assert (found.n_clips, found.n_groups) == (400, 400)


def test_the_p_value_is_that_of_every_sign_of_the_differences():
    first, second = np.zeros(8, bool), np.array([1, 1, 1, 1, 1, 1, 0, 0], bool)
    pairs = (second * 1 - first)[:6]
    every = [abs(np.dot(signs, pairs)) >= 6 for signs in product((-1, 1), repeat=6)]
    found = gain(tagger(first), tagger(second), **ACCURACY, n_resamples=20_000)
    assert found.p_value == pytest.approx(np.mean(every), abs=0.004)  # 2 / 64


def test_equal_taggers_do_not_differ():
    one = tagger(np.arange(50) % 3 > 0)
    found = gain(one, one, **ACCURACY, n_resamples=100)
    assert (found.difference.value, found.difference.low, found.p_value) == (0, None, 1)
    assert found.difference.why_no_interval == "the two differ on too few clips (0.0, below 6)"


@pytest.mark.slow
def test_under_no_difference_small_p_values_are_rare():
    rng = np.random.default_rng(0)
    small = 0
    for trial in range(200):
        first, second = rng.random((2, 80)) < 0.6
        small += (
            gain(
                tagger(first), tagger(second), metric="accuracy", seed=trial, n_resamples=200
            ).p_value
            <= 0.1
        )
    assert small / 200 == pytest.approx(0.1, abs=0.055)


def test_clips_of_one_recording_are_swapped_and_resampled_together():
    """A gain on 3 of 4 recordings of 50 clips: certain over clips, not over recordings."""
    first = np.tile([1, 0], 100).astype(bool)
    second = np.concatenate([np.ones(150, bool), first[150:]])
    sources = [f"r{i // 50}" for i in range(200)]
    alone = gain(tagger(first), tagger(second), **ACCURACY, n_resamples=500)
    grouped = gain(tagger(first, sources), tagger(second, sources), **ACCURACY, n_resamples=500)
    assert alone.p_value < 0.01
    assert grouped.p_value == pytest.approx(2 / 8, abs=0.06)  # of 2^3 signs two are as large
    assert grouped.difference.why_no_interval == "too few recordings (4.0, below 10)"
    assert grouped.n_groups == 4
    assert alone.difference.over == "clips"


def answering(logits, targets, threshold: float) -> Predictions:
    """A tagger of several tags that answers them from a threshold upwards."""
    clips = pd.DataFrame({"clip": range(len(targets)), "source": ""})
    task = Task(list("abcdef"), is_multi_label=True, aux_labels=[])
    p = 1 / (1 + np.exp(-logits))
    return Predictions("several", task, clips, targets, p).with_answers(
        Thresholds(threshold, np.full(6, threshold))
    )


@pytest.mark.slow
def test_taggers_of_equal_micro_f1_that_answer_differently_seldom_seem_to_differ():
    """One tagger answers many tags, the other few: swapping their clips is not how they differ."""
    rng = np.random.default_rng(0)

    def pair(n_clips: int) -> tuple[Predictions, Predictions]:
        targets = (rng.random((n_clips, 6)) < 0.2).astype(np.float32)
        logits = 2 * targets - 1.5 + rng.normal(size=targets.shape)
        return answering(logits, targets, 0.25), answering(logits, targets, 0.667)

    low, high = (values_of(tagger)["micro_f1"] for tagger in pair(100_000))
    assert low == pytest.approx(high, abs=0.005)
    alarms = [
        gain(*pair(80), metric="micro_f1", seed=i, n_resamples=200).p_value <= 0.05
        for i in range(300)
    ]
    assert np.mean(alarms) <= 0.075


def test_other_metrics_are_compared_by_the_same_pairs():
    rng = np.random.default_rng(0)
    first, second = tagger(rng.random(90) < 0.6), tagger(rng.random(90) < 0.8)
    found = gain(first, second, metric="macro_f1", seed=0, n_resamples=50)
    for one, value in ((first, found.first), (second, found.second)):
        expected = f1_score(one.labels, one.probabilities.argmax(axis=1), average="macro")
        assert value == pytest.approx(expected)


def several(seed: int, skill: float, scale: float = 1.0) -> Predictions:
    rng = np.random.default_rng(0)
    targets = (rng.random((120, 3)) < 0.3).astype(np.float32)
    noise = np.random.default_rng(seed).normal(size=targets.shape)
    probabilities = scale / (1 + np.exp(-(noise + skill * targets)))
    clips = pd.DataFrame({"clip": range(120), "split": "validation", "label": "x", "source": ""})
    clips["cross_fit_group"] = np.arange(120) % 2
    clips["verified"] = True
    task = Task(list("abc"), is_multi_label=True, aux_labels=[])
    return Predictions("several", task, clips, targets, probabilities).with_answers()


def areas(first: Predictions, second: Predictions) -> Gain:
    return gain(first, second, metric="roc_auc", seed=0, n_resamples=200)


def test_areas_are_compared_by_ranks_so_that_a_taggers_scale_is_no_matter():
    good, poor = several(1, 2.0), several(2, 0.5)
    found = areas(poor, good)
    assert found.second == pytest.approx(roc_auc_score(good.targets, good.probabilities))
    assert found.difference.low > 0
    assert found.p_value < 0.02
    close = areas(good, several(3, 2.4))
    assert 0.02 < close.p_value < 1
    assert areas(good, several(3, 2.4, scale=0.01)) == close  # a hundredth as large
    assert areas(good, several(3, 2.0)).p_value > 0.05


def test_taggers_of_other_clips_are_refused():
    with pytest.raises(ValueError, match="the same clips, in one order"):
        gain(tagger([1, 0, 1, 1]), tagger([1, 0]), **ACCURACY, n_resamples=10)


def test_changed_answers_are_told_apart():
    first = tagger([1, 1, 1, 0, 0, 0, 0, 0])
    second = tagger([1, 1, 0, 0, 1, 1, 1, 1])
    found = Changes.between(first, second)
    assert (found.n_changed, found.n_fixed, found.n_broken) == (5, 4, 1)
    assert found.p_value == pytest.approx(binomtest(1, 5).pvalue)


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (3, 3), (10, 2), (0, 7), (1, 30)])
def test_mcnemar_is_the_exact_binomial_test(fixed, broken):
    n = fixed + broken
    expected = binomtest(fixed, n).pvalue if n else 1.0
    assert mcnemar(fixed, broken) == pytest.approx(expected)


def test_tags_come_by_how_much_they_changed():
    first, second = tagger([1, 1, 1, 1, 0, 0]), tagger([1, 1, 1, 1, 1, 1])
    table = tag_changes(first, second)
    assert table["tag"].tolist() == ["b", "a"]  # F1 of b from 1/2 to 1, of a from 3/4 to 1
    assert table["change"].tolist() == pytest.approx([1 / 2, 1 / 4])
    good, poor = several(1, 2.0), several(2, 0.5)
    changes = tag_changes(poor, good)["change"]
    assert (changes.abs().diff().dropna() <= 0).all()
