"""soxr's resampling as operators of a graph, so that every graph reads the working rate.

To resample is linear, and the same again after every `down` samples. So what soxr makes of single
impulses says all: the weights are read off soxr itself, and the graph computes what soxr computes,
up to rounding.
Shapes: B clips, T samples at the old rate, R at the new one, P phases, W taps.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from earmark.exporting.graph import Graph, Value

_REACH = 110  # samples, at the lower of both rates, that a sample of soxr's "HQ" depends on
_FIRST = 16  # samples of the result in which soxr's start shows


@dataclass(frozen=True, eq=False)
class Weights:
    """What the samples of the result are, as sums of those given.

    Attributes:
        up, down: the rates as a fraction: `up` samples come of `down`.
        before: how many taps lie before the first sample of a block.
        taps: (P, W), P = up: of each sample of a block of `up`; the next block is `down` later.
        first: (W', 16), what soxr adds to the first samples, since it knows nothing before them.
    """

    up: int
    down: int
    before: int
    taps: NDArray[np.float32]
    first: NDArray[np.float32]


@cache
def weights(from_hz: int, to_hz: int) -> Weights:
    """Read the weights off soxr."""
    divisor = math.gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    before = math.ceil(_REACH * max(1, from_hz / to_hz))
    width = before + down + before
    block = 1 + math.ceil(2 * before / down)  # far enough from both ends
    n_samples = (2 * block + 2) * down + 2 * before
    taps = np.zeros((up, width))
    first = np.zeros((width, _FIRST))
    for tap in range(width):
        taps[:, tap] = _response(block * down - before + tap, n_samples, from_hz, to_hz)[
            block * up : (block + 1) * up
        ]
        response = _response(tap, n_samples, from_hz, to_hz)
        first[tap] = response[:_FIRST]
    for sample in range(_FIRST):  # less what the taps give
        start = sample // up * down - before
        inside = np.arange(width) - start
        is_tap = (inside >= 0) & (inside < width)
        first[is_tap, sample] -= taps[sample % up, inside[is_tap]]
    return Weights(up, down, before, taps.astype(np.float32), first.astype(np.float32))


def _response(position: int, n_samples: int, from_hz: int, to_hz: int) -> NDArray[np.float64]:
    impulse = np.zeros(n_samples)
    impulse[position] = 1
    response: NDArray[np.float64] = soxr.resample(impulse, from_hz, to_hz, quality="HQ")
    return response


def resampled(graph: Graph, waveform: Value, *, from_hz: int, to_hz: int) -> Value:
    """Resample (B, T) to (B, R), R the nearest whole number to T * to_hz / from_hz."""
    if from_hz == to_hz:
        return waveform
    one = weights(from_hz, to_hz)
    width, op, ints = one.taps.shape[1], graph.op, graph.ints
    n_samples = graph.size(waveform, 1)
    # (2 T up + down) // (2 down): T * up / down, rounded; a half goes up, as in soxr
    doubled = op("Add", op("Mul", n_samples, ints(2 * one.up)), ints(one.down))
    n_rows = op("Div", doubled, ints(2 * one.down))
    padded = graph.pad(waveform, one.before, width)
    blocks = op(
        "Conv", op("Unsqueeze", padded, ints([1])), graph.floats(one.taps[:, None]),
        strides=[one.down],
    )  # (B, P, blocks)  # fmt: skip
    rows = op("Reshape", op("Transpose", blocks, perm=[0, 2, 1]), ints([0, -1]))
    rows = op("Slice", rows, ints([0]), graph.as_list(n_rows), ints([1]))  # (B, R)
    start = op("Slice", graph.pad(waveform, 0, width), ints([0]), ints([width]), ints([1]))
    first = op("MatMul", start, graph.floats(one.first))  # (B, 16)
    first = op("Slice", graph.pad(first, 0, n_rows), ints([0]), graph.as_list(n_rows), ints([1]))
    return op("Add", rows, first)
