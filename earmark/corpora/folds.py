"""Deal clips into folds of equal balance, and never a recording into two of them.

A clips table has the columns clip, label, verified, source (missing or "" where not known) and,
for official folds, fold. A label is a tag, or several with `;` between them. The result does not
depend on the order of the rows.

Shapes: B clips, K tags.
"""

import logging
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.corpora.sources import is_known
from earmark.labels import tags_of, targets_of
from earmark.seeding import seed_for
from earmark.wording import first_of

logger = logging.getLogger(__name__)

FoldScheme = Literal["stratified", "grouped", "official"]


def assign_folds(clips: pd.DataFrame, *, scheme: FoldScheme, k: int, seed: int) -> pd.Series:
    """Return the fold of every clip, indexed as `clips`: 0 to k - 1, or the corpus' own number.

    stratified and grouped keep the clips of one source in one fold: a recording that is also
    trained on would flatter validation. They spread every tag, then its verified clips, then all
    clips as evenly as the sources allow (to within one clip where no source is shared). grouped
    requires that sources are known. Official folds keep the numbers of the table.

    Args:
        clips: the training clips, with the columns clip, label, source, verified and fold.
        scheme: how clips are assigned.
        k: the number of folds.
        seed: of the order of clips that are alike.

    Raises:
        ValueError: the table or the scheme is wrong, or a class has fewer than k clips.

    >>> from earmark.corpora.clips import clips_table
    >>> names = [f"{i}.wav" for i in range(6)]
    >>> clips = clips_table({"clip": names, "path": names, "label": ["cat", "dog"] * 3})
    >>> fold = assign_folds(clips, scheme="stratified", k=3, seed=1)
    >>> [sorted(clips["label"][fold == n]) for n in range(3)]
    [['cat', 'dog'], ['cat', 'dog'], ['cat', 'dog']]
    """
    check_table(clips)
    if k < 2:
        raise ValueError(f"cv.k must be at least 2, got {k}")
    if scheme == "official":
        return _official_folds(clips, k)
    if scheme not in ("stratified", "grouped"):
        raise ValueError(f"scheme must be stratified, grouped or official, got {scheme!r}")
    if scheme == "grouped" and not is_known(clips["source"]).any():
        raise ValueError("cv.scheme is grouped, but no clip names its source; use stratified")
    _check_class_sizes(clips, k)
    return pd.Series(deal(clips, k, seed), index=clips.index, name="fold")


def check_table(clips: pd.DataFrame) -> None:
    """Raise ValueError unless the clips table can be dealt into folds."""
    missing = [c for c in ("clip", "label", "verified", "source") if c not in clips]
    if missing:
        raise ValueError(f"the clips table lacks the columns {missing}")
    if clips.empty:
        raise ValueError("the clips table is empty; check corpus.root and corpus.table")
    if not clips.index.is_unique:
        raise ValueError("the index of the clips table must be unique")
    twice = clips.loc[clips["clip"].duplicated(), "clip"]
    if len(twice):
        raise ValueError(
            f"clip {twice.iloc[0]} is in the clips table twice; delete one of its rows"
        )
    if not pd.api.types.is_bool_dtype(clips["verified"]):
        raise ValueError(f"column verified must be bool, got {clips['verified'].dtype}")
    for column in ("label", "verified"):
        blank = clips.loc[clips[column].isna(), "clip"]
        if len(blank):
            n_more = len(blank) - 1
            raise ValueError(f"clip {blank.iloc[0]} and {n_more} more have no {column}; fill it in")


