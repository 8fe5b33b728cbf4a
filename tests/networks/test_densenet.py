"""DenseNet against an explicit computation."""

import pytest
import torch
from torch import nn

from earmark.networks.densenet import DenseUnit
from tests.networks.small_networks import N_TAGS, batch_norm, built, random_input


@pytest.mark.parametrize("transition", ["pool", "conv1", "conv3"])
def test_densenet_takes_any_length_from_its_shortest_on(transition: str) -> None:
    options = {"n_blocks": 3, "units": 1, "growth": 4, "stem_channels": 4, "transition": transition}
    network = built("densenet", options)
    for shape in [(4, 4), (5, 9), (31, 4)]:
        assert network(random_input(2, shape=shape)).shape == (2, N_TAGS)
    with pytest.raises(ValueError, match="4 frames and 4 mels"):
        network(torch.zeros(2, 4, 3))


@pytest.mark.parametrize("transition", ["pool", "conv1", "conv3"])
def test_densenet_concatenates_and_pools_by_means(transition: str) -> None:
    options = {"n_blocks": 2, "units": 2, "growth": 4, "stem_channels": 4, "transition": transition}
    network = built("densenet", options)
    frames = torch.randn(3, 8, 6)
    network(frames)  # moves the running statistics off their start
    network.eval()
    x = nn.functional.conv2d(frames[:, None], network.features[0].weight, padding=1)
    for layer in network.features[1:]:
        modules = list(layer.modules())
        norm = next((m for m in modules if isinstance(m, nn.BatchNorm2d)), None)
        conv = next((m for m in modules if isinstance(m, nn.Conv2d)), None)
        if norm is not None and conv is not None:
            y = conv(batch_norm(norm, x).relu())
            x = torch.cat([x, y], 1) if isinstance(layer, DenseUnit) else y
        if not isinstance(layer, DenseUnit):
            n_frames, n_mels = x.shape[2] // 2, x.shape[3] // 2
            x = x.reshape(3, -1, n_frames, 2, n_mels, 2).mean((3, 5))
    x = batch_norm(network.norm, x).relu().flatten(2).max(2).values
    torch.testing.assert_close(network(frames), network.head(x), rtol=1e-4, atol=1e-5)


def test_densenet_maps_have_the_tables_sizes() -> None:
    with torch.device("meta"):
        network = built("densenet", {"transition": "conv3", "theta": 0.5}, n_tags=41)
        features = network.features(torch.empty(2, 1, 173, 80))
    assert features.shape == (2, 252, 10, 5)
