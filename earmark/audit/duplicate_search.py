"""The record of a search for duplicates, apart from how they are found."""

from dataclasses import dataclass

import pandas as pd

from earmark.audit.null_distribution import NullDistribution


@dataclass(frozen=True)
class DuplicateSearch:
    """The duplicates among all decoded clips, and how they were found.

    Attributes:
        pairs: one row per pair, with the columns COLUMNS. `first` and `second` are clips,
            `relation` is equal (the same samples), same (the same recording), part (one clip
            contains the other) or overlap; `offset_seconds` is the time in the first clip minus
            that in the second.
        null: the distribution that the threshold for a duplicate comes from.
        n_candidates: how many pairs share codes.
        without_fingerprint: clips that are too short or too quiet to compare.
    """

    pairs: pd.DataFrame
    null: NullDistribution
    n_candidates: int
    without_fingerprint: list[str]
