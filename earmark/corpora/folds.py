"""Which clips train and which validate: folds of the clips table, and the roles they give.

A clips table has the columns clip, label, verified, source (missing or "" where not known) and,
for official folds, fold. A label is a tag, or several with `;` between them. Nothing here depends
on the order of its rows but the first_last scheme.

Shapes: B clips, K tags.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earmark.labels import tags_of, targets_of
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
        _check_fold(clips, table[name], is_official=scheme == "official")
    return table


def merged_sources(clips: pd.DataFrame) -> pd.Series:
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


def facts_of(clips: pd.DataFrame, table: pd.DataFrame, *, scheme: Scheme) -> dict[str, Any]:
    """What the metrics must say of a split, and a warning where it lets validation hear training.

    `clips` are all usable ones, with the columns clip, split, source and equal_to; `table` is that
    of `roles`, for the train clips. Official folds are kept even where they part a source or equal
    recordings, since figures are compared under them; how many they part is counted. Sources are
    counted as `merged_sources` joins them.
    """
    joint = merged_sources(clips)
    train = clips.loc[table.index]
    parted = _parted(joint.loc[table.index], table)
    n_clips = joint.loc[table.index].value_counts().drop("", errors="ignore")
    pairs = train[train["equal_to"].isin(train["clip"])]
    row_of = pd.Series(train.index, index=train["clip"])
    own = table.loc[pairs.index]
    other = table.loc[row_of[pairs["equal_to"]]].set_axis(own.index, axis=0)
    is_test = clips["split"] == "test"
    facts = {
        "scheme": scheme,
        "folds_are_official": scheme == "official",
        "folds": list(table.columns),
        "train_clips": len(train),
        "test_clips": int(is_test.sum()),
        "sources_of_several_clips": int((n_clips > 1).sum()),
        "sources_across_folds": len(parted),
        "equal_recordings_across_folds": int(_differ(own, other).any(axis=1).sum()),
        "sources_across_train_and_test": len(set(joint[~is_test]) & set(joint[is_test]) - {""}),
    }
    if parted:
        example = clips.loc[joint == parted[0], "clip"].iloc[0]
        logger.warning(
            "%s folds part %d sources, such as that of clip %s: validation hears what training "
            "heard; they are kept, and counted in metrics/split.json",
            *(scheme, len(parted), example),
        )
    return facts


def _parted(source: pd.Series, table: pd.DataFrame) -> list[str]:
    """The sources that are both trained on and validated on in some fold."""
    known = source[_is_known(source)]
    parted: set[str] = set()
    for name in table.columns:
        role = table[name].loc[known.index]
        parted |= set(known[role == TRAIN]) & set(known[role == VALIDATION])
    return sorted(parted)


def _differ(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Where of two tables of roles one says train and the other validation."""
    return (one != other) & (one != UNUSED) & (other != UNUSED)


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
    tags, group = _tags_and_groups(clips)
    n_clips_of = tags.sum(axis=0)
    verified = clips["verified"].to_numpy()[:, np.newaxis]
    cells = np.hstack([tags * ~verified, tags * verified])  # (B, 2 K)
    rarity, leading = _leading_tags(tags)
    clip_keys = [seed_for(seed, "folds", name) for name in clips["clip"]]
    shuffle = pd.Series(clip_keys).groupby(group).transform("min")
    size = np.bincount(group)[group]
    # Single clips come last, tag by tag and verified or not: they even out what sources left, and
    # those of one tag what those of several left.
    n_tags = tags.sum(axis=1)
    keys = (group, shuffle, clips["verified"], -n_tags, leading, rarity, -size)  # the last is first
    order = np.lexsort(keys)
    members = pd.Series(order).groupby(group[order], sort=False)
    tag_load, cell_load = np.zeros((k, tags.shape[1])), np.zeros((k, cells.shape[1]))
    clip_load = np.zeros(k)
    folds = np.empty(len(clips), dtype=np.int64)
    for _, rows in members:
        # Adding counts g to loads n raises the sum of squares by 2 n.g + g.g: least where n.g is.
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
    """Of each clip the rarest tag, which is the hardest to spread, and in how many clips it is.

    Where every clip has one tag, all count as equally rare: the order is then that of the names.
    """
    n_clips_of = tags.sum(axis=0)
    rarities = np.where(tags > 0, n_clips_of, len(tags) + 1)  # (B, K)
    leading: NDArray[np.int64] = rarities.argmin(axis=1)
    has_several = (tags.sum(axis=1) > 1).any()
    return n_clips_of[leading] if has_several else np.zeros_like(leading), leading


def _tags_and_groups(clips: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The tags of each clip as 0 and 1 `(B, K)`, and the groups `(B,)` that may not be parted."""
    names = tags_of(clips["label"])
    tags = targets_of(clips["label"].tolist(), names).astype(np.int64)
    source = pd.factorize(clips["source"].where(_is_known(clips["source"])))[0].astype(np.int64)
    alone = source.max() + 1 + np.arange(len(clips))  # -1 marks a clip without a source
    group = pd.factorize(np.where(source < 0, alone, source))[0].astype(np.int64)
    return tags, group


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
        raise ValueError(f"the corpus has {len(numbers)} official folds, not {k}: fix cv.k")
    return clips["fold"].map({number: i for i, number in enumerate(numbers)}).astype("int64")


def _first_last(clips: pd.DataFrame, first_share: float) -> pd.DataFrame:
    if not 0 < first_share < 1:
        raise ValueError(f"first_share must lie between 0 and 1, got {first_share}")
    n_train = round(first_share * len(clips))
    row = np.arange(len(clips))
    held_out = {"first": row >= n_train, "last": row < len(clips) - n_train}
    return pd.DataFrame(held_out, index=clips.index)


def _check_class_sizes(clips: pd.DataFrame, k: int) -> None:
    tags, group = _tags_and_groups(clips)
    names = tags_of(clips["label"])
    counts = zip(names, tags.sum(axis=0), strict=True)
    small = [f"{name} has {count}" for name, count in counts if count < k]
    if small:
        raise ValueError(
            f"every class needs {k} clips for {k} folds, but {', '.join(small)}: "
            "add clips, lower cv.k, or leave the class out"
        )
    for index, name in enumerate(names):
        count = len(np.unique(group[tags[:, index] > 0]))
        if count < k:
            logger.warning("class %s has %d sources for %d folds: some lack it", name, count, k)


def _check_fold(clips: pd.DataFrame, role: pd.Series, *, is_official: bool) -> None:
    """Refuse a fold whose network could not learn a class, or could not be judged.

    Of official folds some are never run, such as the one that trains on a validation set: they are
    warned of.
    """
    unheard = set(tags_of(clips["label"])) - set(tags_of(clips.loc[role == TRAIN, "label"]))
    if unheard and is_official:
        logger.warning(
            "official fold %s trains on no clip of %s", role.name, ", ".join(sorted(unheard))
        )
    elif unheard:
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
