"""The re-crop rule, and ensembles with given and with learned weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.ensemble.combining import (
    choose_crops,
    confident_crop,
    cross_fitted_ensemble,
    learn_weights,
    mean_over_folds,
    tag_clips,
    weighted_geometric_mean,
    weighted_mean_of_logits,
)

SEEDS = st.integers(0, 10_000)


def rows(rng: np.random.Generator, n_rows: int, n_tags: int = 4, sharpness: float = 2.0):
    p = np.exp(sharpness * rng.normal(size=(n_rows, n_tags)))
    return p / p.sum(axis=1, keepdims=True)


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
    return cross_fitted_ensemble(members, targets, folds, is_multi_label=False)


def test_the_first_confident_crop_speaks():
    crops = np.array([[0.6, 0.4], [0.25, 0.75], [0.05, 0.95]])
    choice = confident_crop(crops, confidence=0.7)
    assert choice.probabilities.tolist() == [0.25, 0.75]
    assert (choice.n_tries, choice.confident) == (2, True)


def test_without_a_confident_crop_the_most_confident_speaks():
    crops = np.array([[0.55, 0.45], [0.35, 0.65], [0.35, 0.65], [0.6, 0.4]])
    choice = confident_crop(crops, confidence=0.7)
    assert choice.probabilities.tolist() == [0.35, 0.65]
    assert (choice.n_tries, choice.confident) == (4, False)


def test_a_crop_at_the_threshold_is_confident():
    assert confident_crop(np.array([[0.7, 0.3], [1.0, 0.0]]), confidence=0.7).n_tries == 1


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 6), min_size=1, max_size=8), st.floats(0, 1))
def test_ragged_clips_follow_the_rule_one_by_one(seed, counts, confidence):
    crops = rows(np.random.default_rng(seed), sum(counts))
    starts = np.cumsum([0, *counts[:-1]])
    clips = np.split(crops, starts[1:])
    expected = [confident_crop(clip, confidence=confidence).probabilities for clip in clips]
    found = tag_clips(crops, starts, aggregation="confident_crop", confidence=confidence)
    assert np.array_equal(found, expected)
    chosen = choose_crops(crops, starts, confidence=confidence)
    assert np.array_equal(crops[chosen], expected)
    means = tag_clips(crops, starts, aggregation="mean", confidence=confidence)
    assert np.allclose(means, [clip.mean(axis=0) for clip in clips])


def test_clips_are_joined_in_double_precision():
    crops = rows(np.random.default_rng(0), 6).astype(np.float32)
    for aggregation in ("confident_crop", "mean"):
        assert (
            tag_clips(crops, np.array([0, 4]), aggregation=aggregation, confidence=0.7).dtype
            == np.float64
        )


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ([1, 2], "must begin with 0"),
        ([], "must begin with 0"),
        ([0, 2, 2], "clip 1 has no crop"),
        ([0, 5], "clip 1 has no crop: clip_starts must rise below 5"),
    ],
)
@pytest.mark.parametrize("aggregation", ["confident_crop", "mean"])
def test_clips_without_crops_are_refused(starts, message, aggregation):
    with pytest.raises(ValueError, match=message):
        tag_clips(
            np.ones((5, 2)), np.array(starts, dtype=int), aggregation=aggregation, confidence=0.7
        )


def test_an_unknown_rule_lists_the_valid_ones():
    with pytest.raises(ValueError, match="recrop or mean, got 'max'"):
        tag_clips(np.ones((5, 2)), np.array([0]), aggregation="max", confidence=0.7)


def test_folds_are_averaged_whatever_their_order():
    rng = np.random.default_rng(0)
    folds = {str(fold): rows(rng, 3) for fold in range(10)}
    backwards = dict(reversed(folds.items()))
    assert np.allclose(mean_over_folds(folds), sum(folds.values()) / 10)
    assert np.array_equal(mean_over_folds(folds), mean_over_folds(backwards))
    with pytest.raises(ValueError, match="fold 3: "):
        mean_over_folds(folds | {"3": np.ones((2, 2))})


def test_two_members_give_the_geometric_mean():
    joint = weighted_geometric_mean(
        {"a": np.array([[0.9, 0.1]]), "b": np.array([[0.4, 0.6]])}, {"a": 1, "b": 1}
    )
    expected = np.sqrt([0.36, 0.06])
    assert np.allclose(joint, expected / expected.sum())


def test_the_published_weights_give_the_published_formula():
    rng = np.random.default_rng(1)
    members = {name: rows(rng, 20) for name in ("soundnet", "resnet", "mfcc", "logmel")}
    weights = {"soundnet": 0.2, "resnet": 0.2, "mfcc": 0.2, "logmel": 0.4}
    expected = np.exp(sum(weights[name] * np.log(members[name]) for name in members))
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.allclose(weighted_geometric_mean(members, weights), expected)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_a_geometric_mean_keeps_its_invariances(seed, n_members):
    rng = np.random.default_rng(seed)
    members = {f"m{i}": rows(rng, 5) for i in range(n_members)}
    weights = {name: float(rng.uniform(0.1, 1)) for name in members}
    joint = weighted_geometric_mean(members, weights)
    assert np.allclose(joint.sum(axis=1), 1)

    backwards = dict(reversed(members.items())), dict(reversed(weights.items()))
    assert np.array_equal(joint, weighted_geometric_mean(*backwards))  # to the bit

    doubled = {name: 2 * weight for name, weight in weights.items()}
    assert np.allclose(joint, weighted_geometric_mean(members, doubled))

    half = weights["m0"] / 2
    twins = weighted_geometric_mean(
        members | {"twin": members["m0"]}, weights | {"m0": half, "twin": half}
    )
    assert np.allclose(joint, twins)

    alone = weighted_geometric_mean(members, dict.fromkeys(members, 0.0) | {"m0": 1.0})
    assert np.allclose(alone, members["m0"])


def test_a_zero_probability_is_no_veto_and_no_nan():
    sure, torn = np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.5, 0.5]])
    joint = weighted_geometric_mean({"a": sure, "b": torn}, {"a": 1, "b": 1})
    assert np.isfinite(joint).all()
    assert joint[0, 1] > 0
    both = weighted_geometric_mean({"a": sure, "b": 1 - sure}, {"a": 1, "b": 1})
    assert both.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ({}, {}, "no member to join"),
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
def test_what_cannot_be_joined_is_refused_by_name(members, weights, message):
    with pytest.raises(ValueError, match=message):
        weighted_geometric_mean(members, weights)


def test_a_perfect_member_among_random_ones_gets_almost_all_weight():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    members = {f"random{i}": rows(rng, 200) for i in range(3)}
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
    assert learn(members, labels, l2=1e4)["good"] == pytest.approx(0.5, abs=1e-3)


def test_members_of_extreme_confidence_are_learned_from_too():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 50)
    members = {
        "overconfident": rows(rng, 50, sharpness=200).astype(np.float32),
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
    with pytest.raises(ValueError, match="clip 1 has 2 tags; a class is one tag a clip"):
        learn_weights(members, np.array([[1, 0], [1, 1], [0, 1]]), is_multi_label=False)
    with pytest.raises(ValueError, match="targets must be 0 or 1"):
        learn_weights(members, np.full((3, 2), 0.5), is_multi_label=True)


def tagged(rng: np.random.Generator, targets: np.ndarray, skill: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(rng.normal(size=targets.shape) + skill * (targets - 0.5))))


def test_logits_of_one_tag_are_averaged_apart_from_the_other_tags():
    members = {"a": np.array([[0.9, 0.2]]), "b": np.array([[0.4, 0.2]])}
    joint = weighted_mean_of_logits(members, {"a": 3, "b": 1})
    yes, no = 0.9**0.75 * 0.4**0.25, 0.1**0.75 * 0.6**0.25
    assert np.allclose(joint, [[yes / (yes + no), 0.2]])


def test_for_two_tags_that_exclude_each_other_both_means_agree():
    rng = np.random.default_rng(0)
    members = {name: rows(rng, 20, n_tags=2) for name in "ab"}
    weights = {"a": 0.3, "b": 0.7}
    assert np.allclose(
        weighted_mean_of_logits(members, weights), weighted_geometric_mean(members, weights)
    )


def test_certainty_of_one_member_about_a_tag_is_no_veto():
    sure, torn = np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.5, 0.5]])
    joint = weighted_mean_of_logits({"a": sure, "b": torn}, {"a": 1, "b": 1})
    assert 0 < joint[0, 1] < 0.5 < joint[0, 0] < 1


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
    for _ in range(20):
        other = dict(zip(members, rng.dirichlet(np.ones(3)), strict=True))
        assert bce(learned) <= bce(other) + 1e-6


def test_cross_fitting_of_many_tags_never_sees_the_targets_of_its_own_fold():
    rng = np.random.default_rng(0)
    targets, folds = (rng.random((90, 4)) < 0.3).astype(float), np.arange(90) % 3
    members = {f"m{i}": tagged(rng, targets, i) for i in range(3)}
    before = cross_fitted_ensemble(members, targets, folds, is_multi_label=True)
    altered = np.where((folds == 1)[:, np.newaxis], 1 - targets, targets)
    after = cross_fitted_ensemble(members, altered, folds, is_multi_label=True)
    assert np.array_equal(before[folds == 1], after[folds == 1])
    assert not np.allclose(before[folds == 0], after[folds == 0])