def deal(clips: pd.DataFrame, k: int, seed: int) -> NDArray[np.int64]:
    """Give each source, largest first, to the fold that has fewest clips of the same tags.

    Returns the fold of every clip, `(B,)`, from 0 to k - 1. A class may have fewer clips than k.
    """
    tags, group = _tags_and_groups(clips)
    n_clips_of = tags.sum(axis=0)
    verified = clips["verified"].to_numpy()[:, np.newaxis]
    cells = np.hstack([tags * ~verified, tags * verified])  # (B, 2 K)
    rarity, leading = _leading_tags(tags)
    clip_keys = [seed_for(seed, "folds", name) for name in clips["clip"]]
    shuffle = pd.Series(clip_keys).groupby(group).transform("min")
    size = np.bincount(group)[group]
    # Clips without a shared source come last, tag by tag, verified and not: they even out what the
    # larger sources left uneven. Among them, clips of one tag even out those of several.
    n_tags = tags.sum(axis=1)
    keys = (
        group,
        shuffle,
        clips["verified"],
        -n_tags,
        leading,
        rarity,
        -size,
    )  # the last key sorts first
    order = np.lexsort(keys)
    members = pd.Series(order).groupby(group[order], sort=False)
    tag_load, cell_load = np.zeros((k, tags.shape[1])), np.zeros((k, cells.shape[1]))
    clip_load = np.zeros(k)
    folds = np.empty(len(clips), dtype=np.int64)
    for _, rows in members:
        # Adding counts g to loads n raises the sum of squares by 2 n.g + g.g; g.g is the same for
        # every fold, so the fold with the least n.g stays the most even.
        tag_counts, cell_counts = tags[rows].sum(axis=0), cells[rows].sum(axis=0)
        tag_cost = (tag_load / n_clips_of * tag_counts).sum(axis=1)
        cell_cost = (cell_load * cell_counts).sum(axis=1)
        fold = np.lexsort((clip_load, cell_cost, tag_cost))[0]
        tag_load[fold] += tag_counts
        cell_load[fold] += cell_counts
        clip_load[fold] += len(rows)
        folds[rows] = fold
    return folds


def _leading_tags(tags: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """In how many clips each clip's rarest tag is, and which tag that is: it is hardest to spread.

    Where every clip has one tag, all count as equally rare, and the order is that of the names.
    """
    n_clips_of = tags.sum(axis=0)
    rarities = np.where(tags > 0, n_clips_of, len(tags) + 1)  # (B, K)
    leading: NDArray[np.int64] = rarities.argmin(axis=1)
    has_several = (tags.sum(axis=1) > 1).any()
    return n_clips_of[leading] if has_several else np.zeros_like(leading), leading


def _tags_and_groups(clips: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The tags of each clip as 0 and 1 `(B, K)`, and the group `(B,)` whose clips stay together."""
    names = tags_of(clips["label"])
    tags = targets_of(clips["label"].tolist(), names).astype(np.int64)
    source = pd.factorize(clips["source"].where(is_known(clips["source"])))[0].astype(np.int64)
    alone = source.max() + 1 + np.arange(len(clips))  # -1: a clip without a source
    group = pd.factorize(np.where(source < 0, alone, source))[0].astype(np.int64)
    return tags, group


def _official_folds(clips: pd.DataFrame, k: int) -> pd.Series:
    if "fold" not in clips:
        fix = "add it, or set cv.scheme to stratified"
        raise ValueError(f"cv.scheme is official, but the clips table has no column fold; {fix}")
    without = clips.loc[clips["fold"].isna(), "clip"]
    if len(without):
        named = ", ".join(without.iloc[:5])
        raise ValueError(
            f"{len(without)} clips have no official fold ({named}, ...); fill in their fold, or "
            "set cv.scheme to stratified"
        )
    n_folds = clips["fold"].nunique()
    if n_folds != k:
        fix = "set cv.k to that" if n_folds > 1 else "set cv.scheme to stratified"
        raise ValueError(f"the corpus has {n_folds} official folds, not {k}; {fix}")
    return clips["fold"].astype("int64")


def _check_class_sizes(clips: pd.DataFrame, k: int) -> None:
    tags, group = _tags_and_groups(clips)
    names = tags_of(clips["label"])
    counts = zip(names, tags.sum(axis=0), strict=True)
    small = [f"{name} has {count}" for name, count in counts if count < k]
    if small:
        raise ValueError(
            f"every class needs {k} clips for {k} folds, but {first_of(small)}; "
            "add clips, lower cv.k, or leave the class out"
        )
    for index, name in enumerate(names):
        count = len(np.unique(group[tags[:, index] > 0]))
        if count < k:
            logger.warning("class %s has %d sources for %d folds: some lack it", name, count, k)
