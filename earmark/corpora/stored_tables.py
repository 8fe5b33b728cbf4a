"""The two tables that decode and split write, checked for their columns when they are read."""

from collections.abc import Iterable

import pandas as pd

from earmark.layout import Layout
from earmark.store import read_table


def read_clips(layout: Layout) -> pd.DataFrame:
    """The clips table with the columns that decoding adds, see `decoded_clips.store_clips`.

    Raises:
        UserError: the corpus is not decoded yet.
        DamagedError: data/clips.parquet is no such table.
    """
    columns = ("clip", "label", "source", "verified", "split", "usage", "quarantined", "equal_to")
    return read_table(layout.clips, *columns)


def read_folds(layout: Layout, folds: Iterable[str] = ()) -> pd.DataFrame:
    """The clips that may be used, each with its split in each fold.

    Args:
        folds: that the table must have.

    Raises:
        UserError: the corpus is not split yet.
        DamagedError: data/folds.parquet is no such table.
    """
    return read_table(layout.folds, "clip", "label", *(f"fold_{one}" for one in folds))
