"""For each fold: which clips train, which validate, and which are left out.

A clips table has the columns clip, label, verified, source (missing or "" where not known) and,
for official folds, fold. A label is a tag, or several with `;` between them. Only the scheme
first_last depends on the order of the rows.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.corpora.folds import assign_folds, check_table, deal
from earmark.corpora.sources import is_known, merged_sources
from earmark.corpora.split_names import TRAIN, UNUSED, VALIDATION, check_names
from earmark.errors import UserError
from earmark.labels import SEPARATOR, tags_of
from earmark.params import CrossValidation, Scheme
from earmark.wording import first_of

logger = logging.getLogger(__name__)

FIRST_SHARE = 8000 / 9473  # Xu et al., section 2.2: 8000 of 9473 clips train, in file order


def split_training_clips(
    clips: pd.DataFrame, cv: CrossValidation, *, folds: Sequence[str], seed: int
) -> pd.DataFrame:
    """Assign the usable training clips of a corpus to a split in every fold of the scheme.

    All folds of the scheme are assigned, whichever are run, so that running one more changes no
    other.

    Args:
        clips: the clips table with the columns quarantined and equal_to, which decoding adds.
        folds: names of those that are run, which must be folds of the scheme.

    Returns:
        What `assign_splits` returns.

    Raises:
        UserError: a class has no usable clip, or the clips cannot be divided by this scheme.
    """
    usable = usable_clips(clips, cv)
    train = usable[usable["split"] == "train"]
    labels = clips.loc[clips["split"] == "train", "label"]
    lost = set(tags_of(labels)) - set(tags_of(train["label"]))
    if lost:
        copies = " or equal to test clips" if cv.drop_test_copies else ""
        fix = "fix them (metrics/decode.json counts the reasons), or drop the class"
        raise UserError(f"class {min(lost)}: all of its clips are in quarantine{copies}; {fix}")
    try:
        table = assign_splits(
            train.assign(source=merged_sources(train)),
            scheme=cv.scheme,
            k=cv.k,
            seed=seed,
            verified_validation_only=cv.verified_validation_only,
        )
        check_names(folds, [str(name) for name in table])
        return table
    except ValueError as error:
        raise UserError(str(error)) from error


def usable_clips(clips: pd.DataFrame, cv: CrossValidation) -> pd.DataFrame:
    """The rows that are not in quarantine, without copies of test clips where cv leaves them out.

    A network that trained on a test clip would be scored on what it knows by heart. Copies have
    exactly the same samples once they are decoded, under whatever name or container.
    """
    usable = clips[~clips["quarantined"]]
    if not cv.drop_test_copies:
        return usable
    first = usable["equal_to"].where(usable["equal_to"] != "", usable["clip"])
    is_test = usable["split"] == "test"
    return usable[is_test | ~first.isin(first[is_test])]


def folds_table(
    usable: pd.DataFrame, assigned: pd.DataFrame, *, inner_share: float, seed: int
) -> pd.DataFrame:
    """The table of all usable clips, in which a column fold_<name> holds a clip's split.

    A column inner_<name> says which training clips of that fold the recipe inner_split holds out.

    Args:
        usable: what `usable_clips` returned.
        assigned: what `assign_splits` returned for the training clips; test clips get "test".
        inner_share, seed: as for `inner_split`.
    """
    columns = [f"fold_{name}" for name in assigned.columns]
    clips = usable[["clip", "split", "label", "aux_label", "verified"]]
    folds = clips.join(assigned.set_axis(columns, axis=1))
    folds[columns] = folds[columns].fillna("").where(folds["split"] == "train", "test")
    usable = usable.assign(source=merged_sources(usable))
    for name, column in zip(assigned.columns, columns, strict=True):
        is_trained_on = folds[column] == TRAIN
        folds[f"inner_{name}"] = False
        is_inner = inner_split(usable[is_trained_on], inner_share, seed=seed)
        folds.loc[is_trained_on, f"inner_{name}"] = is_inner
    return folds.reset_index(drop=True)


def inner_split(clips: pd.DataFrame, share: float, *, seed: int) -> NDArray[np.bool_]:
    """Which `(B,)` of a fold's training clips are held out, so that they can choose an epoch.

    About `share` of them, balanced by label and verified flag, the clips of one source together. A
    tag keeps at least one clip to train on, its sources permitting.
    """
    is_inner: NDArray[np.bool_] = deal(clips, round(1 / share), seed) == 0
    tags = clips["label"].str.split(SEPARATOR)
    trained_on = set(tags[~is_inner].explode())
    is_inner &= [trained_on.issuperset(own) for own in tags]
    return is_inner


def assign_splits(
    clips: pd.DataFrame,
    *,
    scheme: Scheme,
    k: int,
    seed: int,
    verified_validation_only: bool,
    first_share: float = FIRST_SHARE,
) -> pd.DataFrame:
    """Divide the training clips of a corpus into training and validation, once for each fold.

    Fold "i" validates on the clips of fold i and trains on the rest; official folds have the
    numbers of the corpus, all others are "0" to "k - 1". With first_last, "first"
    trains on the first `first_share` of the rows and "last" on as many last rows. The others
    validate; those whose source is among the training clips are unused.

    Args:
        clips: the clips table, without the test clips.
        verified_validation_only: leave unverified clips out of validation.

    Returns:
        One column per fold with TRAIN, VALIDATION or UNUSED, indexed as `clips`.

    Raises:
        ValueError: the table cannot be divided so; the message says how to fix it.
    """
    check_table(clips)
    validates = _validation_clips(clips, scheme, k, seed, first_share)
    table = pd.DataFrame(index=clips.index)
    for name in validates:
        table[name] = np.where(validates[name], VALIDATION, TRAIN)
        if scheme == "first_last":
            sources = clips["source"].where(is_known(clips["source"]))
            is_trained_on = sources.isin(sources[~validates[name]].dropna())
            table.loc[validates[name] & is_trained_on, name] = UNUSED
        if verified_validation_only:
            table.loc[validates[name] & ~clips["verified"], name] = UNUSED
        _check_fold(clips, table[name], scheme)
    return table


def _validation_clips(
    clips: pd.DataFrame, scheme: Scheme, k: int, seed: int, first_share: float
) -> pd.DataFrame:
    """One column of booleans per fold of the scheme: whether the clip validates."""
    if scheme == "first_last":
        return _first_last(clips, first_share)
    fold_of = assign_folds(clips, scheme=scheme, k=k, seed=seed)
    folds = sorted(set(fold_of)) if scheme == "official" else range(k)
    return pd.DataFrame({str(fold): fold_of == fold for fold in folds})


def _first_last(clips: pd.DataFrame, first_share: float) -> pd.DataFrame:
    if not 0 < first_share < 1:
        raise ValueError(f"first_share must be between 0 and 1, got {first_share}")
    n_train = round(first_share * len(clips))
    row = np.arange(len(clips))
    validates = {"first": row >= n_train, "last": row < len(clips) - n_train}
    return pd.DataFrame(validates, index=clips.index)


def _check_fold(clips: pd.DataFrame, split: pd.Series, scheme: Scheme) -> None:
    """Refuse a fold that trains on no clip of a class, or that has nothing to validate on.

    Some official folds are never run, such as the one that trains on a validation set: they only
    cause a warning.
    """
    missing = set(tags_of(clips["label"])) - set(tags_of(clips.loc[split == TRAIN, "label"]))
    if missing and scheme == "official":
        logger.warning(
            "official fold %s trains on no clip of %s", split.name, first_of(sorted(missing))
        )
    elif missing:
        why, fix = "they have one source", "add clips of another, or leave the source empty"
        if scheme == "first_last":
            why, fix = "of their position in the table", "add clips, or set cv.scheme to stratified"
        raise ValueError(
            f"fold {split.name} trains on no clip of {first_of(sorted(missing))}: all of them "
            f"validate, because {why}; {fix}"
        )
    if not (split == VALIDATION).any():
        raise ValueError(
            f"fold {split.name} has no clip to validate on; "
            "set verified_validation_only: false or choose other folds"
        )
