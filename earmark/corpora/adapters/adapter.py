"""What is known of a corpus beside its clips: how its owners, or a paper, score it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from earmark.corpora.schemes import Scheme
from earmark.errors import UserError
from earmark.params import Metric

NOT_KNOWN = "not known"
VALIDATION_FOLD, TRAINING_FOLD = 0, 1  # of a corpus that names its validation clips


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """One layout of a corpus, and the protocol that its figures are compared under.

    Attributes:
        read_clips: (root, table) -> the clips table; UserError says what was expected where.
        about: what the corpus is, in one line.
        metric: the headline figure of its owners or, where that is not known, of a paper.
        scheme: how clips are held out; official folds come with the corpus.
        k: how many folds the scheme has.
        folds: those that a figure is made from; only fold 0 where the corpus names the clips that
            validate.
        licence: of the set as a whole, or NOT_KNOWN; clips may have their own.
    """

    read_clips: Callable[[Path, str], pd.DataFrame]
    about: str
    metric: Metric
    scheme: Scheme
    k: int
    folds: tuple[int, ...]
    licence: str = NOT_KNOWN


def refuse_table(corpus: str, table: str) -> None:
    """Raise UserError if the user names a csv for a corpus that comes with its own."""
    if table:
        raise UserError(f"corpus.table: {corpus} has its own tables; set it to ''")


def wrong_layout(root: Path, expected: str) -> UserError:
    """The error of a folder that holds no corpus of the adapter's kind."""
    if not root.is_dir():
        return UserError(f"corpus.root: {root} is not a folder; set it to where the corpus lies")
    return UserError(f"corpus.root: {root} has no {expected}; set it to where they lie")
