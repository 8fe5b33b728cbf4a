"""Pairs of clips, and the groups that connected pairs form."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


class Pair(NamedTuple):
    """Indices of two clips, and an offset: the time in the first minus that in the second.

    The offset is in units of `fingerprints.UNIT` samples.
    """

    first: int
    second: int
    offset: int


def group_of(pairs: Sequence[tuple[int, int]], n: int) -> NDArray[np.int64]:
    """Number the connected groups of `n` items, of which `pairs` are connected: (n,)."""
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups
