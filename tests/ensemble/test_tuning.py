"""Temperature, thresholds and weights of the ensemble: of right labels, for the mean over folds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_softmax

from earmark.ensemble.members import combine_members
from earmark.ensemble.tuning import tune_ensemble, tuning_notes, unlabelled_clips
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.temperature import fit_temperature, mean_temperature, temper
from earmark.evaluation.thresholds import tune
from earmark.labels import Task
from tests.evaluation.overconfident import overconfident

TASK = Task(list("abcd"), False, [])


def probabilities_of(logits: np.ndarray, *, is_multi_label: bool = False) -> np.ndarray:
    return expit(logits) if is_multi_label else np.exp(log_softmax(logits, axis=-1))


def clips_of(n_validation: int, n_test: int, is_verified: np.ndarray) -> pd.DataFrame:
    n = n_validation + n_test
    split = np.where(np.arange(n) < n_validation, "validation", "test")
    group = np.where(split == "test", "", (np.arange(n) % 3).astype(str))
    columns = {"clip": [f"c{i}" for i in range(n)], "split": split, "label": "x", "source": ""}
    table = pd.DataFrame(columns | {"fold": group, "cross_fit_group": group, "quarantined": False})
    return table.assign(verified=np.append(is_verified, np.ones(n_test, bool)), usage="")


def noisy(targets: np.ndarray, is_verified: np.ndarray, share: float) -> np.ndarray:
    """The targets, a share of the unverified ones shifted to another tag."""
    rng = np.random.default_rng(1)
    is_wrong = (rng.random(len(targets)) < share) & ~is_verified
    return np.where(is_wrong[:, np.newaxis], np.roll(targets, 1, axis=1), targets)


def test_the_temperature_is_that_of_verified_labels():
    probabilities, targets = overconfident(0.6, is_multi_label=False, n_clips=3000)
    is_verified = np.arange(3000) % 4 == 0
    targets = noisy(targets, is_verified, 0.3)
    one = Predictions("m", TASK, clips_of(3000, 0, is_verified), targets, probabilities)
    tuned = tune_ensemble(one, {"m": one}, {"m": 1.0}, {"m": np.empty((3, 0, 4))})
    assert tuned["temperature"] == pytest.approx(0.6, rel=0.15)
    assert fit_temperature(probabilities, targets, is_multi_label=False) > 0.6 * 1.5
    calibration = tuned["calibration"]
    assert (calibration["fitted_on"], calibration["n_clips"]) == ("verified", 750)
    assert calibration["ece"] <= calibration["ece_chance_limit"]
    assert len(tuning_notes(calibration)) == 1  # no test clips tell the sharpness of the mean


def test_too_few_verified_labels_are_not_relied_on():
    probabilities, targets = overconfident(1.0, is_multi_label=False, n_clips=300)
    for n_verified, is_enough in ((60, False), (90, True), (300, True)):
        is_verified = np.arange(300) < n_verified
        one = Predictions("m", TASK, clips_of(300, 0, is_verified), targets, probabilities)
        rows = one.is_trusted
        assert np.array_equal(rows, is_verified if is_enough else np.ones(300, bool))
    few = np.arange(300) < 60  # 40 outside of each group
    one = Predictions("m", TASK, clips_of(300, 0, few), targets, probabilities)
    tuned = tune_ensemble(one, {"m": one}, {"m": 1.0}, {"m": np.empty((1, 0, 4))})
    assert tuned["calibration"]["fitted_on"] == "all"
    assert "Too few labels are verified" in tuning_notes(tuned["calibration"])[0]


def test_weights_are_learned_from_verified_clips():
    """The unverified labels are what one member says; the verified ones, what the other knows."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 600)
    echoed = np.where(np.arange(600) % 2 == 0, labels, rng.integers(0, 4, 600))
    is_verified = np.arange(600) % 2 == 0
    clips = clips_of(600, 0, is_verified).assign(label=np.array(list("abcd"))[echoed])
    good = probabilities_of(rng.normal(size=(600, 4)) + 2 * np.eye(4)[labels])
    noise = rng.integers(0, 4, 600)
    echo = probabilities_of(
        rng.normal(size=(600, 4)) + 5 * np.eye(4)[np.where(is_verified, noise, echoed)]
    )
    members = {n: Predictions.of(n, TASK, clips, p) for n, p in (("good", good), ("echo", echo))}
    assert combine_members(members, "learned").weights["good"] > 0.9
    unknown = {n: replace(one, clips=clips.assign(verified=True)) for n, one in members.items()}
    assert combine_members(unknown, "learned").weights["good"] < 0.9


