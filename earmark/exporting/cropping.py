"""The crops that cover a clip, as operators of a graph: `Input.covering_segments` of a batch.

Shapes: B clips of equal length, N rows of a clip, S of a segment, C crops of a clip.
"""

from collections.abc import Sequence

import numpy as np

from earmark.exporting.graph import Graph, Value
from earmark.taggers.input import Input


def covering_crops(
    graph: Graph, rows: Value, input_: Input, length: int, *, row_shape: Sequence[int]
) -> Value:
    """Cut rows (B, N, ...) into the crops (B * C, S, ...) that together are the clips.

    Args:
        length: S; 0 for clips that are read whole.
        row_shape: of one row.
    """
    if length == 0:
        return rows
    op, ints = graph.op, graph.ints
    n_rows = graph.size(rows, 1)
    n_crops = op("Div", op("Add", n_rows, ints(length - 1)), ints(length))
    starts = op("Mul", op("Range", ints(0), n_crops, ints(1)), ints(length))  # (C,)
    if input_.padding != "tile":  # the last one is right-aligned
        surplus = op("Sub", n_rows, ints(length))
        starts = op("Min", starts, op("Max", surplus, ints(0)))
        if input_.padding == "random":  # a short clip is in the middle; -(x // 2) for x > 0
            half = op("Div", op("Max", op("Neg", surplus), ints(0)), ints(2))
            starts = op("Sub", starts, half)
    positions = op("Add", op("Unsqueeze", starts, ints([1])), ints(np.arange(length)))  # (C, S)
    if input_.padding in ("tile", "tile_gap"):
        crops = op("Gather", rows, op("Mod", positions, n_rows), axis=1)
    else:
        last = op("Sub", n_rows, ints(1))
        inside = op("Min", op("Max", positions, ints(0)), last)
        is_clip = op("Equal", positions, inside)  # (C, S)
        for _ in row_shape:
            is_clip = op("Unsqueeze", is_clip, ints([-1]))
        silence = np.asarray(input_.silence if row_shape else input_.silence[0], np.float32)
        crops = op("Gather", rows, inside, axis=1)
        crops = op("Where", is_clip, crops, graph.floats(silence))
    return op("Reshape", crops, ints([-1, length, *row_shape]))
