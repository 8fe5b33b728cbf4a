"""The layers that networks share: the ways to compute a convolution agree."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from earmark.networks import Network, layers
from earmark.networks.layers import Conv1d, folded
from earmark.networks.samplecnn import ConvBlock
from tests.networks.small_networks import conv1d


class OneConvolution(Network):
    def __init__(self, conv: Conv1d) -> None:
        super().__init__()
        self.conv = conv

    def forward_features(self, x: Tensor) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize("fold", [1, 2, 3, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("channels", "kernel", "padding"), [(1, 8, (4, 4)), (3, 5, (0, 2))])
def test_a_folded_convolution_is_the_plain_one_and_so_are_its_gradients(
    channels: int, kernel: int, padding: tuple[int, int], stride: int, fold: int
) -> None:
    x = torch.randn(2, channels, 1, 50, dtype=torch.float64)
    kernels = torch.randn(6, channels, 1, kernel, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64)
    inputs = [value.requires_grad_() for value in (x, kernels, bias)]
    y = folded(x, kernels, bias, stride, padding, fold)
    expected = nn.functional.conv2d(
        nn.functional.pad(x, padding), kernels, bias, stride=(1, stride)
    )
    torch.testing.assert_close(y, expected)
    weights = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad((y * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("n_samples", [3 * 6561, 16_000, 3 * 511, 3 * 512, 3 * 513])
def test_a_long_map_is_cut_into_short_ones_and_computes_the_same(
    n_samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def conv2d(x: Tensor, *rest: Tensor) -> Tensor:
        lengths.append(x.shape[3])
        return nn.functional.conv2d(x, *rest)

    x = torch.randn(2, 1, 1, n_samples, dtype=torch.float64)
    kernels = torch.randn(4, 1, 1, 3, dtype=torch.float64)
    expected = nn.functional.conv2d(x, kernels, stride=(1, 3))
    functional = SimpleNamespace(conv2d=conv2d, pad=nn.functional.pad)
    monkeypatch.setattr(layers, "nn", SimpleNamespace(functional=functional))
    torch.testing.assert_close(folded(x, kernels, None, 3, (0, 0), 1), expected)
    assert lengths[0] <= layers.SHORT_STEPS


def test_parts_are_equal_where_a_small_number_of_them_is() -> None:
    assert [layers.n_parts(n) for n in (6561, 19_683, 512, 513)] == [27, 81, 1, 3]
    assert layers.n_parts(5333) == 11  # a prime: padded by two steps instead


def test_a_convolution_folds_once_it_is_laid_out_channels_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def counted(x: Tensor, *rest: object) -> Tensor:
        calls.append(x.shape[1])
        return folded(x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("earmark.networks.layers.folded", counted)
    network = OneConvolution(Conv1d(1, 4, 32, fold=2))
    x = torch.randn(2, 1, 1, 101)
    plain = network.conv(x)
    assert plain.shape == (2, 4, 1, 101)
    assert not calls
    y = network.channels_last().conv(x)
    assert calls == [1]
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, plain)


def test_kernels_of_one_channel_are_laid_out_channels_last_too() -> None:
    network = OneConvolution(Conv1d(1, 4, 3)).channels_last()
    y = network.conv(torch.randn(2, 1, 1, 50))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not y.is_contiguous()


def test_a_convolution_block_rectifies_and_pools_in_either_order() -> None:
    block = ConvBlock(1, 4, 3, pool=3, stride=1, bn_momentum=0.1)
    x = torch.randn(2, 1, 1, 90)
    conv, norm = block[0], block[1]
    expected = nn.functional.max_pool2d(norm(conv(x)).relu(), (1, 3))
    torch.testing.assert_close(block(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (2, 1), (32, 1), (32, 3), (9, 4)])
def test_a_flat_convolution_is_a_one_dimensional_one(kernel: int, stride: int) -> None:
    conv, x = Conv1d(2, 3, kernel, stride=stride), torch.randn(2, 2, 50)
    out = conv(x[:, :, None])[:, :, 0]
    assert out.shape == (2, 3, -(-50 // stride))
    torch.testing.assert_close(out, conv1d(conv, x))


def test_a_convolution_of_one_step_has_a_gradient_of_zero_where_kernels_meet_padding_alone() -> (
    None
):
    conv = Conv1d(32, 64, 4, stride=2, padding=(2, 2))
    x = torch.randn(8, 32, 1, 1)
    sizes = [64 * 32 * 4, 64 * 32 * 4 // 2]  # of a gradient in float32 and bfloat16
    spoilt = [torch.full((size,), float("nan")) for size in sizes * 50]
    del spoilt  # memory that is free again, and holds no number
    with torch.autocast("cpu", torch.bfloat16):
        conv(x).float().sum().backward()
    expected = torch.zeros(64, 32, 1, 4)
    expected[:, :, 0, 2] = x.sum((0, 2, 3))  # the step meets the kernel's third value
    torch.testing.assert_close(conv.weight.grad, expected, rtol=0.02, atol=0.05)
