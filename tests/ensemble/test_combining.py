"""Folds into members and members into ensembles, with given weights."""

import builtins
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.ensemble.combining import (
    combine,
    mean_over_folds,
    weighted_geometric_mean,
    weighted_mean_of_logits,
)
from tests.ensemble.probabilities import random_probabilities

SEEDS = st.integers(0, 10_000)


def test_folds_are_averaged_whatever_their_order():
    rng = np.random.default_rng(0)
    folds = {str(fold): random_probabilities(rng, 3) for fold in range(10)}
    backwards = dict(reversed(folds.items()))
    assert np.allclose(mean_over_folds(folds), sum(folds.values()) / 10)
    assert np.array_equal(mean_over_folds(folds), mean_over_folds(backwards))
    with pytest.raises(ValueError, match="fold 3: "):
        mean_over_folds(folds | {"3": np.ones((2, 2))})


def test_two_members_give_the_geometric_mean():
    combined = weighted_geometric_mean(
        {"a": np.array([[0.9, 0.1]]), "b": np.array([[0.4, 0.6]])}, {"a": 1, "b": 1}
    )
    expected = np.sqrt([0.36, 0.06])
    assert np.allclose(combined, expected / expected.sum())


def test_the_published_weights_give_the_published_formula():
    rng = np.random.default_rng(1)
    members = {
        name: random_probabilities(rng, 20) for name in ("soundnet", "resnet", "mfcc", "logmel")
    }
    weights = {"soundnet": 0.2, "resnet": 0.2, "mfcc": 0.2, "logmel": 0.4}
    expected = np.exp(sum(weights[name] * np.log(members[name]) for name in members))
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.allclose(weighted_geometric_mean(members, weights), expected)


def test_no_bit_hangs_on_how_this_python_rounds_a_sum(monkeypatch):
    """Since Python 3.12 `sum` of floats keeps what earlier ones round away, as `fsum` does."""
    rng = np.random.default_rng(2)
    members = {f"m{i}": random_probabilities(rng, 5) for i in range(10)}
    weights = dict.fromkeys(members, 0.1)
    combined = weighted_geometric_mean(members, weights)
    of_floats = builtins.sum

    def compensated(values, start=0):
        values = list(values)
        is_exact = all(isinstance(one, float) for one in values)
        return math.fsum(values) if is_exact else of_floats(values, start)

    monkeypatch.setattr(builtins, "sum", compensated)
    assert sum([0.1] * 10) == 1.0
    assert np.array_equal(combined, weighted_geometric_mean(members, weights))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_a_geometric_mean_keeps_its_invariances(seed, n_members):
    rng = np.random.default_rng(seed)
    members = {f"m{i}": random_probabilities(rng, 5) for i in range(n_members)}
    weights = {name: float(rng.uniform(0.1, 1)) for name in members}
    combined = weighted_geometric_mean(members, weights)
    assert np.allclose(combined.sum(axis=1), 1)

    backwards = dict(reversed(members.items())), dict(reversed(weights.items()))
    assert np.array_equal(combined, weighted_geometric_mean(*backwards))  # to the bit

    doubled = {name: 2 * weight for name, weight in weights.items()}
    assert np.allclose(combined, weighted_geometric_mean(members, doubled))

    half = weights["m0"] / 2
    twins = weighted_geometric_mean(
        members | {"twin": members["m0"]}, weights | {"m0": half, "twin": half}
    )
    assert np.allclose(combined, twins)

    alone = weighted_geometric_mean(members, dict.fromkeys(members, 0.0) | {"m0": 1.0})
    assert np.allclose(alone, members["m0"])


def test_a_zero_probability_is_no_veto_and_no_nan():
    certain, undecided = np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.5, 0.5]])
    combined = weighted_geometric_mean({"a": certain, "b": undecided}, {"a": 1, "b": 1})
    assert np.isfinite(combined).all()
    assert combined[0, 1] > 0
    both = weighted_geometric_mean({"a": certain, "b": 1 - certain}, {"a": 1, "b": 1})
    assert both.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ({}, {}, "no member to combine"),
        ({"a": np.ones(3)}, {"a": 1}, r"member a: expected \(clips, tags\), got \(3,\)"),
        (
            {"a": np.ones((3, 2)), "b": np.ones((3, 4))},
            {"a": 1, "b": 1},
            r"member b: \(3, 4\), but member a is \(3, 2\)",
        ),
        ({"a": np.full((1, 2), np.nan)}, {"a": 1}, "member a: probabilities must be finite"),
        ({"a": np.array([[-0.1, 1.1]])}, {"a": 1}, "member a: probabilities must be finite"),
        ({"a": np.ones((1, 2))}, {"b": 1}, r"weights for \['b'\], but the members are \['a'\]"),
        ({"a": np.ones((1, 2))}, {"a": -1}, "weight of a must be finite and not negative"),
        ({"a": np.ones((1, 2))}, {"a": 0}, "at least one weight must be above 0"),
    ],
)
def test_what_cannot_be_combined_is_refused_by_name(members, weights, message):
    with pytest.raises(ValueError, match=message):
        weighted_geometric_mean(members, weights)


def test_logits_of_one_tag_are_averaged_apart_from_the_other_tags():
    members = {"a": np.array([[0.9, 0.2]]), "b": np.array([[0.4, 0.2]])}
    combined = weighted_mean_of_logits(members, {"a": 3, "b": 1})
    yes, no = 0.9**0.75 * 0.4**0.25, 0.1**0.75 * 0.6**0.25
    assert np.allclose(combined, [[yes / (yes + no), 0.2]])


def test_for_two_tags_that_exclude_each_other_both_means_agree():
    rng = np.random.default_rng(0)
    members = {name: random_probabilities(rng, 20, n_tags=2) for name in "ab"}
    weights = {"a": 0.3, "b": 0.7}
    assert np.allclose(
        weighted_mean_of_logits(members, weights), weighted_geometric_mean(members, weights)
    )


def test_certainty_of_one_member_about_a_tag_is_no_veto():
    certain, undecided = np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.5, 0.5]])
    combined = weighted_mean_of_logits({"a": certain, "b": undecided}, {"a": 1, "b": 1})
    assert 0 < combined[0, 1] < 0.5 < combined[0, 0] < 1


def test_the_task_decides_how_members_are_combined():
    rng = np.random.default_rng(0)
    members, weights = {name: random_probabilities(rng, 5) for name in "ab"}, {"a": 1, "b": 2}
    one = combine(members, weights, is_multi_label=False)
    assert np.array_equal(one, weighted_geometric_mean(members, weights))
    several = combine(members, weights, is_multi_label=True)
    assert np.array_equal(several, weighted_mean_of_logits(members, weights))


def test_geometric_folds_of_equal_members_are_the_geometric_mean_of_all_networks():
    rng = np.random.default_rng(2)
    networks = {f"{m}{fold}": random_probabilities(rng, 4) for m in "ab" for fold in "01"}
    members = {
        m: mean_over_folds({f: networks[m + f] for f in "01"}, fold_mean="geometric") for m in "ab"
    }
    combined = weighted_geometric_mean(members, {"a": 1.0, "b": 1.0})
    expected = weighted_geometric_mean(networks, dict.fromkeys(networks, 1.0))
    assert np.allclose(combined, expected)
    one = {f: networks["a" + f] for f in "01"}
    assert not np.allclose(members["a"], mean_over_folds(one))
