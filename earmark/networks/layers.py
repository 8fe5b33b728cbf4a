"""What the networks share: their base class, two layers of a special kind, and checks."""

from typing import ClassVar, Self

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """A network of this package: reads a batch of one kind of input, returns logits (B, K).

    It depends on its constructor's arguments alone, the number of tags and keyword-only options
    that are plain integers, floats, strings and booleans.
    """

    input_kinds: ClassVar[frozenset[str]]

    def channels_last(self) -> Self:
        """Lay the kernels out channels last, and so everything that is computed with them.

        The results are the same. On a processor with bfloat16 a training step under autocast is
        then 2 to 3 times as fast as in float32 with the default layout, of which the layout alone
        is a factor of 1.2 to 1.6 (1.15 in float32).
        """
        # The overloads that torch declares leave memory_format out.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self


class Float32Linear(nn.Linear):
    """A linear layer that computes in float32 whatever autocast says: for logits."""

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.float()
        with torch.autocast(input.device.type, enabled=False):
            return nn.functional.linear(input.float(), self.weight.float(), bias)


class Conv1d(nn.Conv2d):
    """A one-dimensional convolution, 1 x k over the last axis of (B, C, 1, T).

    Written in two dimensions it can run channels_last. The padding is TensorFlow's "same" for a
    stride of 1, whose odd zero stands at the right; ceil(T / stride) steps come out.

        kernel 3:  0 | waveform | 0        kernel 32:  0 x 15 | waveform | 0 x 16
    """

    def __init__(
        self, channels: int, out: int, kernel: int, *, stride: int = 1, bias: bool = True
    ) -> None:
        padding = (kernel - 1) // 2
        super().__init__(channels, out, (1, kernel), (1, stride), (0, padding), bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        if self.kernel_size[1] % 2 == 0:
            input = nn.functional.pad(input, (0, 1))
        return super().forward(input)


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


def scaled(channels: int, width: float) -> int:
    """Multiply a layer's size by a network's width, keeping at least one channel."""
    return max(1, round(channels * width))


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among the choices, listing them."""
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(choices)}; got {value!r}")
