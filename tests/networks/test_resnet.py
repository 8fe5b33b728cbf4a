"""The residual networks, and the plain CNN beside them."""

import pytest
import torch
from torch import nn

from tests.networks.small_networks import N_TAGS, batch_norm, built, conv1d, small


@pytest.mark.parametrize(("name", "n_convolutions"), [("cnn2d", 10), ("resnet2d", 20)])
def test_the_plain_2d_networks_pool_where_the_densenet_does(name: str, n_convolutions: int) -> None:
    with torch.device("meta"):
        network = built(name, {}, n_tags=41)
        assert network.features(torch.empty(2, 1, 173, 80)).shape == (2, 512, 10, 5)
    kernels = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels.count((3, 3)) == n_convolutions


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
        network = built("resnet1d", {"stem_stride": 4})
        assert network.features(torch.empty(2, 1, 1, 88_200)).shape == (2, 512, 1, 1378)
    network = built("resnet1d", {"stem_stride": 4, "base_width": 2})
    assert network(torch.randn(2, 61)).shape == (2, N_TAGS)
    with pytest.raises(ValueError, match="at least 61 samples"):
        network(torch.zeros(2, 60))


def test_resnet1d_with_a_pool_after_every_block_is_the_other_reading() -> None:
    with torch.device("meta"):
        network = built("resnet1d", {"blocks_per_stage": 1, "base_width": 2})
        assert network.features(torch.empty(2, 1, 1, 88_200)).shape == (2, 1024, 1, 172)
