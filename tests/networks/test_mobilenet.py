"""EfficientAT's MobileNet: its published sizes, and what it makes of moments."""

import pytest
import torch
from torch import nn

from earmark.networks import build
from earmark.networks.mobilenet import BLOCKS, rounded
from tests.networks.small_networks import built, settle, small


def n_parameters(width: float) -> int:
    with torch.device("meta"):
        network = build("mobilenet", 527, {"width": width})
    return sum(parameter.numel() for parameter in network.parameters())


def test_it_has_the_parameters_of_the_published_weights() -> None:
    assert n_parameters(0.4) == 983_599
    published = {0.5: 1.43, 1.0: 4.88, 2.0: 17.91, 3.0: 39.09, 4.0: 68.43}  # millions, its README
    for width, millions in published.items():
        assert round(n_parameters(width) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("wish", "channels"),
    [(16, 16), (6.4, 8), (1.6, 8), (12.0, 16), (11.9, 16), (25.6, 24), (44.8, 48), (201.6, 200)],
)
def test_channels_are_the_nearest_multiple_of_eight_but_not_far_below(
    wish: float, channels: int
) -> None:
    assert rounded(wish) == channels
    assert rounded(wish) >= 0.9 * wish


def test_the_embedding_has_the_published_dims() -> None:
    for width, dims in ((0.1, 96), (0.4, 384), (1.0, 960)):
        with torch.device("meta"):
            assert build("mobilenet", 1, {"width": width}).feature_dim == dims


def test_the_features_are_the_mean_of_those_over_time() -> None:
    network, _ = small("mobilenet")
    x = torch.randn(2, 100, 128)
    over_time = settle(network, x).features_over_time(x)
    assert over_time.shape == (2, 4, 96)  # ceil(100 / 32)
    torch.testing.assert_close(over_time.mean(dim=1), network.forward_features(x))
    assert over_time.std(dim=1).mean() > 0.01


def test_each_block_is_the_one_of_the_table() -> None:
    network = built("mobilenet", {"width": 1.0})
    assert len(BLOCKS) == 15
    for block, found in zip(BLOCKS, list(network.features)[1:-1], strict=True):
        convolutions = [m for m in found.modules() if isinstance(m, nn.Conv2d)]
        depthwise = next(m for m in convolutions if m.groups > 1)
        assert depthwise.kernel_size == (block.kernel, block.kernel)
        assert depthwise.stride == (block.stride, block.stride)
        assert depthwise.groups == block.expanded
        assert convolutions[0].in_channels == block.channels
        assert convolutions[-1].out_channels == block.out
        assert len(convolutions) == 2 + (block.expanded != block.channels)
        assert found.is_residual == (block.stride == 1 and block.channels == block.out)
        squeezed = [m.out_features for m in found.modules() if isinstance(m, nn.Linear)]
        expected = [rounded(block.expanded / 4), block.expanded] if block.is_excited else []
        assert squeezed == expected


def test_a_gate_weighs_each_channel_by_its_mean() -> None:
    network = built("mobilenet", {"width": 0.4}).eval()
    excitation = next(m for m in network.modules() if type(m).__name__ == "_Excitation")
    gate = excitation.conc_se_layers[0]
    x = torch.randn(2, gate.fc1.in_features, 5, 7)
    hidden = torch.relu(x.mean((2, 3)) @ gate.fc1.weight.T + gate.fc1.bias)
    weight = torch.sigmoid(hidden @ gate.fc2.weight.T + gate.fc2.bias)
    torch.testing.assert_close(excitation(x), x * weight[:, :, None, None])
