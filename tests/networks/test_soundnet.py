"""SoundNet: lengths, names and heads."""

import pytest
import torch
from torch import nn

from earmark.networks.soundnet import shortest
from tests.networks.small_networks import built


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
        network = built("soundnet", {"head": "max"}, n_tags=41)
        x, steps = torch.empty(2, 1, 1, n_samples), []
        for number in range(1, 8):
            x = network.get_submodule(f"conv{number}")(x)
            steps.append(x.shape[-1])
    assert steps == lengths


def test_soundnet_names_the_shortest_waveform_of_each_head() -> None:
    with torch.device("meta"):
        network = built("soundnet", {"head": "max"})
        for steps in range(2, 17):
            n_samples = shortest(steps)
            assert network.forward_features(torch.empty(2, n_samples)).shape[-1] == steps
            assert network.forward_features(torch.empty(2, n_samples - 1)).shape[-1] == steps - 1
        assert built("soundnet", {"head": "conv"}).min_samples == 78_302
    assert network.min_samples == 4_574


def test_soundnet_bears_the_names_of_its_published_weights() -> None:
    with torch.device("meta"):
        state = built("soundnet", {}, n_tags=41).state_dict()
    layers = [f"conv{number}.{index}" for number in range(1, 8) for index in (0, 1)]
    assert list(dict.fromkeys(key.rpartition(".")[0] for key in state)) == [*layers, "head"]
    assert state["conv1.0.weight"].shape == (16, 1, 1, 64)
    assert state["conv7.0.weight"].shape == (1024, 512, 1, 4)
    assert state["conv7.1.running_var"].shape == (1024,)


@pytest.mark.parametrize("steps", [4, 6])
def test_soundnets_head_is_a_convolution_of_kernel_4(steps: int) -> None:
    network = built("soundnet", {"width": 0.0625}).eval()
    waveform = torch.randn(2, shortest(steps))
    x = network.forward_features(waveform)
    assert x.shape == (2, 64, steps)
    kernel = network.head.weight.unflatten(1, (64, 4))
    outputs = nn.functional.conv1d(x, kernel, network.head.bias)  # (B, K, S - 3)
    torch.testing.assert_close(network(waveform), outputs.mean(2), rtol=1e-4, atol=1e-4)


def test_soundnet_brings_a_waveform_to_the_scale_of_its_weights() -> None:
    options = {"head": "max", "width": 0.125}
    network = built("soundnet", options).eval()
    plain = built("soundnet", options | {"input_scale": 1.0}).eval()
    plain.load_state_dict(network.state_dict())
    waveform = torch.rand(2, 4600) * 2 - 1
    torch.testing.assert_close(network(waveform), plain(256 * waveform))
