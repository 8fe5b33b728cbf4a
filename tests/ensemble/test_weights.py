"""Weights of members: learned, and cross-fitted over folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.ensemble.combining import weighted_geometric_mean, weighted_mean_of_logits
from earmark.ensemble.weights import combine_cross_fitted, learn_weights
from earmark.evaluation.temperature import fit_temperature, temper
from tests.ensemble.probabilities import random_probabilities

SEEDS = st.integers(0, 10_000)


def skilled(rng: np.random.Generator, labels: np.ndarray, skill: float, n_tags: int = 4):
    logits = rng.normal(size=(len(labels), n_tags))
    logits[np.arange(len(labels)), labels] += skill
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


def loss(p: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(p[np.arange(len(labels)), labels]).mean())


def learn(members, labels, **options):
    """Weights for clips of one tag each."""
    targets = np.eye(next(iter(members.values())).shape[1])[labels]
    return learn_weights(members, targets, is_multi_label=False, **options)


def cross_fitted(members, labels, folds):
    targets = np.eye(next(iter(members.values())).shape[1])[labels]
    return combine_cross_fitted(members, targets, folds, is_multi_label=False)


def tempered_alone(members, targets, **task):
    """Each member at its best temperature, and these temperatures."""
    found = {name: fit_temperature(p, targets, **task) for name, p in members.items()}
    return {name: temper(p, found[name], **task) for name, p in members.items()}, found


def test_a_member_earns_nothing_by_being_sharp():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    members = {"a": skilled(rng, labels, 2), "b": skilled(rng, labels, 2)}
    sharper = members | {"a": temper(members["a"], 0.25, is_multi_label=False)}
    before, after = learn(members, labels), learn(sharper, labels)
    assert after["b"] / after["a"] == pytest.approx(4 * before["b"] / before["a"], rel=1e-3)
    together = [
        weighted_geometric_mean(*pair).argmax(axis=1)
        for pair in ((members, before), (sharper, after))
    ]
    assert np.array_equal(*together)


def test_cross_fitted_weights_learn_from_trusted_clips_alone():
    rng = np.random.default_rng(0)
    labels, folds = rng.integers(0, 4, 400), np.arange(400) % 2
    is_trusted = np.arange(400) % 4 < 2
    echoed = np.where(is_trusted, labels, rng.integers(0, 4, 400))  # what unchecked labels are
    members = {"good": skilled(rng, labels, 3), "echo": skilled(rng, echoed, 6)}
    members["echo"][is_trusted] = skilled(rng, rng.integers(0, 4, 200), 0)  # noise where checked
    targets = np.eye(4)[echoed]
    combined = combine_cross_fitted(
        members, targets, folds, is_multi_label=False, is_trusted=is_trusted
    )
    expected = members["good"].argmax(axis=1)
    assert (combined.argmax(axis=1) == expected).mean() > 0.95
    fooled = combine_cross_fitted(members, targets, folds, is_multi_label=False)
    assert (fooled.argmax(axis=1) == expected).mean() < 0.8


def test_a_perfect_member_among_random_ones_gets_almost_all_weight():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    members = {f"random{i}": random_probabilities(rng, 200) for i in range(3)}
    members["perfect"] = 0.97 * np.eye(4)[labels] + 0.0075
    weights = learn(members, labels)
    assert weights["perfect"] > 0.95
    assert sum(weights.values()) == pytest.approx(1)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_learned_weights_are_no_worse_than_any_others(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 60)
    members = {f"m{i}": skilled(rng, labels, skill) for i, skill in enumerate((0.5, 1.5, 2.5))}
    learned = learn(members, labels, l2=0)
    members, found = tempered_alone(members, np.eye(4)[labels], is_multi_label=False)
    learned = {name: weight * found[name] for name, weight in learned.items()}
    best = loss(weighted_geometric_mean(members, learned), labels)
    for _ in range(20):
        other = dict(zip(members, rng.dirichlet(np.ones(3)), strict=True))
        assert best <= loss(weighted_geometric_mean(members, other), labels) + 1e-6


def test_twins_share_their_weight():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 100)
    twin, other = skilled(rng, labels, 2), skilled(rng, labels, 1)
    weights = learn({"a": twin, "b": twin, "c": other}, labels)
    assert weights["a"] == pytest.approx(weights["b"], abs=1e-4)
    backwards = learn({"c": other, "b": twin, "a": twin}, labels)
    assert backwards == weights


def test_the_pull_towards_equal_weights_wins_when_it_is_strong():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 100)
    members = {"good": skilled(rng, labels, 4), "bad": skilled(rng, labels, 0)}
    assert learn(members, labels)["good"] > 0.9
    _, found = tempered_alone(members, np.eye(4)[labels], is_multi_label=False)
    pulled = learn(members, labels, l2=1e4)
    assert pulled["good"] * found["good"] == pytest.approx(pulled["bad"] * found["bad"], rel=1e-2)


def test_members_of_extreme_confidence_are_learned_from_too():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 50)
    members = {
        "overconfident": random_probabilities(rng, 50, sharpness=200).astype(np.float32),
        "modest": skilled(rng, labels, 2),
    }
    assert learn(members, labels)["modest"] > 0.95


def test_one_member_has_all_the_weight():
    assert learn({"a": np.full((3, 2), 0.5)}, np.array([0, 1, 0])) == {"a": 1.0}


def test_cross_fitting_never_sees_the_labels_of_its_own_fold():
    rng = np.random.default_rng(0)
    labels, folds = rng.integers(0, 4, 90), np.arange(90) % 3
    members = {f"m{i}": skilled(rng, labels, i) for i in range(3)}
    before = cross_fitted(members, labels, folds)
    altered = np.where(folds == 1, (labels + 1) % 4, labels)
    after = cross_fitted(members, altered, folds)
    assert np.array_equal(before[folds == 1], after[folds == 1])
    assert not np.allclose(before[folds == 0], after[folds == 0])


def test_cross_fitting_uses_the_weights_of_the_other_folds():
    rng = np.random.default_rng(0)
    labels, folds = rng.integers(0, 4, 60), np.repeat([3, 7], 30)
    members = {f"m{i}": skilled(rng, labels, 1 + i) for i in range(2)}
    first, second = ({n: p[folds == f] for n, p in members.items()} for f in (3, 7))
    expected = weighted_geometric_mean(first, learn(second, labels[folds == 7]))
    assert np.array_equal(cross_fitted(members, labels, folds)[folds == 3], expected)


def test_what_cannot_be_cross_fitted_is_refused():
    members, labels = {"a": np.full((3, 2), 0.5)}, np.array([0, 1, 0])
    with pytest.raises(ValueError, match="at least two folds"):
        cross_fitted(members, labels, np.zeros(3, int))
    with pytest.raises(ValueError, match="expected a fold for each"):
        cross_fitted(members, labels, np.zeros(2, int))
    with pytest.raises(ValueError, match=r"expected targets \(3, 2\), .* got \(2, 2\)"):
        learn(members, labels[:2])
    with pytest.raises(ValueError, match="clip 1 has 2 tags; this task has one tag per clip"):
        learn_weights(members, np.array([[1, 0], [1, 1], [0, 1]]), is_multi_label=False)
    with pytest.raises(ValueError, match="targets must be 0 or 1"):
        learn_weights(members, np.full((3, 2), 0.5), is_multi_label=True)


def tagged(rng: np.random.Generator, targets: np.ndarray, skill: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(rng.normal(size=targets.shape) + skill * (targets - 0.5))))


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_learned_weights_of_many_tags_have_the_least_binary_cross_entropy(seed):
    rng = np.random.default_rng(seed)
    targets = (rng.random((60, 5)) < 0.3).astype(np.float32)
    members = {f"m{i}": tagged(rng, targets, skill) for i, skill in enumerate((0.5, 1.5, 3))}

    def bce(weights: dict[str, float]) -> float:
        p = weighted_mean_of_logits(members, weights)
        return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean())

    learned = learn_weights(members, targets, is_multi_label=True, l2=0)
    members, found = tempered_alone(members, targets, is_multi_label=True)
    learned = {name: weight * found[name] for name, weight in learned.items()}
    for _ in range(20):
        other = dict(zip(members, rng.dirichlet(np.ones(3)), strict=True))
        assert bce(learned) <= bce(other) + 1e-6


def test_cross_fitting_of_many_tags_never_sees_the_targets_of_its_own_fold():
    rng = np.random.default_rng(0)
    targets, folds = (rng.random((90, 4)) < 0.3).astype(float), np.arange(90) % 3
    members = {f"m{i}": tagged(rng, targets, i) for i in range(3)}
    before = combine_cross_fitted(members, targets, folds, is_multi_label=True)
    altered = np.where((folds == 1)[:, np.newaxis], 1 - targets, targets)
    after = combine_cross_fitted(members, altered, folds, is_multi_label=True)
    assert np.array_equal(before[folds == 1], after[folds == 1])
    assert not np.allclose(before[folds == 0], after[folds == 0])
