"""SampleCNN against explicit one-dimensional computations."""

import pytest
import torch
from torch import nn

from earmark.networks.samplecnn import pool_sizes
from tests.networks.small_networks import batch_norm, built, small


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
    network = built("samplecnn", {"n_samples": n_samples, "width": 0.02})
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
