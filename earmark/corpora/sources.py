"""Which clips come from one recording, and so must not be both trained on and validated on."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def is_known(source: pd.Series) -> pd.Series:
    """Where a column of sources names one; "" and missing values mean "not known"."""
    return source.notna() & (source != "")


def merged_sources(clips: pd.DataFrame) -> pd.Series:
    """Sources such that clips with equal samples share one, whatever their own sources are called.

    A recording that is both trained on and validated on would flatter the score.

    Args:
        clips: has the columns clip, source and equal_to (the first clip with the same samples,
            or "").

    Returns:
        The source of each clip, indexed as `clips`; "" for a clip that shares its source with no
        other clip and names none.
    """
    known = is_known(clips["source"])
    rows = dict(zip(clips["clip"], range(len(clips)), strict=True))
    named = [(rows[clip], f"source {s}") for clip, s in clips.loc[known, ["clip", "source"]].values]
    equal = clips.loc[clips["equal_to"].isin(rows.keys()), ["clip", "equal_to"]].values
    # A graph whose nodes are the clips, then the sources; clips that are connected share a source.
    nodes = {name: len(rows) + i for i, name in enumerate(dict.fromkeys(name for _, name in named))}
    edges = [(row, nodes[name]) for row, name in named] + [(rows[a], rows[b]) for a, b in equal]
    if not edges:
        return clips["source"]
    starts, ends = zip(*edges, strict=True)
    size = len(rows) + len(nodes)
    graph = coo_array((np.ones(len(edges)), (starts, ends)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][: len(rows)]
    shared = known.to_numpy() | (np.bincount(group)[group] > 1)
    return pd.Series(np.where(shared, [f"group {g}" for g in group], ""), index=clips.index)
