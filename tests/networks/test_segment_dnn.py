"""The dense network on single segments, against an explicit computation."""

import torch
from torch import nn

from tests.networks.small_networks import N_TAGS, small


def test_a_bags_probabilities_are_the_mean_of_its_segments() -> None:
    network, _ = small("segment_dnn")
    network.eval()
    bags = torch.randn(4, 3, 128)
    alone = torch.stack([network(bags[:, n : n + 1]).softmax(1) for n in range(3)])
    logits = network(bags)
    torch.testing.assert_close(logits.exp(), alone.mean(0))
    torch.testing.assert_close(logits.softmax(1), alone.mean(0))


def test_a_segment_is_classified_at_three_levels() -> None:
    network, _ = small("segment_dnn")
    network.eval()
    x = segment = torch.randn(1, 128)
    classes = []
    for layer, level in zip(network.backbone, network.head.levels, strict=True):
        x = layer(x)
        classes.append(level(x).softmax(1))
    expected = network.head.output(torch.cat(classes, 1)).log_softmax(1)
    torch.testing.assert_close(network(segment[None]), expected)


def test_the_mean_over_segments_bears_a_tag_that_is_all_but_impossible() -> None:
    network, _ = small("segment_dnn")
    network.eval()
    nn.init.constant_(network.head.output[0].bias, 0.0)
    with torch.no_grad():
        network.head.output[0].bias[0] = 1e4
    logits = network(torch.randn(2, 3, 128))
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[:, 1:], torch.full((2, N_TAGS - 1), -1e4), rtol=1e-3, atol=0)
