"""YAMNet: its published size, its padding, and its patches."""

import torch
from torch import nn

from earmark.networks import build
from tests.networks.small_networks import settle, small


def test_it_has_the_published_parameters() -> None:
    with torch.device("meta"):
        network = build("yamnet", 521, {})
    n_all = sum(parameter.numel() for parameter in network.parameters())
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    n_scales = sum(norm.weight.numel() for norm in norms)
    assert len(norms) == 27
    assert {norm.eps for norm in norms} == {1e-4}
    assert (n_all, n_scales) == (3_740_425, 10_944)
    assert round((n_all - n_scales) / 1e6, 1) == 3.7  # its README


def test_features_are_those_of_each_patch_and_their_mean() -> None:
    network, _ = small("yamnet")
    x = torch.randn(2, 200, 64)
    settle(network, x)
    over_time = network.features_over_time(x)
    assert over_time.shape == (2, 3, 128)
    for i in range(3):  # one each 48 frames; the last eight frames complete none
        patch = x[:, 48 * i : 48 * i + 96]
        torch.testing.assert_close(over_time[:, i], network.forward_features(patch))
    torch.testing.assert_close(over_time.mean(dim=1), network.forward_features(x))
    assert over_time.std(dim=1).mean() > 0.01


def test_a_stride_pads_at_the_end_as_tensorflow_does() -> None:
    network, _ = small("yamnet")
    first = network.features[0]
    x = torch.randn(1, 1, 96, 64)
    padded = nn.functional.pad(x, (0, 1, 0, 1))
    expected = nn.functional.conv2d(padded, first[1].weight, stride=2)
    torch.testing.assert_close(first[1](first[0](x)), expected)
    assert expected.shape[2:] == (48, 32)
    sizes = [tuple(layer[1].stride) for layer in network.features if layer[1].stride != (1, 1)]
    assert sizes == [(2, 2)] * 5  # 96 x 64 to 3 x 2
