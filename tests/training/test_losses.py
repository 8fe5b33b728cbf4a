"""Losses of every kind of task, mixup, and masks."""

import numpy as np
import pytest
import torch

from earmark.features import build
from earmark.params import Recipe
from earmark.params.reading import read_yaml
from earmark.seeding import rng_for
from earmark.taggers.input import FusionInput, Input, Pair
from earmark.training.losses import (
    batch_loss,
    binary_cross_entropy,
    clip_losses,
    smoothed,
    soft_cross_entropy,
)
from earmark.training.mixup import Mix, draw_mix, masked, mix_powers, mixed_input
from tests.source_graph import ROOT

SHARED = read_yaml(ROOT / "profiles" / "base.yaml")["model"]


def recipe_with(**changes):
    return Recipe.model_validate({**SHARED, **changes})


def test_the_binary_loss_is_the_mean_over_the_tags_of_pytorch():
    logits, targets = torch.randn(4, 3), torch.randint(0, 2, (4, 3)).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(binary_cross_entropy(logits, targets).mean(), expected)


def test_a_second_task_adds_its_weighted_loss():
    logits, targets = torch.randn(4, 5), torch.eye(5)[[0, 1, 1, 0]]
    targets[:, 2:] = torch.eye(3)[[2, 0, 1, 1]]
    both = clip_losses(logits, targets, n_tags=2, activation="softmax", aux_weight=0.5)
    expected = soft_cross_entropy(logits[:, :2], targets[:, :2])
    expected += 0.5 * soft_cross_entropy(logits[:, 2:], targets[:, 2:])
    torch.testing.assert_close(both, expected)


def test_smoothing_keeps_the_sum_of_a_soft_max_and_pulls_a_sigmoid_to_a_half():
    targets = torch.eye(4)
    soft = smoothed(targets, n_tags=4, activation="softmax", amount=0.2)
    torch.testing.assert_close(soft[0], torch.tensor([0.85, 0.05, 0.05, 0.05]))
    yes_no = smoothed(targets, n_tags=4, activation="sigmoid", amount=0.2)
    torch.testing.assert_close(yes_no[0], torch.tensor([0.9, 0.1, 0.1, 0.1]))
    two = smoothed(torch.eye(4), n_tags=2, activation="softmax", amount=0.2)
    torch.testing.assert_close(two[0], torch.tensor([0.9, 0.1, 0.1, 0.1]))
    assert smoothed(targets, n_tags=4, activation="softmax", amount=0.0) is targets


def test_unverified_clips_weigh_less_and_the_worst_of_them_are_dropped():
    losses = torch.tensor([1.0, 2.0, 8.0, 4.0])
    doubt = torch.tensor([0.0, 1.0, 1.0, 0.0])
    half = batch_loss(losses, doubt, noisy_label_weight=0.5, drop_share=0.0)
    assert half.item() == pytest.approx((1 + 1 + 4 + 4) / 4)
    dropped = batch_loss(losses, doubt, noisy_label_weight=1.0, drop_share=0.5)
    assert dropped.item() == pytest.approx((1 + 2 + 4) / 3), "the 8, though a verified 4 is kept"
    assert batch_loss(losses, doubt * 0, noisy_label_weight=0.0, drop_share=0.9) == losses.mean()


def test_a_mix_blends_inputs_targets_and_doubt_with_one_share_and_one_partner():
    mix = draw_mix(6, recipe_with(mixup_alpha=0.4), rng_for(3, "mixup"))
    mixed = mix(torch.eye(6))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(6))
    shares = {round(float(value), 5) for row in mixed for value in row if 0 < value < 1}
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1.0, abs=1e-4)


def test_no_mix_is_drawn_at_alpha_zero_and_at_a_share_only_sometimes():
    assert draw_mix(4, recipe_with(mixup_alpha=0.0), rng_for(0)) is None
    recipe = recipe_with(mixup_share=0.25)
    drawn = [draw_mix(4, recipe, rng_for(0, i)) is not None for i in range(400)]
    assert 0.17 < np.mean(drawn) < 0.33


