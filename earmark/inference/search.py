"""The nearest of many embeddings, exactly.

Shapes: N embeddings, D dims.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.spool import blocks_of

_BLOCK_BYTES = 1 << 25


class Nearest(NamedTuple):
    """The rows of the nearest embeddings, nearest first, and their cosine similarities."""

    rows: NDArray[np.int64]
    similarities: NDArray[np.float64]


def nearest(values: NDArray[np.float32], query: NDArray[np.floating[Any]], top: int) -> Nearest:
    """The rows of `values` that are nearest to a query by cosine similarity.

    Every row is compared, some of them at a time, so that an array that is mapped into memory
    never has to be there as a whole. An embedding of zeros is similar to nothing: 0. Of rows that
    are equally near the first come first.

    Args:
        values: embeddings `(N, D)`.
        query: `(D,)`.
        top: how many rows at most.

    >>> near = nearest(np.array([[0, 2], [3, 3], [-1, 0]], np.float32), np.array([0.0, 1.0]), 2)
    >>> near.rows.tolist(), near.similarities.round(3).tolist()
    ([0, 1], [1.0, 0.707])
    """
    unit = (query / (np.linalg.norm(query) or 1.0)).astype(np.float32)
    rows, similarities = np.empty(0, np.int64), np.empty(0, np.float64)
    n_done = 0
    for block in blocks_of(values, max(1, _BLOCK_BYTES // max(1, values[:1].nbytes))):
        norms = np.sqrt(np.vecdot(block, block))
        here = (block @ unit / np.where(norms == 0, 1, norms)).astype(np.float64)
        similarities = np.concatenate([similarities, here])
        rows = np.concatenate([rows, np.arange(n_done, n_done + len(block))])
        n_done += len(block)
        best = np.argsort(-similarities, kind="stable")[:top]
        rows, similarities = rows[best], similarities[best]
    return Nearest(rows, np.clip(similarities, -1.0, 1.0))
