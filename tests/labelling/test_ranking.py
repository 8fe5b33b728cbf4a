"""What would teach most: the rule, against its definition written out."""

import numpy as np
import pytest

from earmark.labelling.ranking import badge, output_gradients, uncertainty
from earmark.seeding import rng_for


def draw(n, n_tags=4, dims=5, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, n_tags))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, rng.normal(size=(n, dims))


def test_uncertainty_is_the_share_of_the_largest_entropy():
    p = np.array([[0.25] * 4, [0.5, 0.5, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(uncertainty(p, is_multi_label=False), [1, 0.5, 0], atol=1e-12)
    several = np.array([[0.0, 1.0, 0.5], [0.11, 0.0, 1.0]])
    expected = -0.11 * np.log2(0.11) - 0.89 * np.log2(0.89)
    np.testing.assert_allclose(uncertainty(several, is_multi_label=True), [1, expected])


def test_the_gradient_is_that_of_the_loss_by_the_logits():
    p, _ = draw(6)
    gradients = output_gradients(p, is_multi_label=False)
    predicted = p.argmax(axis=1)
    logits, step = np.log(p), 1e-6
    for row in range(6):
        for tag in range(4):
            moved = logits[row].copy()
            moved[tag] += step
            loss = [np.log(np.exp(one).sum()) - one[predicted[row]] for one in (logits[row], moved)]
            assert gradients[row, tag] == pytest.approx((loss[1] - loss[0]) / step, abs=1e-5)
    both = output_gradients(np.array([[0.9, 0.5, 0.2]]), is_multi_label=True)
    np.testing.assert_allclose(both, [[-0.1, -0.5, 0.2]])


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_draws_are_those_of_k_means_plus_plus_on_the_whole_gradients(is_multi_label):
    p, embeddings = draw(30)
    chosen = badge(p, embeddings, 8, rng_for(3, "x"), is_multi_label=is_multi_label)
    outer = output_gradients(p, is_multi_label=is_multi_label)[:, :, None] * embeddings[:, None]
    gradients = outer.reshape(30, -1)
    rng, centres = rng_for(3, "x"), [np.zeros(gradients.shape[1])]
    expected = []
    for number in range(8):
        distances = [min(((g - c) ** 2).sum() for c in centres) for g in gradients]
        weights = np.array([0 if i in expected else d for i, d in enumerate(distances)])
        best = weights.argmax() if not number else rng.choice(30, p=weights / weights.sum())
        expected.append(int(best))
        centres.append(gradients[best])
    assert chosen == expected


def test_what_the_tagger_is_certain_of_is_not_drawn_while_there_is_something_else():
    p = np.array([[1 - 1e-9, 1e-9]] * 90 + [[0.6, 0.4]] * 10)
    embeddings = np.random.default_rng(0).normal(size=(100, 8))
    for seed in range(5):
        assert min(badge(p, embeddings, 10, rng_for(seed, "x"))) >= 90


def test_copies_of_one_recording_are_drawn_last():
    p = np.full((12, 2), 0.5)
    embeddings = np.eye(4)[[0] * 9 + [1, 2, 3]]
    for seed in range(5):
        chosen = badge(p, embeddings, 12, rng_for(seed, "x"))
        assert sorted(chosen) == list(range(12)), "each once, and all where no more are there"
        assert {max(0, i - 8) for i in chosen[:4]} == {0, 1, 2, 3}


def test_nothing_to_choose_from_is_no_error():
    assert badge(np.empty((0, 3)), np.empty((0, 4)), 5, rng_for(0, "x")) == []
    assert sorted(badge(np.eye(3), np.zeros((3, 2)), 5, rng_for(0, "x"))) == [0, 1, 2]
