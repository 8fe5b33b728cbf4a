"""Which clips train and which validate: folds of the clips table, and the roles they give.

A clips table has the columns clip, label, verified, source (missing or "" where not known) and,
for official folds, fold. Nothing here depends on the order of its rows but the first_last scheme.
"""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earmark.seeding import seed_for

logger = logging.getLogger(__name__)

FoldScheme = Literal["stratified", "grouped", "official"]
Scheme = Literal["stratified", "grouped", "official", "first_last"]

TRAIN, VALIDATION, UNUSED = "train", "validation", ""
FIRST_SHARE = 8000 / 9473  # Xu et al., section 2.2: 8000 of 9473 clips train, in file order


def assign_folds(clips: pd.DataFrame, *, scheme: FoldScheme, k: int, seed: int) -> pd.Series:
    """Return the fold, 0 to k - 1, of every clip, indexed as `clips`.

    Both stratified and grouped keep the clips of a source in one fold, since a recording heard in
    training would flatter validation; they spread every tag, then its verified clips, then the
    clips as evenly as that allows (to within one clip where no source is shared). Grouped
    insists that sources are known. Official folds are renumbered from 0 in rising order.
    """
    validate(clips)
    if k < 2:
        raise ValueError(f"cv.k must be at least 2, got {k}")
    if scheme == "official":
        return _official_folds(clips, k)
    if scheme not in ("stratified", "grouped"):
        raise ValueError(f"scheme must be stratified, grouped or official, got {scheme!r}")
    if scheme == "grouped" and not _is_known(clips["source"]).any():
        raise ValueError("cv.scheme is grouped, but no clip names its source; use stratified")
    _check_class_sizes(clips, k)
    return pd.Series(_deal(clips, k, seed), index=clips.index, name="fold")


def roles(
    clips: pd.DataFrame,
    *,
    scheme: Scheme,
    k: int,
    folds: Sequence[str | int],
    seed: int,
    verified_validation_only: bool,
    first_share: float = FIRST_SHARE,
) -> pd.DataFrame:
    """Return one column per fold name with train, validation or "" (unused), indexed as `clips`.

    Fold "i" validates on the clips of fold i and trains on the rest. With first_last, "first"
    trains on the first `first_share` of the rows and "last" on as many last rows; the others
    validate, but for those whose source is among the training clips, which are unused.
    """
    validate(clips)
    if scheme == "first_last":
        held_out = _first_last(clips, first_share)
    else:
        fold_of = assign_folds(clips, scheme=scheme, k=k, seed=seed)
        held_out = pd.DataFrame({str(fold): fold_of == fold for fold in range(k)})
    names = [str(fold) for fold in folds]
    strangers = [name for name in names if name not in held_out]
    if strangers or not names:
        raise ValueError(f"folds must be among {list(held_out)}, got {names}")
    table = pd.DataFrame(index=clips.index)
    for name in names:
        table[name] = np.where(held_out[name], VALIDATION, TRAIN)
        if scheme == "first_last":
            sources = clips["source"].where(_is_known(clips["source"]))
            heard = sources.isin(sources[~held_out[name]].dropna())
            table.loc[held_out[name] & heard, name] = UNUSED
        if verified_validation_only:
            table.loc[held_out[name] & ~clips["verified"], name] = UNUSED
        _check_fold(clips, table[name])
    return table


