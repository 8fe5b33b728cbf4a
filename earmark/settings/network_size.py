"""How large a network is and what a step of it takes, found without computing any value.

Shapes: B segments, S rows of a segment.
"""

import logging
import os
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from earmark.features import FeatureType
from earmark.networks import Option, build
from earmark.params import Network
from earmark.settings.built import without_values

# A shape that does not fit is reported in one line; torch would log its own report of it as well.
logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)

# The largest network here, VGGish, has 72 million. Weights, gradients, two moments of Adam, the
# running mean and the best epoch are six float32 of each.
MAX_PARAMETERS = 1_000_000_000
BYTES_OF_A_PARAMETER = 24
# Of what the layers of a batch return, which training keeps: more than any machine holds.
MAX_BATCH_BYTES = 1e12
N_SEGMENTS = 2  # that are tried; batch norm needs two


class Load(NamedTuple):
    """Of one segment through the network and its parameters."""

    n_parameters: int
    n_bytes: float  # of what all layers return
    flops: float  # of a forward pass

    def bytes_of(self, n_segments: float) -> float:
        """What training on batches of so many segments keeps in memory, roughly."""
        return n_segments * self.n_bytes + BYTES_OF_A_PARAMETER * self.n_parameters


def load_of(network: Network, feature: FeatureType, n_rows: int) -> Load:
    """Run the network on segments (2, S, ...) without values.

    Raises:
        Exception: whatever the network raises; ValueError if it is one of earmark's.
    """
    return _load_of(network.name, tuple(network.options.items()), feature, n_rows)


@cache  # a segment is asked for by several checks
def _load_of(
    name: str, options: tuple[tuple[str, Option], ...], feature: FeatureType, n_rows: int
) -> Load:
    row_shape = feature.row_shape  # asked for here: a backbone builds its network to tell
    with FakeTensorMode():  # the meta device has no autocast
        built = build(name, 2, dict(options))
        n_values: list[int] = []

        def note(_module: nn.Module, _input: object, output: object) -> None:
            first = output[0] if isinstance(output, tuple) else output
            n_values.append(first.numel() if isinstance(first, Tensor) else 0)

        for module in built.modules():
            if not any(module.children()):
                module.register_forward_hook(note)
        x = feature.network_view(torch.zeros(N_SEGMENTS, n_rows, *row_shape))
        with FlopCounterMode(display=False) as counter:
            built(x)
        n_parameters = sum(parameter.numel() for parameter in built.parameters())
    flops = counter.get_total_flops() / N_SEGMENTS
    return Load(n_parameters, 4 * sum(n_values) / N_SEGMENTS, flops)


def parameter_problems(network: Network, key: str) -> list[str]:
    """Whether a network that can be built has more parameters than can be trained."""
    n_parameters = sum(one.numel() for one in without_values(network).parameters())
    if n_parameters <= MAX_PARAMETERS:
        return []
    return [
        f"{key}: {n_parameters:,} parameters take "
        f"{gigabytes(n_parameters * BYTES_OF_A_PARAMETER)} in training; lower its sizes until "
        f"there are at most {MAX_PARAMETERS:,}"
    ]


def machine_bytes() -> float:
    """The memory of this machine, or of its GPU if torch finds one."""
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def gigabytes(n_bytes: float) -> str:
    """A size in memory for a message."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes < 1e10 else f"{n_bytes / 1e9:,.0f} GB"
