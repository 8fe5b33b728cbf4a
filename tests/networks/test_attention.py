"""Multi-level attention: pooling over time, and its configurations."""

import pytest
import torch
from torch import nn

from tests.networks.small_networks import N_TAGS, built


@pytest.mark.parametrize("v_act", ["softmax", "sigmoid"])
def test_attention_is_positive_and_sums_to_one_over_time(v_act: str) -> None:
    network = built("multilevel_attention", {"n_units": 24, "v_act": v_act}).eval()
    for bags in (torch.randn(4, 6, 128), 1e4 * torch.randn(4, 6, 128)):  # large: v is saturated
        p = network.attention(bags)
        assert p.shape == (3, 4, 6, N_TAGS)
        assert (p > 0).all()
        torch.testing.assert_close(p.sum(2), torch.ones(3, 4, N_TAGS))


def test_a_bag_of_one_patch_is_pooled_to_exactly_its_classification() -> None:
    network = built("multilevel_attention", {"n_units": 24}).eval()
    bags = torch.randn(4, 1, 128)
    f, p = network.head.classify_and_weigh(network.forward_features(bags))
    assert torch.equal(p, torch.ones_like(p))
    expected = network.head.output(torch.cat([level[:, 0] for level in f], dim=1))
    assert torch.equal(network(bags), expected)


def test_attention_squashes_over_tags_before_it_divides_over_time() -> None:
    network = built("multilevel_attention", {"n_units": 24}).eval()
    bag = torch.randn(3, 128)
    x, pooled = bag, []
    for layer, f_head, v_head in zip(network.backbone, network.head.f, network.head.v, strict=True):
        x = layer(x)  # (P, D)
        f, v = f_head(x).softmax(1), v_head(x).softmax(1).clamp(1e-7, 1 - 1e-7)  # (P, K)
        pooled.append(sum(v[n] / sum(v) * f[n] for n in range(3)))
    expected = network.head.output(torch.cat(pooled)[None])
    torch.testing.assert_close(network(bag[None]), expected)


def test_attention_divides_in_float32_under_autocast() -> None:
    network = built("multilevel_attention", {"n_units": 24}).eval()
    with torch.autocast("cpu", torch.bfloat16):
        features = network.forward_features(torch.randn(4, 6, 128))
        f, p = network.head.classify_and_weigh(features)
    assert f.dtype == p.dtype == torch.float32
    torch.testing.assert_close(p.sum(2), torch.ones(3, 4, N_TAGS), rtol=1e-6, atol=1e-6)


def test_the_order_of_a_bags_patches_does_not_matter() -> None:
    network = built("multilevel_attention", {"n_units": 24}).eval()
    bags = torch.randn(2, 5, 128)
    torch.testing.assert_close(network(bags), network(bags.flip(1)))


def test_fewer_levels_are_the_last_ones() -> None:
    network = built("multilevel_attention", {"n_units": 24, "levels": 1})
    assert network.attention_levels == ["level 3"]
    network(torch.randn(4, 3, 128))[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_yus_network_is_a_configuration() -> None:
    options = {"input_bn": True, "head_bn": True, "f_act": "sigmoid", "levels": 2, "n_units": 24}
    network = built("multilevel_attention", options)
    assert network(torch.randn(4, 3, 128)).shape == (4, N_TAGS)
    assert network.attention(torch.randn(4, 3, 128)).shape == (2, 4, 3, N_TAGS)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in network.modules()) == 1 + 3 + 4 + 1
