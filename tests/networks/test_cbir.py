"""CBIR: what its branches share, and its attention."""

import pytest
import torch
from torch import nn

from tests.networks.small_networks import N_TAGS, SMALL, built, random_input, small


def test_branch_p_takes_vggishs_weights_and_keeps_them() -> None:
    vggish = built("vggish", {"width": 0.0625, "fc": 512}).state_dict()
    network, shape = small("cbir")
    missing, unexpected = network.load_state_dict(
        {key: value for key, value in vggish.items() if not key.startswith("head.")}, strict=False
    )
    assert {key.split(".")[0] for key in unexpected} == {"embeddings"}
    assert {key for key in missing if key.startswith("features.")} == {
        f"features.{layer}.{part}" for layer in (16, 18) for part in ("weight", "bias")
    }
    optimiser = torch.optim.Adam(network.parameters(), 0.1, weight_decay=0.1)
    network(random_input(4, shape=shape)).sum().backward()
    optimiser.step()
    for key in missing:
        if key.endswith("weight"):
            assert network.get_parameter(key).requires_grad, key
    for key, value in network.state_dict().items():
        if key in vggish and key.startswith("features."):
            assert torch.equal(value, vggish[key]), key


def test_branch_p_is_trained_if_it_is_not_frozen() -> None:
    network = built("cbir", SMALL["cbir"][0] | {"frozen": False})
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("adapters", "first"), [("all", 0), ("last", 4), ("none", 5)])
def test_adapters_add_the_maps_of_p_to_the_random_branch(adapters: str, first: int) -> None:
    options = SMALL["cbir"][0] | {"adapters": adapters}
    network = built("cbir", options).eval()
    p = r = patches = torch.randn(2, 1, 96, 64)
    ends = (0, 3, 6, 11, 16, 21)
    for block in range(5):
        p, r = network.features[ends[block] : ends[block + 1]](p), network.random[block](r)
        if block >= first:
            r = r + network.adapters[block - first](p)
    steps = network.steps(patches[:, 0])
    assert len(network.adapters) == 5 - first
    for branch, x in zip(steps, (p, r), strict=True):
        assert branch.shape == (2, 3, 64)
        torch.testing.assert_close(branch[:, 1], x[:, :, 1].transpose(1, 2).flatten(1))


def test_cbirs_step_weights_are_positive_and_sum_to_one_over_time() -> None:
    network, shape = small("cbir")
    weights = network.step_weights(random_input(2, shape=shape))
    assert weights.shape == (2, 2, 3, 32)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 2, 32))


def test_a_tag_that_depends_on_one_dim_has_that_dims_attention() -> None:
    network, shape = small("cbir", branches=1)
    network.eval()
    linear, output = network.head[0], network.head[4]
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[0, 5] = linear.weight[1, 7] = 1.0
        linear.bias.fill_(1.0)  # keeps the ReLU open
        output.weight.zero_()
        output.weight[0, 0] = output.weight[1, 1] = 1.0
        network.pools[0].value.bias.fill_(1.0)
    x = random_input(2, shape=shape)
    weights, dims = network.attention(x)[0], network.step_weights(x)[0]
    torch.testing.assert_close(weights[:, :, 0], dims[:, :, 5])
    torch.testing.assert_close(weights[:, :, 1], dims[:, :, 7])
    torch.testing.assert_close(weights[:, :, 2], dims.mean(2))  # it depends on none: all alike


def test_cbir_without_attention_reads_one_length_alone() -> None:
    options = SMALL["cbir"][0] | {"branches": 1, "attention": False, "n_patches": 2}
    network = built("cbir", options)
    assert network(torch.randn(2, 192, 64)).shape == (2, N_TAGS)
    with pytest.raises(ValueError, match="192 frames"):
        network(torch.randn(2, 480, 64))


def test_cbir_without_attention_refuses_to_show_it() -> None:
    network, _ = small("cbir", branches=1, attention=False, n_patches=1)
    assert network.attention_levels == []
    with pytest.raises(ValueError, match="CBIR has no attention over time"):
        network.attention(torch.randn(1, 96, 64))


def test_cbirs_random_branch_may_have_batch_norm() -> None:
    network = built("cbir", SMALL["cbir"][0] | {"branch_bn": True})
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.random.modules()) == 8
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.features.modules())
    assert network(torch.randn(2, 96, 64)).shape == (2, N_TAGS)
