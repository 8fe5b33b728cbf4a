"""Temperature, calibration error and coverage: closed forms, and taggers of known calibration."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax

from earmark.evaluation.calibration import (
    Confidences,
    Selection,
    area_under_risk,
    bins_of,
    calibration_error,
    calibration_report,
    coverage_curve,
    cross_fitted,
    error_if_calibrated,
    fit_temperature,
    reliability,
    temper,
    top_answers,
)


def drawn(
    temperature: float, *, is_multi_label: bool, seed: int = 0, n_clips: int = 3000
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a tagger that is too sure by `temperature`, and what is true."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n_clips, 4))
    if is_multi_label:
        targets = (rng.random(logits.shape) < expit(logits)).astype(np.float32)
        return expit(logits * temperature), targets
    honest = np.exp(log_softmax(logits, axis=1))
    labels = (rng.random((n_clips, 1)) > honest.cumsum(axis=1)).sum(axis=1)
    return np.exp(log_softmax(logits * temperature, axis=1)), np.eye(4, dtype=np.float32)[labels]


@pytest.mark.parametrize("is_multi_label", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature, is_multi_label):
    probabilities, targets = drawn(temperature, is_multi_label=is_multi_label)
    found = fit_temperature(probabilities, targets, is_multi_label=is_multi_label)
    assert found == pytest.approx(temperature, rel=0.08)


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_no_other_temperature_makes_the_targets_likelier(is_multi_label):
    probabilities, targets = drawn(2.0, is_multi_label=is_multi_label, n_clips=200)

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


def test_each_part_is_tempered_by_the_others():
    probabilities, targets = drawn(2.0, is_multi_label=False, n_clips=300)
    parts = np.arange(300) % 3
    found = cross_fitted(probabilities, targets, parts, is_multi_label=False)
    own = parts == 1
    temperature = fit_temperature(probabilities[~own], targets[~own], is_multi_label=False)
    expected = temper(probabilities[own], temperature, is_multi_label=False)
    assert np.array_equal(found[own], expected)
    alone = cross_fitted(probabilities, targets, np.zeros(300, int), is_multi_label=False)
    assert np.array_equal(alone, probabilities)


def confidences(values, is_right) -> Confidences:
    values = np.asarray(values, dtype=float)
    return Confidences(values, np.asarray(is_right, dtype=bool), np.arange(len(values)))


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    # bins of width 1/15: 0.95 (four clips, three right) and 0.55 (two clips, none right)
    found = confidences([0.95] * 4 + [0.55] * 2, [1, 1, 1, 0, 0, 0])
    error = calibration_error(found, equal_mass=False, seed=0, n_resamples=50)
    assert error.value == pytest.approx((4 * 0.2 + 2 * 0.55) / 6)
    table = reliability(found, equal_mass=False)
    assert table["n"].tolist() == [2, 4]
    assert table["confidence"].tolist() == pytest.approx([0.55, 0.95])
    assert table["share_right"].tolist() == [0, 0.75]


def test_bins_of_equal_mass_hold_equally_many_and_keep_ties_together():
    values = np.random.default_rng(0).random(3000)
    assert np.bincount(bins_of(values, equal_mass=True)).tolist() == pytest.approx(
        [200] * 15, abs=1
    )
    tied = np.repeat([0.2, 0.9], [10, 90])
    bins = bins_of(tied, equal_mass=True)
    assert len(set(bins[:10])) == len(set(bins[10:])) == 1
    assert bins[0] != bins[-1]
    assert bins_of(np.array([0.0, 1.0]), equal_mass=False).tolist() == [0, 14]


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_what_is_calibrated_shows_no_more_error_than_chance(is_multi_label):
    errors, expected = [], []
    for seed in range(30):
        honest = drawn(1.0, is_multi_label=is_multi_label, seed=seed, n_clips=300)
        found = Confidences.of(*honest, is_multi_label=is_multi_label)
        how = {"equal_mass": not is_multi_label}
        errors.append(calibration_error(found, **how, seed=0, n_resamples=10).value)
        expected.append(error_if_calibrated(found, **how))
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=0.12)
    too_sure = Confidences.of(
        *drawn(4.0, is_multi_label=is_multi_label, n_clips=300), is_multi_label=is_multi_label
    )
    error = calibration_error(too_sure, **how, seed=0, n_resamples=10).value
    assert error > 2 * error_if_calibrated(too_sure, **how)


def test_the_interval_of_the_error_holds_its_value_in_a_large_set():
    """40,000 clips tell the error of this tagger to a few thousandths; 400 should cover that."""
    large = Confidences.of(*drawn(1.5, is_multi_label=False, n_clips=40_000), is_multi_label=False)
    truth = calibration_error(large, equal_mass=True, seed=0, n_resamples=10).value
    n_covered = 0
    for seed in range(60):
        some = drawn(1.5, is_multi_label=False, seed=1 + seed, n_clips=400)
        found = Confidences.of(*some, is_multi_label=False)
        error = calibration_error(found, equal_mass=True, seed=seed, n_resamples=200)
        n_covered += error.low <= truth <= error.high
    assert n_covered / 60 > 0.75  # the percentiles of the bootstrap cover it half as often


def test_the_coverage_curve_answers_the_surest_first():
    curve = coverage_curve(np.array([0.5, 0.9, 0.7, 0.7]), np.array([False, True, True, False]))
    assert curve["confidence"].tolist() == [0.9, 0.7, 0.5]
    assert curve["coverage"].tolist() == [0.25, 0.75, 1.0]
    assert curve["accuracy"].tolist() == [1, 2 / 3, 1 / 2]


def test_the_area_under_the_risk_is_the_mean_over_ever_more_answers():
    is_right = np.array([True, True, False, False])
    falling = np.array([0.9, 0.8, 0.7, 0.6])
    assert area_under_risk(falling, is_right) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert area_under_risk(1 - falling, is_right) == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert area_under_risk(np.full(4, 0.5), is_right) == pytest.approx(0.5)  # in no order
    assert area_under_risk(falling, np.ones(4, bool)) == 0


def test_what_is_below_the_threshold_is_left_open():
    sure, is_right = np.array([0.9, 0.7, 0.5, 0.3]), np.array([True, False, True, False])
    assert Selection.at(0.0, sure, is_right) == Selection(1.0, 0.5)
    assert Selection.at(0.5, sure, is_right) == Selection(0.75, 2 / 3)
    assert Selection.at(0.95, sure, is_right) == Selection(0.0, None)


def test_any_of_several_tags_is_a_right_answer():
    probabilities = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1]])
    targets = np.array([[1, 1, 0], [1, 0, 1]])
    values, is_right = top_answers(probabilities, targets)
    assert values.tolist() == [0.9, 0.3]
    assert is_right.tolist() == [True, False]
    every = Confidences.of(probabilities, targets, is_multi_label=True)
    assert every.values.tolist() == [0.9, 0.8, 0.1, 0.2, 0.3, 0.1]
    assert every.is_right.tolist() == [True, True, False, True, False, True]
    assert every.clip_of.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_the_report_judges_held_out_and_test_clips_apart(is_multi_label):
    probabilities, targets = drawn(3.0, is_multi_label=is_multi_label, n_clips=600)
    role = np.where(np.arange(600) < 400, "validation", "test")
    rows = pd.DataFrame({"role": role, "label": "x", "source": "", "part": ""})
    rows.loc[:399, "part"] = (np.arange(400) % 4).astype(str)
    rows.loc[599, "label"] = ""
    values, bins, curve = calibration_report(
        rows,
        targets,
        probabilities,
        3.0,
        is_multi_label=is_multi_label,
        rejection_threshold=0.6,
        seed=0,
        n_resamples=50,
    )
    for part in ("out_of_fold", "test"):
        assert values[part]["ece_after"]["value"] < values[part]["ece_before"]["value"] / 2
    tempered = temper(probabilities[400:599], 3.0, is_multi_label=is_multi_label)
    sure, is_right = top_answers(tempered, targets[400:599])
    assert values["test"]["coverage"] == (sure >= 0.6).mean()
    assert values["test"]["accuracy"] == is_right[sure >= 0.6].mean()
    assert set(bins["clips"]) == set(curve["clips"]) == {"out_of_fold", "test"}
    assert set(bins["probabilities"]) == {"before", "after"}
    before = bins[(bins["clips"] == "test") & (bins["probabilities"] == "before")]
    assert before["n"].sum() == 199 * (4 if is_multi_label else 1)