def networks(seed: int, n_clips: int, sharpness: float, *, is_multi_label: bool):
    """Five networks that err apart from each other, `(5, B, 4)`, and the targets."""
    rng = np.random.default_rng(seed)
    true_logits = 2 * rng.normal(size=(n_clips, 4))
    true = probabilities_of(true_logits, is_multi_label=is_multi_label)
    if is_multi_label:
        targets = (rng.random(true.shape) < true).astype(float)
    else:
        targets = np.eye(4)[(rng.random((n_clips, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(0, 3)]
    shared = rng.normal(size=true.shape)
    logits = sharpness * (true_logits + shared + 1.5 * rng.normal(size=(5, *true.shape)))
    return probabilities_of(logits, is_multi_label=is_multi_label), targets


@pytest.mark.parametrize("is_multi_label", [False, True])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 2.0])
def test_the_temperature_of_the_mean_is_found_without_its_labels(sharpness, is_multi_label):
    options = {"is_multi_label": is_multi_label}
    known, targets = networks(0, 3000, sharpness, **options)
    of_one = fit_temperature(known[0], targets, **options)
    unlabelled, _ = networks(1, 500, sharpness, **options)
    found = of_one * mean_temperature(unlabelled, unlabelled.mean(axis=0), of_one, **options)
    new, truth = networks(2, 4000, sharpness, **options)
    best = fit_temperature(new.mean(axis=0), truth, **options)
    assert found == pytest.approx(best, rel=0.15)
    assert of_one > 1.2 * best  # that of one network is too high


def test_one_network_is_as_sharp_as_itself():
    known, _ = networks(0, 300, 1.0, is_multi_label=False)
    factor = mean_temperature(known[:1], known[0], 1.5, is_multi_label=False)
    assert factor == pytest.approx(1, abs=1e-4)


def several_tags() -> tuple[Predictions, dict[str, np.ndarray]]:
    known, targets = networks(0, 900, 1.0, is_multi_label=True)
    clips = clips_of(600, 300, np.ones(600, bool))
    is_test = np.asarray(clips["split"] == "test")[:, np.newaxis]
    probabilities = np.where(is_test, known.mean(axis=0), known[0])
    one = Predictions("m", Task(list("abcd"), True, []), clips, targets, probabilities)
    return one, {"m": known[:, 600:]}


def test_answers_to_test_clips_are_those_of_tempered_probabilities():
    one, every = several_tags()
    tuned = tune_ensemble(one, {"m": one}, {"m": 1.0}, every)
    assert tuned["mean_temperatures"]["m"] < 0.8
    scored = replace(one, mean_temperature=tuned["mean_temperatures"]["m"]).with_answers().test
    tempered = temper(one.test.probabilities, tuned["temperature"], is_multi_label=True)
    above = tempered >= np.array(list(tuned["thresholds"].values())) - 1e-9
    assert np.array_equal(scored.answers.by_tag, above)


def test_thresholds_are_of_trusted_clips_where_a_tag_has_enough():
    one, _ = several_tags()
    p, y = one.validation.probabilities, one.validation.targets
    is_trusted = np.arange(600) % 2 == 0
    wrong = np.where(is_trusted[:, np.newaxis], y, 1 - y)
    wrong[is_trusted, 3] = np.arange(300) < 2  # two clips tell no threshold
    found = tune(p, wrong, is_trusted)
    expected = tune(p[is_trusted], wrong[is_trusted])
    assert found.by_tag[:3].tolist() == expected.by_tag[:3].tolist()
    assert found.by_tag[3] == tune(p, wrong).by_tag[3]


def test_what_is_tuned_does_not_depend_on_labels_of_test_clips():
    one, every = several_tags()
    altered = one.targets.copy()
    altered[600:] = 1 - altered[600:]
    other = replace(one, targets=altered)
    assert unlabelled_clips(one) == [f"c{i}" for i in range(600, 900)]
    assert tune_ensemble(one, {"m": one}, {"m": 1.0}, every) == tune_ensemble(
        other, {"m": other}, {"m": 1.0}, every
    )
