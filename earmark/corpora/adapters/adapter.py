"""What an adapter is: how to read a corpus, and how its owners or a paper score it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from earmark.errors import UserError
from earmark.params import Metric, Scheme

NOT_KNOWN = "not known"
VALIDATION_FOLD, TRAINING_FOLD = 0, 1  # where the corpus itself names the validation clips


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """One layout of a corpus, and the protocol under which scores on it are compared.

    Attributes:
        read_clips: (root, table) -> the clips table; UserError says what was expected where.
        description: of the corpus, in one line.
        metric: the main metric of its owners or, where that is not known, of a paper.
        scheme: how validation clips are chosen; official folds come with the corpus.
        k: how many folds the scheme has.
        folds: those that a score is made from; only fold 0 where the corpus itself names the
            validation clips.
        licence: of the corpus as a whole, or NOT_KNOWN; clips may have their own.
    """

    read_clips: Callable[[Path, str], pd.DataFrame]
    description: str
    metric: Metric
    scheme: Scheme
    k: int
    folds: tuple[int, ...]
    licence: str = NOT_KNOWN


def refuse_table(corpus: str, table: str) -> None:
    """Raise UserError if params.yaml names a csv for a corpus that has its own tables."""
    if table:
        raise UserError(f"corpus.table: {corpus} has its own tables; set it to ''")


def wrong_layout(root: Path, expected: str) -> UserError:
    """The error for a folder that does not hold what the adapter reads."""
    if not root.is_dir():
        return UserError(f"corpus.root: {root} is not a folder; set it to the folder of the corpus")
    return UserError(f"corpus.root: {root} has no {expected}; set it to the folder that holds them")