def joint_sources(clips: pd.DataFrame) -> pd.Series:
    """Sources such that clips with equal samples share one, whatever their own sources are called.

    `clips` has the columns clip, source and equal_to: the first clip with the same samples, or "".
    Heard in training and in validation, such a pair would flatter the score.
    """
    known = _is_known(clips["source"])
    rows = dict(zip(clips["clip"], range(len(clips)), strict=True))
    own = [(rows[clip], f"source {s}") for clip, s in clips.loc[known, ["clip", "source"]].values]
    equal = clips.loc[clips["equal_to"].isin(rows.keys()), ["clip", "equal_to"]].values
    nodes = {name: len(rows) + i for i, name in enumerate(dict.fromkeys(name for _, name in own))}
    pairs = [(row, nodes[name]) for row, name in own] + [(rows[a], rows[b]) for a, b in equal]
    if not pairs:
        return clips["source"]
    starts, ends = zip(*pairs, strict=True)
    size = len(rows) + len(nodes)
    graph = coo_array((np.ones(len(pairs)), (starts, ends)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][: len(rows)]
    shared = known.to_numpy() | (np.bincount(group)[group] > 1)
    return pd.Series(np.where(shared, [f"group {g}" for g in group], ""), index=clips.index)


def validate(clips: pd.DataFrame) -> None:
    """Raise ValueError unless the clips table can be split."""
    missing = [c for c in ("clip", "label", "verified", "source") if c not in clips]
    if missing:
        raise ValueError(f"the clips table lacks the columns {missing}")
    if clips.empty:
        raise ValueError("the clips table is empty")
    if not clips.index.is_unique:
        raise ValueError("the index of the clips table must be unique")
    twice = clips.loc[clips["clip"].duplicated(), "clip"]
    if len(twice):
        raise ValueError(f"clip {twice.iloc[0]} stands in the clips table twice")
    if not pd.api.types.is_bool_dtype(clips["verified"]):
        raise ValueError(f"column verified must be bool, got {clips['verified'].dtype}")
    for column in ("label", "verified"):
        blank = clips.loc[clips[column].isna(), "clip"]
        if len(blank):
            raise ValueError(f"clip {blank.iloc[0]} has no {column} ({len(blank)} such clips)")


def _deal(clips: pd.DataFrame, k: int, seed: int) -> NDArray[np.int64]:
    """Give each source, the largest first, to the fold that has least of what it holds."""
    label, cell, group = _codes(clips)
    label_size = np.bincount(label)
    clip_keys = [seed_for(seed, "folds", name) for name in clips["clip"]]
    shuffle = pd.Series(clip_keys).groupby(group).transform("min")
    size = np.bincount(group)[group]
    # Single clips come last, tag by tag and verified or not: they even out what sources left.
    order = np.lexsort((group, shuffle, cell, label, -size))
    members = pd.Series(order).groupby(group[order], sort=False)
    label_load = np.zeros((k, label.max() + 1))
    cell_load = np.zeros((k, cell.max() + 1))
    folds = np.empty(len(clips), dtype=np.int64)
    for _, rows in members:
        # Adding counts g to loads n raises the sum of squares by 2 n.g + g.g: least where n.g is.
        label_cost = (label_load / label_size)[:, label[rows]].sum(axis=1)
        cell_cost = cell_load[:, cell[rows]].sum(axis=1)
        fold = np.lexsort((label_load.sum(axis=1), cell_cost, label_cost))[0]
        np.add.at(label_load[fold], label[rows], 1)
        np.add.at(cell_load[fold], cell[rows], 1)
        folds[rows] = fold
    return folds


def _codes(clips: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number the tags, the tags split by verified, and the groups that may not be parted."""
    label = pd.factorize(clips["label"], sort=True)[0].astype(np.int64)
    cell = 2 * label + clips["verified"].to_numpy(dtype=np.int64)
    source = pd.factorize(clips["source"].where(_is_known(clips["source"])))[0].astype(np.int64)
    alone = source.max() + 1 + np.arange(len(clips))  # -1 marks a clip without a source
    group = pd.factorize(np.where(source < 0, alone, source))[0].astype(np.int64)
    return label, cell, group


def _official_folds(clips: pd.DataFrame, k: int) -> pd.Series:
    if "fold" not in clips:
        raise ValueError("cv.scheme is official, but the clips table has no column fold")
    without = clips.loc[clips["fold"].isna(), "clip"]
    if len(without):
        named = ", ".join(without.iloc[:5])
        raise ValueError(
            f"{len(without)} clips have no official fold ({named}, ...); use stratified"
        )
    numbers = sorted(clips["fold"].unique())
    if len(numbers) != k:
        raise ValueError(f"the corpus has {len(numbers)} official folds, not {k}: mend cv.k")
    return clips["fold"].map({number: i for i, number in enumerate(numbers)}).astype("int64")


def _first_last(clips: pd.DataFrame, first_share: float) -> pd.DataFrame:
    if not 0 < first_share < 1:
        raise ValueError(f"first_share must lie between 0 and 1, got {first_share}")
    n_train = round(first_share * len(clips))
    row = np.arange(len(clips))
    held_out = {"first": row >= n_train, "last": row < len(clips) - n_train}
    return pd.DataFrame(held_out, index=clips.index)


def _check_class_sizes(clips: pd.DataFrame, k: int) -> None:
    counts = clips.groupby("label").size()
    small = [f"{label} has {count}" for label, count in counts.items() if count < k]
    if small:
        raise ValueError(
            f"every class needs {k} clips for {k} folds, but {', '.join(small)}: "
            "add clips, lower cv.k, or leave the class out"
        )
    groups = pd.DataFrame({"label": clips["label"].to_numpy(), "group": _codes(clips)[2]})
    for label, count in groups.drop_duplicates().groupby("label").size().items():
        if count < k:
            logger.warning("class %s has %d sources for %d folds: some lack it", label, count, k)


def _check_fold(clips: pd.DataFrame, role: pd.Series) -> None:
    """Refuse a fold whose network could not learn a class, or could not be judged."""
    unheard = set(clips["label"]) - set(clips.loc[role == TRAIN, "label"])
    if unheard:
        raise ValueError(
            f"fold {role.name} trains on no clip of {', '.join(sorted(unheard))}: all of them are "
            "held out, by their place in the table or as one source; use stratified, add clips, "
            "or leave the source empty"
        )
    if not (role == VALIDATION).any():
        raise ValueError(
            f"fold {role.name} has no clip to validate on; "
            "set verified_validation_only: false or choose other folds"
        )


def _is_known(source: pd.Series) -> pd.Series:
    return source.notna() & (source != "")
