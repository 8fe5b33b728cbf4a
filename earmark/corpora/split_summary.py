"""What the metrics report about a split: its size, and the recordings that it divides."""

import logging
from typing import Any

import pandas as pd

from earmark.corpora.sources import is_known, merged_sources
from earmark.corpora.split_names import TRAIN, UNUSED, VALIDATION
from earmark.params import Scheme

logger = logging.getLogger(__name__)


def summarise_split(
    clips: pd.DataFrame, table: pd.DataFrame, *, scheme: Scheme, n_test_copies: int
) -> dict[str, Any]:
    """Count clips and sources; warn where validation has recordings that training has too.

    Official folds are kept even where they divide a source or equal recordings, since published
    scores are compared under them. Sources are counted after `merged_sources`.

    Args:
        clips: all usable clips, with the columns clip, split, source and equal_to.
        table: what `assign_splits` returned for the training clips.
        n_test_copies: training clips that were left out, since they equal test clips.
    """
    sources = merged_sources(clips)
    train_sources = sources.loc[table.index]
    divided = _divided_sources(train_sources, table)
    n_clips = train_sources.value_counts().drop("", errors="ignore")
    is_test = clips["split"] == "test"
    summary = {
        "scheme": scheme,
        "folds_are_official": scheme == "official",
        "folds": list(table.columns),
        "train_clips": len(table),
        "test_clips": int(is_test.sum()),
        "sources_of_several_clips": int((n_clips > 1).sum()),
        "sources_across_folds": len(divided),
        "equal_recordings_across_folds": _n_divided_pairs(clips.loc[table.index], table),
        "sources_across_train_and_test": len(set(sources[~is_test]) & set(sources[is_test]) - {""}),
        "test_copies_dropped": n_test_copies,
    }
    if n_test_copies:
        logger.warning(
            "%d training clips have the sound of test clips and are left out; "
            "cv.drop_test_copies: false would train on them",
            n_test_copies,
        )
    if divided:
        example = clips.loc[sources == divided[0], "clip"].iloc[0]
        logger.warning(
            "%s folds divide %d sources, such as that of clip %s: validation has recordings that "
            "training has too; the folds are kept, and metrics/split.json counts the sources",
            *(scheme, len(divided), example),
        )
    return summary


def _divided_sources(source: pd.Series, table: pd.DataFrame) -> list[str]:
    """The sources that are both trained on and validated on in some fold."""
    known = source[is_known(source)]
    divided: set[str] = set()
    for name in table.columns:
        split = table[name].loc[known.index]
        divided |= set(known[split == TRAIN]) & set(known[split == VALIDATION])
    return sorted(divided)


def _n_divided_pairs(train: pd.DataFrame, table: pd.DataFrame) -> int:
    """How many pairs of equal recordings are trained on and validated on in some fold."""
    pairs = train[train["equal_to"].isin(train["clip"])]
    row_of = pd.Series(train.index, index=train["clip"])
    one = table.loc[pairs.index]
    other = table.loc[row_of[pairs["equal_to"]]].set_axis(one.index, axis=0)
    is_divided = (one != other) & (one != UNUSED) & (other != UNUSED)
    return int(is_divided.any(axis=1).sum())
