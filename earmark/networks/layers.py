"""What the networks share: two special layers, initialisation, and the check of a choice.

Shapes: B segments, C channels, T steps in time.
"""

import torch
from torch import Tensor, nn


class Float32Linear(nn.Linear):
    """A linear layer that computes in float32 whatever autocast says: for logits."""

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.float()
        with torch.autocast(input.device.type, enabled=False):
            return nn.functional.linear(input.float(), self.weight.float(), bias)


class Conv1d(nn.Conv2d):
    """A one-dimensional convolution, 1 x k over the last axis of (B, C, 1, T).

    Written in two dimensions it can run channels_last. The padding, unless given as zeros at the
    left and at the right, is TensorFlow's "same" for a stride of 1, whose odd zero stands at the
    right; ceil(T / stride) steps come out.

        kernel 3:  0 | waveform | 0        kernel 32:  0 x 15 | waveform | 0 x 16

    With `fold` the kernels, once laid out channels last, compute so many steps at a time: see
    `folded`.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        *,
        stride: int = 1,
        bias: bool = True,
        padding: tuple[int, int] | None = None,
        fold: int = 0,
    ) -> None:
        left, right = padding or ((kernel - 1) // 2, kernel // 2)
        shared = min(left, right)
        super().__init__(channels, out, (1, kernel), (1, stride), (0, shared), bias=bias)
        self.ends, self.surplus = (left, right), (left - shared, right - shared)
        self.fold = fold

    def forward(self, input: Tensor) -> Tensor:
        if self.fold and self.weight.stride(1) == 1 and input.device.type == "cpu":
            return folded(input, self.weight, self.bias, self.stride[1], self.ends, self.fold)
        if input.shape[3] == 1 and self.stride[1] > 1:
            # In bfloat16 oneDNN never writes the gradient of kernel values that meet padding alone,
            # and it is then whatever the memory held: so the zeros are made part of the input.
            input = nn.functional.pad(input, self.ends)
            return nn.functional.conv2d(input, self.weight, self.bias, self.stride)
        if any(self.surplus):
            input = nn.functional.pad(input, self.surplus)
        return super().forward(input)


# oneDNN cuts the sum of the gradient of a 1 x 1 kernel by the size of the processor's L1 cache
# where a map has more than about 1,024 steps. Another cut gives other last bits, so none is longer.
SHORT_STEPS = 512


def n_parts(n_steps: int) -> int:
    """Into how many parts of at most SHORT_STEPS a map is cut; equal ones if there are such."""
    least = -(-n_steps // SHORT_STEPS)
    return next((parts for parts in range(least, 3 * least) if n_steps % parts == 0), least)


def folded(
    x: Tensor,
    kernels: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: tuple[int, int],
    fold: int,
) -> Tensor:
    """Convolve `fold` steps at a time, of channels-last (B, C, 1, T): the results are the same.

    oneDNN is slow where a long kernel meets few channels: forward on one channel, backward to 32.
    Here neighbouring samples become channels, and each kernel stands `fold` times, one stride
    further each time, among zeros. Both are views, of the samples and of what comes out. For a
    kernel of 3, stride 1 and fold 2:

        samples    a b | c d | e f        two channels, three steps
        kernel     1 2   3                gives a step from a b c,
                     1   2 3              and the next one from b c d
    """
    n_clips, channels, _, n_samples = x.shape
    out, _, _, kernel = kernels.shape
    n_steps = (sum(padding) + n_samples - kernel) // stride + 1
    block = fold * stride  # samples that become channels
    taps = -(-(block - stride + kernel) // block)
    n_blocks = -(-n_steps // fold) + taps - 1
    # A step that needs no neighbour lets a clip be cut into shorter ones, which is a view.
    parts = n_parts(n_blocks) if taps == 1 else 1
    n_blocks = parts * -(-n_blocks // parts)
    x = nn.functional.pad(x, (padding[0], n_blocks * block - padding[0] - n_samples))
    x = x.permute(0, 2, 3, 1).reshape(n_clips * parts, 1, n_blocks // parts, block * channels)
    shifts = range(0, block, stride)
    widened = [nn.functional.pad(kernels, (i, taps * block - kernel - i)) for i in shifts]
    weight = torch.stack(widened).reshape(fold * out, channels, taps, block)
    weight = weight.permute(0, 2, 3, 1).reshape(fold * out, 1, taps, block * channels)
    bias = None if bias is None else bias.repeat(fold)
    y = nn.functional.conv2d(x.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2), bias)
    y = y.permute(0, 2, 3, 1).reshape(n_clips, 1, -1, out)[:, :, :n_steps]  # (B, 1, T, C)
    return y.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def he(network: nn.Module) -> None:
    """Initialise every convolution to keep the scale through a ReLU (He et al., 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def glorot(layer: nn.Linear) -> nn.Linear:
    """Initialise as Keras does its dense layers: Glorot-uniform weights, zero bias."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def set_batch_norms(network: nn.Module, *, epsilon: float, momentum: float) -> None:
    """Give all batch norms their two constants, in PyTorch's sense of a momentum.

    PyTorch has 1e-5 and 0.1. Keras has 1e-3 and 0.99, which is 0.01 here.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps, module.momentum = epsilon, momentum


def scaled(channels: int, width: float) -> int:
    """Multiply a layer's size by a network's width, keeping at least one channel."""
    return max(1, round(channels * width))


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among the choices, listing them."""
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(choices)}; got {value!r}")