@pytest.mark.parametrize("kind", ["logmel", "patches"])
def test_powers_mix_like_the_waveforms_of_two_sounds_that_do_not_overlap(kind):
    options = {"n_fft": 2048, "hop_length": 512, "n_mels": 40, "f_min_hz": 0.0, "f_max_hz": 22050.0}
    extract = build(kind, options if kind == "logmel" else {}, sample_rate=44_100)
    time = np.arange(44_100) / 44_100
    low, high = (0.5 * np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (400, 3000))
    features = [torch.from_numpy(np.array(extract(x))).float() for x in (low, high)]
    blend = torch.from_numpy(np.array(extract(0.7 * low + 0.3 * high))).float()
    mix = Mix(0.7, np.array([1, 0]))
    mixed = mix_powers(torch.stack(features), mix, kind)[0]
    inner = slice(3, -3) if kind == "logmel" else slice(None)
    loud = blend[inner] > blend.max() - (30 if kind == "logmel" else 3)
    torch.testing.assert_close(mixed[inner][loud], blend[inner][loud], atol=0.1, rtol=0)
    linear = mix(torch.stack(features))[0]
    assert (linear[inner][loud] - blend[inner][loud]).abs().max() > 1


def test_a_waveform_mix_of_stored_log_mel_reaches_the_network_standardised():
    input_ = Input(
        kind="logmel", options={}, sample_rate=44_100, lengths=[4], aggregation="mean", padding="right",
        silence=[-100.0], mean=[-40.0], std=[20.0],
    )  # fmt: skip
    batch = np.random.default_rng(0).uniform(-80, 0, (2, 4, 3)).astype(np.float32)
    mix = Mix(1.0, np.array([1, 0]))
    found = mixed_input(batch, input_, recipe_with(mixup_at="waveform"), mix, "cpu")
    torch.testing.assert_close(found, input_.tensor(batch, "cpu"))


def test_a_pair_is_mixed_by_one_draw_its_frames_as_powers_where_waveforms_are_meant():
    frames = Input(
        kind="logmel", options={}, sample_rate=44_100, lengths=[4], aggregation="mean", padding="right",
        silence=[-100.0], mean=[0.0], std=[1.0],
    )  # fmt: skip
    audio = Input(**{**frames.__dict__, "kind": "wave44k", "lengths": [8]})
    joint = FusionInput(**{**frames.__dict__, "kind": "fusion"}, audio=audio, hop_length=2)
    rng = np.random.default_rng(0)
    spec = rng.uniform(-80, 0, (2, 4, 3)).astype(np.float32)
    batch = Pair(rng.normal(size=(2, 8)).astype(np.float32), spec)
    mix = Mix(0.7, np.array([1, 0]))
    plain = mixed_input(batch, joint, recipe_with(), mix, "cpu")
    as_waveforms = mixed_input(batch, joint, recipe_with(mixup_at="waveform"), mix, "cpu")
    for found in (plain, as_waveforms):
        torch.testing.assert_close(found[0], mix(torch.from_numpy(batch.audio)))
    torch.testing.assert_close(plain[1], mix(torch.from_numpy(spec)))
    powers = mix_powers(torch.from_numpy(spec), mix, "logmel")
    torch.testing.assert_close(as_waveforms[1], powers)


def test_masks_hide_whole_frames_and_bands_up_to_their_width():
    x = torch.ones(64, 50, 30)
    hidden = masked(x, recipe_with(mask_frames=10, mask_bands=5), rng_for(0, "mask")) == 0
    frames, bands = hidden.all(dim=2), hidden.all(dim=1)
    assert (hidden == (frames.unsqueeze(2) | bands.unsqueeze(1))).all()
    assert 10 < frames.sum(dim=1).max() <= 20
    assert 5 < bands.sum(dim=1).max() <= 10
    assert (masked(x, recipe_with(), rng_for(0)) == 1).all()
