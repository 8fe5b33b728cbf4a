"""The network `linear` as operators: torch's exporter cannot follow its pooling of whole clips.

Shapes: B clips of equal length, N rows, D values of a row, G groups of columns, W windows, K tags.
"""

import numpy as np
from numpy.typing import NDArray

from earmark.exporting.graph import Graph, Value
from earmark.networks import pooling
from earmark.networks.linear import Linear
from earmark.taggers.tagger import Tagger

# Private where they stand: their code is part of what `linear` is tracked by.
_BANDS, _PEAKS, _LEAST_POWER = pooling._BANDS, pooling._PEAKS, pooling._LEAST_POWER


def probabilities_of_linear(graph: Graph, rows: Value, tagger: Tagger) -> Value:
    """Probabilities (B, K) of whole clips (B, N, D), of the network `linear`."""
    network, op = tagger.network, graph.op
    assert isinstance(network, Linear)
    mean, std = (graph.floats(one) for one in (tagger.input.mean, tagger.input.std))
    x = op("Div", op("Sub", rows, mean), std)
    pooled = _pooled(graph, x, network.pooling, network.n_inputs)
    features = op(
        "Div", op("Sub", pooled, graph.floats(network.mean)), graph.floats(network.deviation)
    )
    weight, bias = (one.detach().numpy()[: len(tagger.tags)] for one in network.head.parameters())
    logits = op("Gemm", features, graph.floats(weight), graph.floats(bias), transB=1)
    is_softmax = tagger.activation == "softmax"
    return op("Softmax", logits, axis=1) if is_softmax else op("Sigmoid", logits)


def _pooled(graph: Graph, x: Value, kind: str, n_inputs: int) -> Value:
    """Vectors (B, P), see `earmark.networks.pooling.pooled`."""
    op, ints, over_time = graph.op, graph.ints, graph.ints([1])
    mean = op("ReduceMean", x, over_time, keepdims=1)  # (B, 1, D)
    highest = op("ReduceMax", x, over_time, keepdims=0)
    vectors = [op("Squeeze", mean, over_time)]
    if kind == "mean_max":
        vectors.append(highest)
    if kind in ("statistics", "modulation"):
        deviation = op("Sub", x, mean)
        variance = op("ReduceMean", op("Mul", deviation, deviation), over_time, keepdims=0)
        lowest = op("ReduceMin", x, over_time, keepdims=0)
        later = op("Slice", x, ints([1]), ints([np.iinfo(np.int64).max]), ints([1]))
        earlier = op("Slice", x, ints([0]), ints([-1]), ints([1]))
        steps = op("ReduceSum", op("Abs", op("Sub", later, earlier)), over_time, keepdims=0)
        n_steps = op("Max", op("Sub", graph.size(x, 1), ints(1)), ints(1))
        step = op("Div", steps, graph.cast(n_steps, np.float32))
        vectors += [op("Sqrt", variance), lowest, highest, step]
    if kind == "modulation":
        vectors.append(_modulation_spectrum(graph, x, n_inputs))
    return op("Concat", *vectors, axis=1)


def _modulation_spectrum(graph: Graph, x: Value, n_inputs: int) -> Value:
    """(B, 14 G), see `earmark.networks.pooling.modulation_spectrum`."""
    op, ints, length = graph.op, graph.ints, pooling.WINDOW_ROWS
    groups = op("MatMul", x, graph.floats(_averaging(n_inputs)))  # (B, N, G)
    n_rows = graph.size(x, 1)
    n_read = op("Max", n_rows, ints(length))  # a shorter clip is repeated
    last = op("Div", op("Sub", n_read, ints(length)), ints(length // 2))
    firsts = op("Mul", op("Range", ints(0), op("Add", last, ints(1)), ints(1)), ints(length // 2))
    positions = op("Add", op("Unsqueeze", firsts, ints([1])), ints(np.arange(length)))  # (W, rows)
    windows = op("Gather", groups, op("Mod", positions, n_rows), axis=1)  # (B, W, rows, G)
    windows = op("Sub", windows, op("ReduceMean", windows, ints([2]), keepdims=1))
    rows = np.arange(length)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * rows / length)
    turns = 2 * np.pi * np.outer(np.arange(length // 2 + 1), rows) / length  # (bins, rows)
    real, imaginary = (
        op("MatMul", graph.floats(wave * taper), windows) for wave in (np.cos(turns), np.sin(turns))
    )
    powers = op("Add", op("Mul", real, real), op("Mul", imaginary, imaginary))  # (B, W, bins, G)
    power = op("ReduceMean", powers, ints([1]), keepdims=0)  # (B, bins, G)
    power = op("Add", power, graph.floats(_LEAST_POWER))

    def of_bins(low: int, high: int, reduction: str) -> Value:
        band = op("Slice", power, ints([low]), ints([high]), ints([1]))
        return op(reduction, band, ints([1]), keepdims=0)  # (B, G)

    bands = [of_bins(low, high, "ReduceMean") for low, high in _BANDS]
    peaks = [
        op("Div", of_bins(low, high, "ReduceMax"), of_bins(low, high, "ReduceMean"))
        for low, high in _PEAKS
    ]
    return op("Log", op("Concat", *bands, *peaks, axis=1))


def _averaging(n_inputs: int) -> NDArray[np.float32]:
    """The matrix (D, G) of torch's `adaptive_avg_pool1d`."""
    n_groups = min(n_inputs, pooling.MOST_GROUPS)
    matrix = np.zeros((n_inputs, n_groups), np.float32)
    for group in range(n_groups):
        first, end = group * n_inputs // n_groups, -(-(group + 1) * n_inputs // n_groups)
        matrix[first:end, group] = 1 / (end - first)
    return matrix
