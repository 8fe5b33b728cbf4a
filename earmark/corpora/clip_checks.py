"""Everything that is wrong with the clips table of a corpus, in lines that name the fix."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from earmark.corpora.clips import SCHEMA
from earmark.corpora.file_checks import leaves_root, missing_problems
from earmark.corpora.split_names import check_names
from earmark.corpora.text_tables import refused_in_path
from earmark.errors import UserError
from earmark.labels import SEPARATOR, is_multi_label, tags_of
from earmark.params import CrossValidation
from earmark.sound.excerpts import SHORTEST_SECONDS
from earmark.wording import first_of, hidden_in, look_alikes, named, shortened

logger = logging.getLogger(__name__)

_LONGEST_TAG = 200  # characters
_SHORTEST = SHORTEST_SECONDS - 1e-9  # times such as 0.3 and 0.31 are not exact


def problems_of(
    clips: pd.DataFrame, *, root: Path, cv: CrossValidation, folds: Sequence[str]
) -> list[str]:
    """Everything that is wrong with the clips table of a corpus, one line each, with its fix."""
    return [
        *_schema_problems(clips),
        *_character_problems(clips),
        *_name_problems(clips),
        *_path_problems(clips, root),
        *_excerpt_problems(clips),
        *_tag_problems(clips),
        *_look_alike_problems(clips),
        *_label_problems(clips, 1 if cv.scheme == "first_last" else cv.k),
        *_aux_label_problems(clips),
        *(_fold_problems(clips, cv.k, folds) if cv.scheme == "official" else []),
    ]


def check_clips(
    clips: pd.DataFrame, *, root: Path, cv: CrossValidation, folds: Sequence[str]
) -> None:
    """Refuse a clips table that the pipeline cannot use.

    Args:
        clips: a table of SCHEMA.
        root: the folder that its paths start from.
        cv: whose folds the clips must be enough for.
        folds: names of those to run, which must be in the table if they are official.

    Raises:
        UserError: every problem of the table, one line each, with its fix.
    """
    problems = problems_of(clips, root=root, cv=cv, folds=folds)
    if problems:
        raise UserError(*problems)


def _fault(clips: pd.Series, problem: str) -> list[str]:
    """One line for all clips that have a problem, the first of them by name; [] for no clip."""
    return [f"corpus: {named('clip', clips.tolist())}: {problem}"] if len(clips) else []


def _schema_problems(clips: pd.DataFrame) -> list[str]:
    try:
        SCHEMA.validate(clips, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases.dropna(subset="index")
        return [
            problem
            for (column, check), rows in cases.groupby(["column", "check"], sort=False)
            for problem in _fault(
                clips.loc[rows["index"].unique(), "clip"],
                f"column {column}: {rows['failure_case'].iloc[0]!r} fails {check}; "
                "fix it in the table",
            )
        ] or [" ".join(f"corpus: {error}; fix the table".split())]
    return []


def _character_problems(clips: pd.DataFrame) -> list[str]:
    """Names and labels with characters that show nothing, which terminals and readers mistake."""
    problems = []
    for column in ("path", "label", "aux_label", "source", "licence"):
        unique = clips[column].unique().tolist()
        find = refused_in_path if column == "path" else hidden_in
        if bad := {text: hidden for text in unique if (hidden := find(text))}:
            rows = clips.loc[clips[column].isin(bad), ["clip", column]]
            what = f"{column} has the hidden character {bad[rows[column].iloc[0]]}"
            fix = "rename the file or folder" if column == "path" else "delete it"
            problems += _fault(rows["clip"], f"{what}; {fix}")
    return problems


def _name_problems(clips: pd.DataFrame) -> list[str]:
    counts = clips["clip"].value_counts()
    counts = counts[counts > 1].sort_index()
    if counts.empty:
        return []
    times = f"in the table {counts.iloc[0]} times" if len(counts) == 1 else "each more than once"
    fix = "names must be unique, so delete or rename the others"
    return _fault(pd.Series(counts.index), f"{times}; {fix}")


def _path_problems(clips: pd.DataFrame, root: Path) -> list[str]:
    if len(clips) == 0:
        return [f"corpus: no clip found under {root}; check corpus.root and corpus.table"]
    outside = clips[leaves_root(clips["path"])]
    if len(outside):
        fix = "give paths inside it, or set corpus.root to a folder above them all"
        example = shortened(outside["path"].iloc[0])
        problem = f"path {example} leaves the corpus root {root}; {fix}"
        return _fault(outside["clip"], problem)
    return missing_problems(clips, root)


def _excerpt_problems(clips: pd.DataFrame) -> list[str]:
    """Excerpts without a sound in them; decoding finds those that end after their file."""
    start = clips["start_seconds"].fillna(0)
    backwards = clips[clips["end_seconds"] <= start]
    end = backwards["end_seconds"].head(1).sum()
    problem = f"ends at {end:g} s, which is not after its start; correct end_seconds"
    short = clips[(clips["end_seconds"] > start) & (clips["end_seconds"] - start < _SHORTEST)]
    fix = f"shorter than {_SHORTEST:g} s; widen start_seconds and end_seconds"
    return _fault(backwards["clip"], problem) + _fault(short["clip"], fix)


def _tag_problems(clips: pd.DataFrame) -> list[str]:
    """Labels that are not tags with `;` between them, each tag once and without spaces."""
    labels = clips["label"].unique()
    faults = {
        "an empty tag in {}; delete the ;": [one for one in labels if one and "" in _tags(one)],
        "a tag is twice in {}; write it once": [
            one for one in labels if len(set(_tags(one))) < len(_tags(one))
        ],
        "a tag in {} has spaces; write _ instead": [
            one for one in labels if any(tag != "_".join(tag.split()) for tag in _tags(one))
        ],
        f"a tag in {{}} has over {_LONGEST_TAG} characters; shorten it": [
            one for one in labels if any(len(tag) > _LONGEST_TAG for tag in _tags(one))
        ],
    }
    problems = []
    for problem, bad in faults.items():
        if bad:
            rows = clips.loc[clips["label"].isin(bad), ["clip", "label"]]
            label = shortened(rows["label"].iloc[0])
            problems += _fault(rows["clip"], problem.format(repr(label)))
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    several = test.loc[test["label"].str.contains(SEPARATOR), "clip"]
    if not is_multi_label(train["label"]):
        problems += _fault(
            several,
            "several tags, but every training clip has one; write one, or label the training "
            "clips with all of their tags",
        )
    return problems


def _tags(label: str) -> list[str]:
    return label.split(SEPARATOR)


def _look_alike_problems(clips: pd.DataFrame) -> list[str]:
    """Tags that a reader takes for one; sources of that kind may be two, and are only named."""
    for group in look_alikes(clips["source"].unique())[:1]:
        text = "sources %s differ only in case or Unicode form; they count as different recordings"
        logger.warning(text, " and ".join(map(ascii, group)))
    groups = look_alikes(tags_of(clips["label"]))
    if not groups:
        return []
    pairs = [" and ".join(map(ascii, group)) for group in groups]
    differ = "differ only in case or Unicode form; write one of them everywhere"
    return [f"corpus: classes {first_of(pairs)} {differ}"]


def _label_problems(clips: pd.DataFrame, k: int) -> list[str]:
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    without = train.loc[train["label"] == "", "clip"]
    problems = _fault(without, "no label; label it, or set its split to test")
    counts = clip_counts(train["label"])
    if small := [f"{tag} ({n})" for tag, n in counts.items() if n < k]:
        fix = "add clips, drop the class, or lower cv.k"
        few = f"fewer clips than {k} folds"
        problems.append(f"corpus: {named('class', small, 'classes')}: {few}; {fix}")
    if unknown := sorted(set(tags_of(test["label"])) - set(counts.index)):
        fix = "add training clips, or empty those labels"
        problems.append(
            f"corpus: {named('class', unknown, 'classes')}: only in the test set; {fix}"
        )
    if "unknown" in counts.index:
        text = "class unknown: `predict` also answers so where it rejects a clip; rename it"
        logger.warning("corpus: %s if that is not meant", text)
    if len(clips) and len(counts) < 2:
        problems.append("corpus: a tagger needs at least 2 classes; label clips of another class")
    return problems


def clip_counts(labels: pd.Series) -> pd.Series:
    """How many clips each tag has, the most frequent first; a clip may have several tags."""
    tags = labels.str.split(SEPARATOR).explode()
    return tags[tags != ""].value_counts()


def _aux_label_problems(clips: pd.DataFrame) -> list[str]:
    """The auxiliary task needs one tag for every training clip, and at least two tags in all."""
    train = clips[clips["split"] == "train"]
    aux_labels = train["aux_label"]
    if (aux_labels == "").all():
        return []
    problems = []
    fix = "fill in the column aux_label, or delete it"
    problems += _fault(
        train.loc[aux_labels == "", "clip"], f"no aux_label, but other clips have one; {fix}"
    )
    is_plain = [SEPARATOR not in one and one == "_".join(one.split()) for one in clips["aux_label"]]
    bad = clips[~np.array(is_plain, dtype=bool)]
    example = shortened(str(next(iter(bad["aux_label"]), "")))
    problems += _fault(bad["clip"], f"aux_label {example!r}; write one tag without spaces")
    for group in look_alikes(tags_of(clips["aux_label"]))[:1]:
        text = "aux_labels %s differ only in case or Unicode form; they count as different tags"
        logger.warning(text, " and ".join(map(ascii, group)))
    if aux_labels[aux_labels != ""].nunique() < 2:
        problems.append("corpus: every clip has the same aux_label; delete the column aux_label")
    return problems


def _fold_problems(clips: pd.DataFrame, k: int, wanted: Sequence[str]) -> list[str]:
    train = clips[clips["split"] == "train"]
    missing = train.loc[train["fold"].isna(), "clip"]
    if len(missing):
        fix = "fill in the column fold, or set cv.scheme to stratified"
        return _fault(missing, f"no fold; {fix}")
    folds = sorted({int(fold) for fold in train["fold"]})
    if len(folds) != k:
        if len(folds) == 1:
            fix = "put some clips into a second fold, or set cv.scheme to stratified"
            return [f"corpus: all training clips are in the official fold {folds[0]}; {fix}"]
        fix = f"set cv.k to {len(folds)}"
        shown = first_of(folds, limit=12)
        return [f"corpus: there are {len(folds)} official folds, {shown}, but cv.k is {k}; {fix}"]
    try:
        check_names(wanted, [str(fold) for fold in folds])
    except ValueError as error:
        return [str(error)]
    return []
