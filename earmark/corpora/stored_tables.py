"""The tables that decode and split write and the plan, checked for what they must hold."""

from collections.abc import Iterable

import pandas as pd

from earmark.corpora.split_names import fold_columns
from earmark.errors import reading
from earmark.layout import Layout
from earmark.records import Record, read_json, read_table


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
    columns = ("clip", "label", "split", *(f"fold_{one}" for one in folds))
    table = read_table(layout.folds, *columns)
    with reading(layout.folds):
        if not fold_columns(table):
            raise ValueError("no column of a fold in it")
    return table


def read_plan(layout: Layout) -> Record:
    """The members of the ensemble with their groups, and the folds, as `stages.plan` wrote them.

    Raises:
        UserError: there is no plan yet.
        DamagedError: data/plan.json is no such mapping.
    """
    plan = read_json(layout.plan)
    with reading(layout.plan):
        if not isinstance(plan["members"], dict):
            raise ValueError("members is no mapping")
        if not isinstance(plan["folds"], list) or not all(type(f) is str for f in plan["folds"]):
            raise ValueError("folds is no list of names")
    return plan
