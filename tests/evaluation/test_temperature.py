"""Temperatures: closed forms, and taggers of known calibration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.evaluation.temperature import fit_temperature, temper, temper_cross_fitted
from tests.evaluation.overconfident import overconfident


@pytest.mark.parametrize("is_multi_label", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature, is_multi_label):
    probabilities, targets = overconfident(temperature, is_multi_label=is_multi_label)
    fitted = fit_temperature(probabilities, targets, is_multi_label=is_multi_label)
    assert fitted == pytest.approx(temperature, rel=0.08)


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_no_other_temperature_makes_the_targets_likelier(is_multi_label):
    probabilities, targets = overconfident(2.0, is_multi_label=is_multi_label, n_clips=200)

    def loss(temperature: float) -> float:
        p = temper(probabilities, temperature, is_multi_label=is_multi_label)
        if is_multi_label:
            return -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
        return -np.log(p[targets > 0]).mean()

    best = fit_temperature(probabilities, targets, is_multi_label=is_multi_label)
    assert all(loss(best) <= loss(other) + 1e-9 for other in np.geomspace(0.5, 10, 60))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.booleans())
def test_a_temperature_changes_no_ranking(seed, temperature, is_multi_label):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(5), 20)
    tempered = temper(probabilities, temperature, is_multi_label=is_multi_label)
    assert np.array_equal(tempered.argsort(axis=1), probabilities.argsort(axis=1))
    if not is_multi_label:
        assert np.allclose(tempered.sum(axis=1), 1)
    one = temper(probabilities, 1.0, is_multi_label=is_multi_label)
    assert np.allclose(one, probabilities)


def test_temperatures_are_those_of_closed_form():
    p = np.array([[0.8, 0.2]])
    halved = temper(p, 2.0, is_multi_label=False)
    assert np.allclose(halved, [[2 / 3, 1 / 3]])  # sqrt(0.8) to sqrt(0.2) is 2 to 1
    assert np.allclose(temper(p, 2.0, is_multi_label=True), [[2 / 3, 1 / 3]])
    certain = temper(np.array([[1.0, 0.0]], np.float32), 2.0, is_multi_label=True)
    assert np.isfinite(certain).all()


def test_a_tagger_that_is_never_wrong_has_the_coldest_temperature():
    targets = np.eye(4, dtype=np.float32)[[0, 1, 2, 3]]
    probabilities = 0.4 * targets + 0.15
    assert fit_temperature(probabilities, targets, is_multi_label=False) == pytest.approx(
        0.05, rel=1e-3
    )


def test_each_group_is_tempered_by_the_others():
    probabilities, targets = overconfident(2.0, is_multi_label=False, n_clips=300)
    groups = np.arange(300) % 3
    tempered = temper_cross_fitted(probabilities, targets, groups, is_multi_label=False)
    in_group = groups == 1
    others = probabilities[~in_group], targets[~in_group]
    temperature = fit_temperature(*others, is_multi_label=False)
    expected = temper(probabilities[in_group], temperature, is_multi_label=False)
    assert np.array_equal(tempered[in_group], expected)
    alone = temper_cross_fitted(probabilities, targets, np.zeros(300, int), is_multi_label=False)
    assert np.array_equal(alone, probabilities)
