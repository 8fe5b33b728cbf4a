"""A network without batch norms answers as the one with them."""

import copy

import pytest
import torch
from torch import Tensor, nn

from earmark.networks import build
from earmark.networks.folding import folded

SHAPES = {"compact_cnn": (2, 40, 32), "samplecnn": (2, 39366), "cnn2d": (2, 64, 80)}


def with_statistics(name: str) -> nn.Module:
    """A network whose batch norms have means and variances of their own."""
    torch.manual_seed(1)
    network = build(name, 5, {})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias, module.weight, module.running_var):
                assert isinstance(tensor, Tensor)
                tensor.data.uniform_(0.5, 1.5)
    return network


@pytest.mark.parametrize("name", SHAPES)
@torch.inference_mode()
def test_folding_changes_what_a_network_computes_by_rounding_alone(name: str) -> None:
    network = with_statistics(name)
    weights, x = copy.deepcopy(network.state_dict()), torch.randn(SHAPES[name])
    lighter = folded(network, torch.float32)
    expected = network.eval()(x)
    assert torch.allclose(lighter(x), expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in weights.items())


def test_no_norm_is_left_behind_a_convolution_and_kernels_have_the_type_asked_for() -> None:
    lighter = folded(with_statistics("compact_cnn"), torch.bfloat16)
    kinds = [type(module) for module in lighter.modules()]
    assert nn.BatchNorm2d not in kinds
    convolutions = [module for module in lighter.modules() if isinstance(module, nn.Conv2d)]
    assert {conv.weight.dtype for conv in convolutions} == {torch.bfloat16}
    assert lighter.head.weight.dtype == torch.float32
