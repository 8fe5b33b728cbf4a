"""ReSE-2-Multi against explicit one-dimensional computations."""

import pytest
import torch
from torch import nn

from earmark.networks.samplecnn import pool_sizes
from tests.networks.small_networks import batch_norm, built, conv1d


@pytest.mark.parametrize("multi", [True, False])
def test_rese_rescales_and_adds_before_it_pools(multi: bool) -> None:
    torch.manual_seed(0)
    network = built("rese2multi", {"n_samples": 486, "width": 0.125, "multi": multi})
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
    torch.testing.assert_close(network.forward_features(waveform), levels, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(waveform), network.head(levels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("multi", "n_values"), [(True, 1024), (False, 512)])
def test_rese_joins_three_levels_or_takes_one(multi: bool, n_values: int) -> None:
    with torch.device("meta"):
        network = built("rese2multi", {"multi": multi})
        assert network.forward_features(torch.empty(2, 39_366)).shape == (2, n_values)
