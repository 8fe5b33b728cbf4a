"""The networks that read waveforms, against explicit one-dimensional computations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from earmark.networks import build
from earmark.networks.layers import Conv1d
from earmark.networks.samplecnn import pool_sizes
from earmark.networks.soundnet import shortest
from tests.networks.test_networks import N_TAGS, batch_norm, small


def conv1d(conv: Any, x: Tensor) -> Tensor:
    """Convolve (B, C, T) in one dimension, "same", with the odd zero at the right."""
    kernel, stride = conv.kernel_size[1], conv.stride[1]
    x = nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))
    return nn.functional.conv1d(x, conv.weight.squeeze(2), conv.bias, stride=stride)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (2, 1), (32, 1), (32, 3), (9, 4)])
def test_a_flat_convolution_is_a_one_dimensional_one(kernel: int, stride: int) -> None:
    conv, x = Conv1d(2, 3, kernel, stride=stride), torch.randn(2, 2, 50)
    out = conv(x[:, :, None])[:, :, 0]
    assert out.shape == (2, 3, -(-50 // stride))
    torch.testing.assert_close(out, conv1d(conv, x))


# SampleCNN


@pytest.mark.parametrize(
    ("n_samples", "pools"),
    [
        (59_049, [3] * 9),
        (39_366, [3] * 8 + [2]),
        (19_683, [3] * 8),
        (16_000, [3] * 7 + [2]),
        (6_561, [3] * 7),
        (4_374, [3] * 6 + [2]),
    ],
)
def test_samplecnn_ends_at_one_step(n_samples: int, pools: list[int]) -> None:
    assert pool_sizes(n_samples) == pools
    network = build("samplecnn", N_TAGS, {"n_samples": n_samples, "width": 0.02})
    steps = network.blocks(network.conv0(torch.zeros(2, 1, 1, n_samples))).shape[-1]
    assert steps == 1


@pytest.mark.parametrize(
    ("n_samples", "near"),
    [(80, "162 and 243"), (17_000, "13122 and 19683"), (36_000, "19683|39366")],
)
def test_samplecnn_refuses_a_length_that_its_pools_would_waste(n_samples: int, near: str) -> None:
    with pytest.raises(ValueError, match=f"{n_samples} does not reduce to one step.*{near}"):
        pool_sizes(n_samples)


def test_samplecnn_is_a_stack_of_one_dimensional_convolutions() -> None:
    network, _ = small("samplecnn")
    waveform = torch.randn(2, 486)
    network(waveform)  # moves the running statistics off their start
    network.eval()
    x = waveform[:, None]
    for block in [network.conv0, *network.blocks, network.last]:
        conv = next(layer for layer in block if isinstance(layer, nn.Conv2d))
        norm = next(layer for layer in block if isinstance(layer, nn.BatchNorm2d))
        kernel, stride = conv.kernel_size[1], conv.stride[1]
        if stride == 1:  # "same", the odd zero at the right
            x = nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))
        x = nn.functional.conv1d(x, conv.weight.squeeze(2), conv.bias, stride=stride)
        x = batch_norm(norm, x).relu()
        if stride == 1 and kernel > 1:
            x = nn.functional.max_pool1d(x, kernel)
    torch.testing.assert_close(network(waveform), network.head(x[:, :, 0]), rtol=1e-4, atol=1e-5)


# ReSE-2-Multi


@pytest.mark.parametrize("multi", [True, False])
def test_rese_rescales_and_adds_before_it_pools(multi: bool) -> None:
    torch.manual_seed(0)
    network = build("rese2multi", N_TAGS, {"n_samples": 486, "width": 0.125, "multi": multi})
    waveform = torch.randn(2, 486)
    network(waveform)  # moves the running statistics off their start
    network.eval()
    x, maxima = network.conv0(waveform[:, None, None])[:, :, 0], []
    for block, pool in zip(network.blocks, pool_sizes(486), strict=True):
        conv1, norm1, _, _, conv2, norm2 = block.convs
        y = batch_norm(norm1, conv1d(conv1, x)).relu()
        y = batch_norm(norm2, conv1d(conv2, y))
        first, _, second, _ = block.excitation.gates
        y = y * torch.sigmoid(second(first(y.mean(2)).relu()))[:, :, None]
        if not isinstance(block.shortcut, nn.Identity):
            x = batch_norm(block.shortcut[1], conv1d(block.shortcut[0], x))
        x = nn.functional.max_pool1d((x + y).relu(), pool)
        maxima.append(x.amax(2))
    levels = torch.cat(maxima[-3:], 1) if multi else maxima[-1]
    torch.testing.assert_close(network.levels(waveform), levels, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(waveform), network.head(levels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("multi", "n_values"), [(True, 1024), (False, 512)])
def test_rese_joins_three_levels_or_takes_one(multi: bool, n_values: int) -> None:
    with torch.device("meta"):
        network = build("rese2multi", N_TAGS, {"multi": multi})
        assert network.levels(torch.empty(2, 39_366)).shape == (2, n_values)


# 1-D ResNet


def test_resnet1d_adds_around_two_convolutions_and_pools_after_two_blocks() -> None:
    network, _ = small("resnet1d")
    waveform = torch.randn(2, 200)
    network(waveform)  # moves the running statistics off their start
    network.eval()
    blocks = [layer for layer in network.features if hasattr(layer, "conv1")]
    assert [block.conv1.kernel_size[1] for block in blocks] == [32] + [3] * 9
    assert [block.conv2.out_channels for block in blocks] == [4, 4, 8, 8, 16, 16, 32, 32, 64, 64]
    x = waveform[:, None]
    for index, block in enumerate(blocks):
        if index in (2, 4, 6, 8):
            x = nn.functional.max_pool1d(x, 2)
        y = batch_norm(block.norm1, conv1d(block.conv1, x)).relu()
        y = batch_norm(block.norm2, conv1d(block.conv2, y))
        if index in (0, 2, 4, 6, 8):
            x = batch_norm(block.shortcut_norm, conv1d(block.shortcut, x))
        x = (x + y).relu()
    torch.testing.assert_close(network(waveform), network.head(x.amax(2)), rtol=1e-4, atol=1e-4)


def test_resnet1d_shortens_every_map_by_its_stem() -> None:
    with torch.device("meta"):
        network = build("resnet1d", N_TAGS, {"stem_stride": 4})
        assert network.features(torch.empty(2, 1, 1, 88_200)).shape == (2, 512, 1, 1378)
    network = build("resnet1d", N_TAGS, {"stem_stride": 4, "base_width": 2})
    assert network(torch.randn(2, 61)).shape == (2, N_TAGS)
    with pytest.raises(ValueError, match="at least 61 samples"):
        network(torch.zeros(2, 60))


def test_resnet1d_with_a_pool_after_every_block_is_the_other_reading() -> None:
    with torch.device("meta"):
        network = build("resnet1d", N_TAGS, {"blocks_per_stage": 1, "base_width": 2})
        assert network.features(torch.empty(2, 1, 1, 88_200)).shape == (2, 1024, 1, 172)


# SoundNet


@pytest.mark.parametrize(
    ("n_samples", "lengths"),
    [
        (88_200, [5512, 344, 173, 87, 11, 6, 4]),
        (44_100, [2756, 172, 87, 44, 5, 3, 2]),
        (110_250, [6890, 430, 216, 109, 13, 7, 4]),
        (441_000, [27_562, 1722, 862, 432, 54, 28, 15]),
    ],
)
def test_soundnet_has_the_tables_lengths(n_samples: int, lengths: list[int]) -> None:
    with torch.device("meta"):
        network = build("soundnet", 41, {"head": "max"})
        x, found = torch.empty(2, 1, 1, n_samples), []
        for number in range(1, 8):
            x = network.get_submodule(f"conv{number}")(x)
            found.append(x.shape[-1])
    assert found == lengths


def test_soundnet_names_the_shortest_waveform_of_each_head() -> None:
    with torch.device("meta"):
        network = build("soundnet", N_TAGS, {"head": "max"})
        for steps in range(2, 17):
            n_samples = shortest(steps)
            assert network.backbone(torch.empty(2, n_samples)).shape[-1] == steps
            assert network.backbone(torch.empty(2, n_samples - 1)).shape[-1] == steps - 1
        assert build("soundnet", N_TAGS, {"head": "conv"}).min_samples == 78_302
    assert network.min_samples == 4_574


def test_soundnet_bears_the_names_of_its_published_weights() -> None:
    with torch.device("meta"):
        state = build("soundnet", 41, {}).state_dict()
    layers = [f"conv{number}.{place}" for number in range(1, 8) for place in (0, 1)]
    assert list(dict.fromkeys(key.rpartition(".")[0] for key in state)) == [*layers, "head"]
    assert state["conv1.0.weight"].shape == (16, 1, 1, 64)
    assert state["conv7.0.weight"].shape == (1024, 512, 1, 4)
    assert state["conv7.1.running_var"].shape == (1024,)


@pytest.mark.parametrize("steps", [4, 6])
def test_soundnets_head_is_a_convolution_of_kernel_4(steps: int) -> None:
    network = build("soundnet", N_TAGS, {"width": 0.0625}).eval()
    waveform = torch.randn(2, shortest(steps))
    x = network.backbone(waveform)[:, :, 0]
    assert x.shape == (2, 64, steps)
    kernel = network.head.weight.unflatten(1, (64, 4))
    outputs = nn.functional.conv1d(x, kernel, network.head.bias)  # (B, K, S - 3)
    torch.testing.assert_close(network(waveform), outputs.mean(2), rtol=1e-4, atol=1e-4)


def test_soundnet_brings_a_waveform_to_the_scale_of_its_weights() -> None:
    options = {"head": "max", "width": 0.125}
    network = build("soundnet", N_TAGS, options).eval()
    plain = build("soundnet", N_TAGS, options | {"input_scale": 1.0}).eval()
    plain.load_state_dict(network.state_dict())
    waveform = torch.rand(2, 4600) * 2 - 1
    torch.testing.assert_close(network(waveform), plain(256 * waveform))


# cnn-audio


def test_cnn_audio_normalises_once_a_group_after_pooling() -> None:
    network, (n_samples,) = small("cnn_audio")
    waveform = torch.randn(2, n_samples)
    network(waveform)  # moves the running statistics off their start
    network.eval()
    x = waveform[:, None]
    for group, pool in zip(network.features, (16, 8, 8, 8), strict=True):
        conv1, conv2 = (layer for layer in group if isinstance(layer, nn.Conv2d))
        x = conv1d(conv2, conv1d(conv1, x).relu()).relu()
        x = batch_norm(group[-1], nn.functional.max_pool1d(x, pool))
    x = x.flatten(1)
    torch.testing.assert_close(network.pooled(waveform), x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(waveform), network.head(x), rtol=1e-4, atol=1e-4)
