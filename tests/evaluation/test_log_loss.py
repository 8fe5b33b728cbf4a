"""Log losses of clips, and the difference of two taggers, in closed form."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from sklearn.metrics import log_loss

from earmark.evaluation.log_loss import log_loss_difference, losses_of
from earmark.evaluation.predictions import Predictions
from earmark.labels import Task


def tagger(probabilities, labels, *, sources=None, several=False) -> Predictions:
    columns = {"split": "validation", "source": sources if sources is not None else ""}
    clips = pd.DataFrame({"label": labels}).assign(**columns)
    task = Task(["a", "b", "c"], is_multi_label=several, aux_labels=[])
    return Predictions.of("one", task, clips, np.asarray(probabilities))


def test_the_losses_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 40)
    labels = np.array(["a", "b", "c"])[rng.integers(0, 3, 40)]
    one = tagger(p, labels)
    assert losses_of(one).mean() == pytest.approx(log_loss(labels, p))
    p = rng.random((2, 3))
    several = tagger(p, ["a;c", "b"], several=True)
    by_tag = [log_loss([[1, 0, 1], [0, 1, 0]][n], p[n], labels=[0, 1]) for n in (0, 1)]
    assert losses_of(several) == pytest.approx(by_tag)


@pytest.mark.parametrize("several", [False, True])
def test_a_probability_of_0_or_1_has_a_finite_loss(several):
    sure = tagger([[0, 1, 0]], ["a"], several=several)
    assert np.isfinite(losses_of(sure)).all()
    assert losses_of(tagger([[1.0, 0, 0]], ["a"], several=several)) == pytest.approx(0, abs=1e-6)


def test_a_lower_loss_is_a_difference_below_zero_with_students_interval():
    rng = np.random.default_rng(1)
    first, labels = rng.uniform(0.2, 0.5, 200), ["a", "b"] * 100
    second = first * np.exp(rng.normal(0.1, 0.3, 200))  # the loss is lower by what is in brackets

    def of(true: np.ndarray) -> Predictions:
        p = np.repeat(((1 - true) / 2)[:, np.newaxis], 3, axis=1)
        p[np.arange(200), np.arange(200) % 2] = true
        return tagger(p, labels)

    found, pairs = log_loss_difference(of(first), of(second)), np.log(first / second)
    assert found.value == pytest.approx(pairs.mean())
    assert found.value < 0
    half = student.ppf(0.975, 199) * pairs.std(ddof=1) / np.sqrt(200)
    assert found.high - found.value == pytest.approx(half, rel=0.02)
    assert found.value - found.low == pytest.approx(half, rel=0.02)
    assert found.over == "clips"


def test_clips_of_one_recording_count_as_one():
    rng = np.random.default_rng(2)
    first, second = (np.eye(3)[0] * 0.5 + rng.dirichlet(np.ones(3), 30) * 0.5 for _ in range(2))
    alone = log_loss_difference(tagger(first, ["a"] * 30), tagger(second, ["a"] * 30))
    sources, labels = [str(n) for n in range(30)] * 4, ["a"] * 120
    repeated = log_loss_difference(
        tagger(np.tile(first, (4, 1)), labels, sources=sources),
        tagger(np.tile(second, (4, 1)), labels, sources=sources),
    )
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high))
    assert repeated.over == "recordings"


def test_without_a_difference_or_recordings_there_is_no_interval():
    p = np.full((20, 3), 1 / 3)
    same = log_loss_difference(tagger(p, ["a"] * 20), tagger(p, ["a"] * 20))
    assert (same.value, same.low, same.why_no_interval) == (0, None, "the two predict the same")
    few = log_loss_difference(tagger(p[:4], ["a"] * 4), tagger(p[:4] * 0.9, ["a"] * 4))
    assert few.why_no_interval == "too few clips (4.0, below 10)"


def test_taggers_of_other_clips_are_refused():
    p = np.full((20, 3), 1 / 3)
    with pytest.raises(ValueError, match="the same clips"):
        log_loss_difference(tagger(p, ["a"] * 20), tagger(p, ["b"] * 20))
