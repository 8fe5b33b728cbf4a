"""What the networks share: their base class, a linear layer that stays in float32, and checks."""

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
