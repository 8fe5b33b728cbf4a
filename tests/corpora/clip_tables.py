"""Small clips tables for the tests of folds and splits."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from earmark.corpora.splits import assign_splits


def clips_of(
    labels: Iterable[str], *, verified: Any = True, source: Any = None, fold: Any = None
) -> pd.DataFrame:
    """One clip per label, named 00000.wav and so on; a column that is not given is unknown."""
    labels = list(labels)
    n_clips = len(labels)
    return pd.DataFrame(
        {
            "clip": [f"{i:05d}.wav" for i in range(n_clips)],
            "label": labels,
            "verified": np.broadcast_to(verified, n_clips),
            "source": pd.Series([None] * n_clips if source is None else source, dtype="str"),
            "fold": pd.array([None] * n_clips if fold is None else fold, dtype="Int64"),
        }
    )


def splits_of(clips: pd.DataFrame, **options: Any) -> pd.DataFrame:
    """The splits of three stratified folds, unless the options say otherwise."""
    given: dict[str, Any] = {"scheme": "stratified", "k": 3, "seed": 0}
    return assign_splits(clips, **given | {"verified_validation_only": False} | options)
