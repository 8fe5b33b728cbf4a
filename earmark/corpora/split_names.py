"""Names of folds, and what the columns fold_<name> of data/folds.parquet say of a training clip."""

from collections.abc import Sequence

import pandas as pd

from earmark.wording import first_of

TRAIN, VALIDATION, UNUSED = "train", "validation", ""
DROPPED = "dropped"  # by the user: only predicted, in the folds that would validate it


def fold_columns(table: pd.DataFrame) -> list[str]:
    """The columns fold_<name> of a table, one for each fold."""
    return [str(name) for name in table if str(name).startswith("fold_")]


def check_names(folds: Sequence[str], valid: Sequence[str]) -> None:
    """Refuse folds to run that are none of those that the clips are divided into.

    Raises:
        ValueError: with the valid names; those of official folds are numbers of the corpus.
    """
    if unknown := [fold for fold in folds if fold not in valid]:
        raise ValueError(
            f"params.yaml: folds: {first_of(unknown)}: no such fold; choose from "
            f"{first_of(valid, limit=12)}"
        )
