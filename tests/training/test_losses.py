"""Losses of one tag per clip, of several, of an auxiliary task, and of unverified clips."""

from functools import partial

import pytest
import torch

from earmark.training.losses import (
    batch_loss,
    binary_cross_entropy,
    clip_losses,
    smoothed,
    soft_cross_entropy,
)
from tests.training.conftest import recipe_with


def test_soft_cross_entropy_of_a_mixture_is_the_mixture_of_cross_entropies() -> None:
    logits = torch.randn(5, 3)
    first, second = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 1, 0, 2, 0])
    eye = torch.eye(3)
    mixed = soft_cross_entropy(logits, 0.3 * eye[first] + 0.7 * eye[second])
    reference = partial(torch.nn.functional.cross_entropy, reduction="none")
    expected = 0.3 * reference(logits, first) + 0.7 * reference(logits, second)
    torch.testing.assert_close(mixed, expected)


def test_the_binary_loss_is_the_mean_over_the_tags_of_pytorch() -> None:
    logits, targets = torch.randn(4, 3), torch.randint(0, 2, (4, 3)).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(binary_cross_entropy(logits, targets).mean(), expected)


def test_an_auxiliary_task_adds_its_weighted_loss() -> None:
    logits, targets = torch.randn(4, 5), torch.eye(5)[[0, 1, 1, 0]]
    targets[:, 2:] = torch.eye(3)[[2, 0, 1, 1]]
    both = clip_losses(logits, targets, n_tags=2, activation="softmax", aux_weight=0.5)
    expected = soft_cross_entropy(logits[:, :2], targets[:, :2])
    expected += 0.5 * soft_cross_entropy(logits[:, 2:], targets[:, 2:])
    torch.testing.assert_close(both, expected)


def test_losses_of_half_precision_logits_are_float32() -> None:
    logits = torch.randn(4, 3).bfloat16()
    for activation in ("softmax", "sigmoid"):
        losses = clip_losses(
            logits, torch.eye(3)[[0, 1, 2, 0]], n_tags=3, activation=activation, aux_weight=1.0
        )
        assert losses.dtype == torch.float32


def test_smoothing_keeps_the_sum_of_a_soft_max_and_pulls_a_sigmoid_to_a_half() -> None:
    targets = torch.eye(4)
    soft = smoothed(targets, n_tags=4, activation="softmax", amount=0.2)
    torch.testing.assert_close(soft[0], torch.tensor([0.85, 0.05, 0.05, 0.05]))
    yes_no = smoothed(targets, n_tags=4, activation="sigmoid", amount=0.2)
    torch.testing.assert_close(yes_no[0], torch.tensor([0.9, 0.1, 0.1, 0.1]))
    with_aux = smoothed(torch.eye(4), n_tags=2, activation="softmax", amount=0.2)
    torch.testing.assert_close(with_aux[0], torch.tensor([0.9, 0.1, 0.1, 0.1]))
    assert smoothed(targets, n_tags=4, activation="softmax", amount=0.0) is targets


LOSSES = torch.tensor([1.0, 2.0, 8.0, 4.0])
UNVERIFIED = torch.tensor([0.0, 1.0, 1.0, 0.0])


def test_unverified_clips_weigh_less() -> None:
    loss = batch_loss(LOSSES, UNVERIFIED, recipe_with(noisy_label_weight=0.5))
    assert loss.item() == pytest.approx((1 + 1 + 4 + 4) / 4)


def test_clips_that_a_round_doubts_weigh_less_beside() -> None:
    recipe, weights = recipe_with(noisy_label_weight=0.5), torch.tensor([1.0, 0.5, 1.0, 1.0])
    loss = batch_loss(LOSSES, UNVERIFIED, recipe, clip_weights=weights)
    assert loss.item() == pytest.approx((1 + 0.5 + 4 + 4) / 4)
    dropped = batch_loss(
        LOSSES, UNVERIFIED, recipe_with(noisy_label_drop=0.5), clip_weights=weights
    )
    assert dropped.item() == pytest.approx((1 + 1 + 4) / 3), "ranked by loss, not by weight"


def test_of_unverified_clips_those_of_highest_loss_are_dropped() -> None:
    loss = batch_loss(LOSSES, UNVERIFIED, recipe_with(noisy_label_drop=0.5))
    assert loss.item() == pytest.approx((1 + 2 + 4) / 3), "the 8, though a verified 4 is kept"


def test_verified_clips_have_their_plain_mean_whatever_the_recipe_says_of_others() -> None:
    recipe = recipe_with(noisy_label_weight=0.0, noisy_label_drop=0.9)
    assert batch_loss(LOSSES, torch.zeros(4), recipe) == LOSSES.mean()
