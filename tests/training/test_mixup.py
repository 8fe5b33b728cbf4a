"""Mixup of inputs, targets and flags by one draw, and masks of frames and bands."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from earmark.features import build, find
from earmark.features.logmel import LogMel
from earmark.seeding import rng_for
from earmark.taggers.input import FusionInput, Pair
from earmark.training.batches import Batch
from earmark.training.mixup import Mix, draw_mix, masked, mixup
from tests.training.conftest import logmel_input, recipe_with

LOG_MEL = {"n_fft": 2048, "hop_length": 512, "n_mels": 40, "f_min_hz": 0.0, "f_max_hz": 22050.0}


def mix_of(share: Any, partner: list[int] | NDArray[np.int64]) -> Mix:
    return Mix(share, 1 - share, np.array(partner))


def test_a_mix_has_one_share_and_for_each_clip_one_partner() -> None:
    mix = draw_mix(6, recipe_with(mixup_alpha=0.4), rng_for(3, "mixup"))
    assert mix is not None
    mixed = mix(torch.eye(6))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(6))
    shares = {round(float(value), 5) for row in mixed for value in row if 0 < value < 1}
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1.0, abs=1e-4)


def test_weights_are_mixed_as_the_clips_are() -> None:
    weights = np.array([1.0, 0.0, 1.0, 0.25], np.float32)
    segments, eye = np.zeros((4, 4, 3), np.float32), np.eye(4, dtype=np.float32)
    batch = Batch(segments, eye, np.zeros(4, np.float32), weights)
    for draw in ("batch", "clip"):
        recipe = recipe_with(mixup_alpha=0.4, mixup_draw=draw)
        mixed = mixup(batch, logmel_input(), recipe, device="cpu", rng=rng_for(3, "mixup"))
        torch.testing.assert_close(mixed.weights, mixed.targets @ torch.from_numpy(weights))


def test_inputs_targets_and_flags_are_mixed_by_the_same_draw() -> None:
    eye = np.eye(6, dtype=np.float32)
    segments = np.zeros((6, 4, 3), np.float32) + np.arange(6, dtype=np.float32)[:, None, None]
    batch = Batch(segments, eye, np.arange(6, dtype=np.float32), np.ones(6, np.float32))
    recipe = recipe_with(mixup_alpha=0.4)
    x, targets, unverified, weights = mixup(
        batch, logmel_input(), recipe, device="cpu", rng=rng_for(3, "mixup")
    )
    mix = draw_mix(6, recipe, rng_for(3, "mixup"))
    assert mix is not None
    torch.testing.assert_close(targets, mix(torch.from_numpy(eye)))
    torch.testing.assert_close(unverified, mix(torch.arange(6.0)))
    torch.testing.assert_close(x[:, 0, 0], unverified)
    assert weights.tolist() == [1.0] * 6  # to the last bit, whatever the shares are
    assert not torch.equal(unverified, torch.arange(6.0))


def test_a_batch_that_is_not_mixed_stays_as_it_is() -> None:
    segments = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    flags = np.array([0, 1], np.float32)
    batch = Batch(segments, np.eye(2, dtype=np.float32), flags, np.ones(2, np.float32))
    recipe = recipe_with(mixup_alpha=0.0)
    x, targets, unverified, _ = mixup(batch, logmel_input(), recipe, device="cpu", rng=rng_for(0))
    torch.testing.assert_close(x, torch.from_numpy(segments))
    torch.testing.assert_close(targets, torch.eye(2))
    assert unverified.tolist() == [0, 1]


def test_no_mix_is_drawn_at_alpha_zero_and_at_a_share_only_sometimes() -> None:
    assert draw_mix(4, recipe_with(mixup_alpha=0.0), rng_for(0)) is None
    assert draw_mix(1, recipe_with(), rng_for(0)) is None, "there is no other clip"
    recipe = recipe_with(mixup_share=0.25)
    is_mixed = [draw_mix(4, recipe, rng_for(0, i)) is not None for i in range(400)]
    assert 0.17 < np.mean(is_mixed) < 0.33


@pytest.mark.parametrize("type_", ["logmel", "patches"])
def test_powers_mix_like_the_waveforms_of_two_sounds_that_do_not_overlap(type_: str) -> None:
    extract = build(type_, LOG_MEL if type_ == "logmel" else {}, sample_rate=44_100)
    time = np.arange(44_100) / 44_100
    low, high = (0.5 * np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (400, 3000))
    rows = np.stack([np.array(extract(x), np.float32) for x in (low, high)])
    blend = torch.from_numpy(np.array(extract(0.7 * low + 0.3 * high))).float()
    input_ = logmel_input(feature=type_, type_name=type_)
    mix = mix_of(0.7, [1, 0])
    as_waveforms = input_.mix(torch.from_numpy(rows), mix, "waveform")[0]
    as_features = input_.mix(torch.from_numpy(rows), mix, "features")[0]
    inner = slice(3, -3) if type_ == "logmel" else slice(None)
    loud = blend[inner] > blend.max() - (30 if type_ == "logmel" else 3)
    torch.testing.assert_close(as_waveforms[inner][loud], blend[inner][loud], atol=0.1, rtol=0)
    assert (as_features[inner][loud] - blend[inner][loud]).abs().max() > 1


def test_a_waveform_mix_of_stored_log_mel_reaches_the_network_standardised() -> None:
    input_ = logmel_input(mean=[-40.0], std=[20.0])
    segments = np.random.default_rng(0).uniform(-80, 0, (2, 4, 3)).astype(np.float32)
    raw = input_.raw(segments, "cpu")
    themselves = input_.standardise(input_.mix(raw, mix_of(1.0, [1, 0]), "waveform"))
    torch.testing.assert_close(themselves, input_.tensor(segments, "cpu"))
    flags, weights = np.zeros(2, np.float32), np.ones(2, np.float32)
    batch = Batch(segments, np.eye(2, dtype=np.float32), flags, weights)
    recipe = recipe_with(mixup_alpha=0.4, mixup_at="waveform")
    x, *_ = mixup(batch, input_, recipe, device="cpu", rng=rng_for(1, "mixup"))
    mix = draw_mix(2, recipe, rng_for(1, "mixup"))
    assert mix is not None
    assert 0.05 < mix.share < 0.95
    assert mix.partner.tolist() == [1, 0]
    torch.testing.assert_close(x, input_.standardise(input_.mix(raw, mix, "waveform")))
    assert not torch.allclose(x, input_.standardise(mix(raw)), atol=0.01)


def test_a_pair_is_mixed_by_one_draw_and_its_frames_as_powers_where_waveforms_are_meant() -> None:
    frames = logmel_input(lengths=[4])
    audio = logmel_input(feature="wave44k", type_name="waveform", lengths=[8], silence=[0.0])
    pair = FusionInput(**vars(frames), audio=audio, hop_length=2)
    rng = np.random.default_rng(0)
    spec = rng.uniform(-80, 0, (2, 4, 3)).astype(np.float32)
    segments = Pair(rng.normal(size=(2, 8)).astype(np.float32), spec)
    mix = mix_of(0.7, [1, 0])
    as_features, as_waveforms = (
        pair.standardise(pair.mix(pair.raw(segments, "cpu"), mix, mixup_at))
        for mixup_at in ("features", "waveform")
    )
    for waveform, _ in (as_features, as_waveforms):
        torch.testing.assert_close(waveform, mix(torch.from_numpy(segments.audio)))
    torch.testing.assert_close(as_features[1], mix(torch.from_numpy(spec)))
    powers = frames.mix(torch.from_numpy(spec), mix, "waveform")
    torch.testing.assert_close(as_waveforms[1], powers)


def test_masks_hide_whole_frames_and_bands_up_to_their_width() -> None:
    x = torch.ones(64, 50, 30)
    is_hidden = masked(x, recipe_with(mask_frames=10, mask_bands=5), rng_for(0, "mask")) == 0
    frames, bands = is_hidden.all(dim=2), is_hidden.all(dim=1)
    assert (is_hidden == (frames.unsqueeze(2) | bands.unsqueeze(1))).all()
    assert 10 < frames.sum(dim=1).max() <= 20
    assert 5 < bands.sum(dim=1).max() <= 10
    assert all(len(hidden.unique(dim=0)) > 32 for hidden in (frames, bands)), "each its own"
    assert masked(x, recipe_with(), rng_for(0)) is x


def test_of_a_pair_the_frames_are_masked() -> None:
    waveform, frames = torch.ones(4, 100), torch.ones(4, 50, 30)
    recipe = recipe_with(mask_frames=10)
    same, hidden = masked((waveform, frames), recipe, rng_for(0, "mask"))
    assert same is waveform
    torch.testing.assert_close(hidden, masked(frames, recipe, rng_for(0, "mask")))
    assert (hidden == 0).any()


def test_drawn_by_clip_every_clip_has_a_share_of_its_own() -> None:
    recipe = recipe_with(mixup_alpha=0.4, mixup_draw="clip")
    mix = draw_mix(64, recipe, rng_for(3, "mixup"))
    assert mix is not None
    mixed = mix(torch.eye(64))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(64))
    shares = mixed.diagonal()
    assert len(set(shares.tolist())) > 40
    assert 0.3 < float(shares.mean()) < 0.7
    x = torch.rand(64, 5, 3)
    partners = x[mix.partner]
    expected = shares[:, None, None] * x + (1 - shares[:, None, None]) * partners
    is_mixed = mix.partner != np.arange(64)
    torch.testing.assert_close(mix(x)[is_mixed], expected[is_mixed])


@pytest.mark.parametrize("alpha", [0.2, 0.4, 2.0])
@pytest.mark.parametrize("draw", ["batch", "clip"])
def test_the_share_is_drawn_from_beta_of_alpha_and_alpha(alpha: float, draw: str) -> None:
    recipe = recipe_with(mixup_alpha=alpha, mixup_draw=draw)
    mixes = [draw_mix(2, recipe, rng_for(0, i)) for i in range(2000)]
    shares = np.concatenate([np.atleast_1d(mix.share) for mix in mixes])
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(0.25 / (2 * alpha + 1), rel=0.08)


def test_drawn_by_clip_targets_and_flags_have_the_share_of_their_clip() -> None:
    segments = np.zeros((6, 4, 3), np.float32) + np.arange(6, dtype=np.float32)[:, None, None]
    flags = np.arange(6, dtype=np.float32)
    batch = Batch(segments, np.eye(6, dtype=np.float32), flags, np.ones(6, np.float32))
    recipe = recipe_with(mixup_alpha=1.0, mixup_draw="clip")
    x, targets, unverified, _ = mixup(batch, logmel_input(), recipe, device="cpu", rng=rng_for(3))
    torch.testing.assert_close(targets @ torch.arange(6.0), unverified)
    torch.testing.assert_close(x[:, 0, 0], unverified)
    assert not torch.equal(unverified, torch.arange(6.0))


def test_drawn_by_clip_only_a_share_of_the_clips_is_mixed() -> None:
    recipe = recipe_with(mixup_draw="clip", mixup_share=0.25)
    mix = draw_mix(400, recipe, rng_for(0))
    assert mix is not None
    assert 0.17 < np.mean(mix.share < 1) < 0.33


def test_log_mels_are_mixed_as_waveforms_by_each_clips_own_share() -> None:
    raw = torch.rand(4, 6, 40) * -60
    mix = mix_of(np.array([0.2, 0.5, 0.9, 1.0]), [1, 0, 3, 2])
    input_ = logmel_input(options=LOG_MEL)
    together = input_.mix(raw, mix, "waveform")
    for i, share in enumerate(mix.share.tolist()):
        alone = input_.mix(raw, mix_of(share, mix.partner), "waveform")
        torch.testing.assert_close(together[i], alone[i])


def test_a_batch_is_mixed_by_the_same_draws_as_ever() -> None:
    mix = draw_mix(6, recipe_with(mixup_alpha=0.4), rng_for(3, "mixup"))
    rng = rng_for(3, "mixup")
    assert mix is not None
    assert mix.share == rng.beta(0.4, 0.4)
    np.testing.assert_array_equal(mix.partner, rng.permutation(6))


def test_at_equal_loudness_a_quiet_clip_is_heard_as_its_share_says() -> None:
    extract = build("logmel", LOG_MEL, sample_rate=44_100)
    time = np.arange(44_100) / 44_100
    low, high = (np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (400, 3000))
    rows = np.stack([np.array(extract(x), np.float32) for x in (0.9 * low, 0.009 * high)])
    input_, mix = logmel_input(), mix_of(np.array([0.5, 0.25]), [1, 0])
    mixed = input_.mix(torch.from_numpy(rows), mix, "equal_loudness")
    amplitudes = LogMel.amplitudes(torch.from_numpy(rows))
    band = [int(frames.mean(0).argmax()) for frames in rows]  # of the low and of the high tone
    inner = mixed[:, 4:-4]  # frames that hold no silence
    gap = inner[:, :, band[0]].mean(1) - inner[:, :, band[1]].mean(1)
    loud = torch.from_numpy(rows)[:, 4:-4]
    alone = [loud[i, :, band[i]].mean() - 20 * torch.log10(amplitudes[i]) for i in (0, 1)]
    # At a half both are as loud; at a quarter the low tone, the partner, has three quarters.
    torch.testing.assert_close(gap[0], alone[0] - alone[1], atol=0.2, rtol=0)
    expected = alone[0] - alone[1] + 20 * np.log10(3)
    torch.testing.assert_close(gap[1], expected.float(), atol=0.2, rtol=0)


@pytest.mark.parametrize("type_", ["logmel", "patches", "waveform", "mn_logmel"])
def test_a_mixture_at_equal_loudness_does_not_depend_on_the_level_of_either(type_: str) -> None:
    options = {"logmel": LOG_MEL, "waveform": {"target_hz": 16_000}}.get(type_, {})
    extract = build(type_, options, sample_rate=44_100)
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=44_100).astype(np.float32) * 0.2 for _ in range(2))
    input_ = logmel_input(feature=type_, type_name=type_)
    mix = mix_of(0.4, [1, 0])
    shapes = []
    for level in (1.0, 0.5):
        rows = np.stack([np.array(extract(x), np.float32) for x in (one, level * other)])
        powers = input_.mix(torch.from_numpy(rows), mix, "equal_loudness")[0].double()
        if type_ != "waveform":
            powers = find(type_).powers(powers)  # type: ignore[attr-defined]
        shapes.append(powers / powers.norm())
    torch.testing.assert_close(shapes[0], shapes[1], atol=2e-3, rtol=0)


def test_the_squares_of_shares_at_equal_loudness_sum_to_one() -> None:
    mix = mix_of(np.array([0.2, 0.9, 0.0]), [1, 2, 0])
    equal = mix.at_equal_loudness(torch.tensor([1e-3, 1.0, 5.0]))
    torch.testing.assert_close(equal.share**2 + equal.rest**2, torch.ones(3))
    assert equal.share[2] == 0
