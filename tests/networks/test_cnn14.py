"""CNN14: its published size, and its pooling over time."""

import torch

from earmark.networks import build
from tests.networks.small_networks import settle, small


def test_it_has_the_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        network = build("cnn14", 527, {})
    # Table XII of Kong et al., 2020
    assert sum(parameter.numel() for parameter in network.parameters()) == 80_753_615


def test_its_features_are_of_the_whole_and_a_maximum_is_among_them() -> None:
    network, _ = small("cnn14")
    torch.nn.init.eye_(network.fc1.weight)
    torch.nn.init.zeros_(network.fc1.bias)
    x = torch.randn(1, 96, 64)
    settle(network, x)
    assert network.features_over_time(x).shape == (1, 1, 128)
    moments: list[torch.Tensor] = []
    hook = network.blocks[-1].register_forward_hook(lambda *call: moments.append(call[2]))
    features = network.forward_features(x)
    hook.remove()
    over_time = moments[0].mean(dim=3)  # (1, D, 3)
    assert over_time.shape == (1, 128, 3)
    assert over_time.std(dim=2).mean() > 0.01
    torch.testing.assert_close(features, over_time.max(dim=2).values + over_time.mean(dim=2))


def test_a_dropout_of_zero_trains_without_noise() -> None:
    network, _ = small("cnn14", block_dropout=0.0, dropout=0.0)
    x = torch.randn(3, 33, 64)
    assert torch.equal(network(x), network(x))
    noisy, _ = small("cnn14")
    assert not torch.equal(noisy(x), noisy(x))
