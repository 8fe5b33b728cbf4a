"""Differences of two taggers on the same clips, in closed form and over simulated pairs."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, roc_auc_score

from earmark.evaluation.paired import Changes, gain, mcnemar, tag_changes
from earmark.evaluation.scores import Predictions, Task

TWO = Task(["a", "b"], is_multi_label=False, metric="accuracy")


def said(is_right, sources=None) -> Predictions:
    """Clips of tag a, or (the latter half) b, that one tagger answers rightly or wrongly."""
    is_right = np.asarray(is_right, dtype=bool)
    labels = (np.arange(len(is_right)) * 2 >= len(is_right)).astype(int)
    answers = np.where(is_right, labels, 1 - labels)
    rows = pd.DataFrame(
        {"clip": range(len(labels)), "role": "validation", "part": "", "label": "x"}
    ).assign(source=sources or "")
    return Predictions(rows, np.eye(2, dtype=np.float32)[labels], np.eye(2)[answers] * 0.8 + 0.1)


def test_the_difference_and_its_interval_are_those_of_the_pairs():
    rng = np.random.default_rng(0)
    first = rng.random(400) < 0.7
    second = np.where(rng.random(400) < 0.85, first, ~first)
    found = gain(said(first), said(second), TWO, seed=0, n_resamples=4000)
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
    found = gain(said(first), said(second), TWO, seed=0, n_resamples=20_000)
    assert found.p_value == pytest.approx(np.mean(every), abs=0.004)  # 2 / 64


def test_equal_taggers_do_not_differ():
    one = said(np.arange(50) % 3 > 0)
    found = gain(one, one, TWO, seed=0, n_resamples=100)
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert found.p_value == 1


def test_under_no_difference_small_p_values_are_rare():
    rng = np.random.default_rng(0)
    small = 0
    for trial in range(200):
        first, second = rng.random((2, 80)) < 0.6
        small += gain(said(first), said(second), TWO, seed=trial, n_resamples=200).p_value <= 0.1
    assert small / 200 == pytest.approx(0.1, abs=0.055)


def test_clips_of_one_recording_are_swapped_and_resampled_together():
    """A gain on 3 of 4 recordings of 50 clips: sure over clips, not so over recordings."""
    first = np.tile([1, 0], 100).astype(bool)
    second = np.concatenate([np.ones(150, bool), first[150:]])
    sources = [f"r{i // 50}" for i in range(200)]
    alone = gain(said(first), said(second), TWO, seed=0, n_resamples=500)
    joint = gain(said(first, sources), said(second, sources), TWO, seed=0, n_resamples=500)
    assert alone.p_value < 0.01
    assert joint.p_value == pytest.approx(2 / 8, abs=0.06)  # of 2^3 signs two are as large
    assert joint.difference.low_by_source < alone.difference.low
    assert joint.n_groups == 4
    assert alone.difference == type(alone.difference)(
        joint.difference.value, joint.difference.low, joint.difference.high
    )


def test_other_metrics_are_compared_by_the_same_pairs():
    rng = np.random.default_rng(0)
    first, second = said(rng.random(90) < 0.6), said(rng.random(90) < 0.8)
    task = Task(["a", "b"], is_multi_label=False, metric="macro_f1")
    found = gain(first, second, task, seed=0, n_resamples=50)
    for one, value in ((first, found.first), (second, found.second)):
        expected = f1_score(one.labels, one.probabilities.argmax(axis=1), average="macro")
        assert value == pytest.approx(expected)


def several(seed: int, skill: float, scale: float = 1.0) -> tuple[Predictions, Task]:
    rng = np.random.default_rng(0)
    targets = (rng.random((120, 3)) < 0.3).astype(np.float32)
    noise = np.random.default_rng(seed).normal(size=targets.shape)
    probabilities = scale / (1 + np.exp(-(noise + skill * targets)))
    rows = pd.DataFrame({"clip": range(120), "role": "validation", "label": "x", "source": ""})
    task = Task(list("abc"), is_multi_label=True, metric="roc_auc")
    rows["part"] = np.arange(120) % 2
    return Predictions.of(rows, targets, probabilities, task), task


def test_areas_are_compared_by_ranks_so_that_a_taggers_scale_is_no_matter():
    (good, task), (poor, _) = several(1, 2.0), several(2, 0.5)
    found = gain(poor, good, task, seed=0, n_resamples=200)
    assert found.second == pytest.approx(roc_auc_score(good.targets, good.probabilities))
    assert found.difference.low > 0
    assert found.p_value < 0.02
    (better, _) = several(3, 2.4)
    close = gain(good, better, task, seed=0, n_resamples=200)
    assert 0.02 < close.p_value < 1
    timid, _ = several(3, 2.4, scale=0.01)  # the same opinions, a hundredth as large
    assert gain(good, timid, task, seed=0, n_resamples=200) == close
    (twin, _) = several(3, 2.0)
    assert gain(good, twin, task, seed=0, n_resamples=200).p_value > 0.05


def test_taggers_of_other_clips_are_refused():
    with pytest.raises(ValueError, match="the same clips, in one order"):
        gain(said([1, 0, 1, 1]), said([1, 0]), TWO, seed=0, n_resamples=10)


def test_changed_answers_are_told_apart():
    first = said([1, 1, 1, 0, 0, 0, 0, 0])
    second = said([1, 1, 0, 0, 1, 1, 1, 1])
    found = Changes.between(first, second)
    assert (found.n_changed, found.n_mended, found.n_spoilt) == (5, 4, 1)
    assert found.p_value == pytest.approx(binomtest(1, 5).pvalue)


@pytest.mark.parametrize(("fixed", "spoilt"), [(0, 0), (3, 3), (10, 2), (0, 7), (1, 30)])
def test_mcnemar_is_the_exact_binomial_test(fixed, spoilt):
    n = fixed + spoilt
    expected = binomtest(fixed, n).pvalue if n else 1.0
    assert mcnemar(fixed, spoilt) == pytest.approx(expected)


def test_tags_come_by_how_much_they_changed():
    first, second = said([1, 1, 1, 1, 0, 0]), said([1, 1, 1, 1, 1, 1])
    table = tag_changes(first, second, TWO)
    assert table["tag"].tolist() == ["b", "a"]  # F1 of b from 1/2 to 1, of a from 3/4 to 1
    assert table["change"].tolist() == pytest.approx([1 / 2, 1 / 4])
    (good, task), (poor, _) = several(1, 2.0), several(2, 0.5)
    changes = tag_changes(poor, good, task)["change"]
    assert (changes.abs().diff().dropna() <= 0).all()
