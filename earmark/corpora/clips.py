"""The clips table: one row per clip, with the same columns for every corpus."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from earmark.corpora.split_names import check_names
from earmark.errors import UserError
from earmark.labels import SEPARATOR, is_multi_label, tags_of
from earmark.params import CrossValidation
from earmark.sound.recordings import name_of, path_of

SCHEMA = pa.DataFrameSchema(
    {
        "clip": pa.Column(str, pa.Check.str_length(min_value=1)),
        "path": pa.Column(str, pa.Check.str_length(min_value=1)),
        # One tag, or several with ";" between them; "" for a test clip without a label.
        "label": pa.Column(str),
        # The tag of the auxiliary task (Chen & Gupta); "" where there is none.
        "aux_label": pa.Column(str),
        "source": pa.Column(str),  # the recording that a clip was cut from; "" where unknown
        "fold": pa.Column("Int64", nullable=True),  # the corpus' official fold, where it has one
        "verified": pa.Column(bool),
        "split": pa.Column(str, pa.Check.isin(["train", "test"])),
        "usage": pa.Column(str, pa.Check.isin(["", "Public", "Private", "Ignored"])),
        "licence": pa.Column(str),
        # The excerpt of the file that is the clip, in seconds; NaN: the start or end of the file.
        "start_seconds": pa.Column(float, pa.Check.ge(0), nullable=True),
        "end_seconds": pa.Column(float, pa.Check.gt(0), nullable=True),
    },
    strict=True,
    ordered=True,
)
COLUMNS = list(SCHEMA.columns)


def clips_table(columns: dict[str, Any]) -> pd.DataFrame:
    """A clips table of the given columns; in the others no value is known yet.

    Args:
        columns: name of a column of SCHEMA -> a value for each clip, or one for all.

    >>> table = clips_table({"clip": ["a.wav"], "path": ["dog/a.wav"], "label": ["dog"]})
    >>> table[["clip", "label", "verified", "split"]].to_dict("records")
    [{'clip': 'a.wav', 'label': 'dog', 'verified': True, 'split': 'train'}]
    """
    table = pd.DataFrame({name: _writable(values) for name, values in columns.items()})
    unknown: dict[str, Any] = {
        "label": "",
        "aux_label": "",
        "source": "",
        "fold": pd.NA,
        "verified": True,
        "split": "train",
        "usage": "",
        "licence": "",
        "start_seconds": np.nan,
        "end_seconds": np.nan,
    }
    for name, value in unknown.items():
        if name not in table:
            table[name] = value
    texts = ["clip", "path", "label", "aux_label", "source", "split", "usage", "licence"]
    seconds = dict.fromkeys(["start_seconds", "end_seconds"], float)
    types: Any = {**dict.fromkeys(texts, "str"), "fold": "Int64", "verified": bool, **seconds}
    return table[COLUMNS].astype(types)


def _writable(values: Any) -> Any:
    """Texts as a table can hold them, since some are names of files that are not UTF-8."""
    if isinstance(values, list):
        return [name_of(value) if isinstance(value, str) else value for value in values]
    return values


def problems_of(
    clips: pd.DataFrame, *, root: Path, cv: CrossValidation, folds: Sequence[str]
) -> list[str]:
    """Everything that is wrong with the clips table of a corpus, one line each, with its fix."""
    return [
        *_schema_problems(clips),
        *_name_problems(clips),
        *_path_problems(clips, root),
        *_excerpt_problems(clips),
        *_tag_problems(clips),
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


def _schema_problems(clips: pd.DataFrame) -> list[str]:
    try:
        SCHEMA.validate(clips, lazy=True)
    except pa.errors.SchemaErrors as error:
        return [
            f"corpus: column {case.column}: {case.failure_case!r} fails {case.check}; "
            f"fix it in the table (row {case.index})"
            for case in error.failure_cases.itertuples()
        ]
    return []


def _name_problems(clips: pd.DataFrame) -> list[str]:
    counts = clips["clip"].value_counts()
    return [
        f"corpus: clip {clip}: in the table {count} times; names must be unique, "
        "so delete or rename the others"
        for clip, count in counts[counts > 1].sort_index().items()
    ]


def _path_problems(clips: pd.DataFrame, root: Path) -> list[str]:
    problems = []
    for clip, path in zip(clips["clip"], clips["path"], strict=True):
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            fix = "give paths inside it, or set corpus.root to a folder above them all"
            problems.append(
                f"corpus: clip {clip}: path {path} leaves the corpus root {root}; {fix}"
            )
    if len(clips) == 0:
        problems.append(f"corpus: no clip found under {root}; check corpus.root and corpus.table")
    elif not problems and not any(os.path.lexists(path_of(root, path)) for path in clips["path"]):
        example = root / str(clips["path"].iloc[0])
        problems.append(
            f"corpus: none of the {len(clips)} files of the table exists (such as {example}); "
            "set corpus.root to the folder that the paths start from"
        )
    return problems


def _excerpt_problems(clips: pd.DataFrame) -> list[str]:
    """Excerpts that end before they start; decoding finds those that end after their file."""
    start = clips["start_seconds"].fillna(0)
    backwards = clips[clips["end_seconds"] <= start]
    return [
        f"corpus: clip {row.clip}: ends at {row.end_seconds:g} s, which is not after its start; "
        "correct end_seconds"
        for row in backwards.itertuples()
    ]


def _tag_problems(clips: pd.DataFrame) -> list[str]:
    """Labels that are not tags with `;` between them, each tag once and without spaces."""
    problems = []
    for label, rows in clips.groupby("label")["clip"]:
        tags = str(label).split(SEPARATOR)
        clip = rows.iloc[0]
        if label and "" in tags:
            problems.append(
                f"corpus: clip {clip}: an empty tag in {label!r}; delete the {SEPARATOR}"
            )
        if len(set(tags)) < len(tags):
            problems.append(f"corpus: clip {clip}: a tag is twice in {label!r}; write it once")
        if spaced := [tag for tag in tags if tag != "_".join(tag.split())]:
            problems.append(f"corpus: clip {clip}: tag {spaced[0]!r} has spaces; write _ instead")
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    several = test["label"].str.contains(SEPARATOR)
    if several.any() and not is_multi_label(train["label"]):
        problems.append(
            f"corpus: clip {test.loc[several, 'clip'].iloc[0]}: several tags, but every training "
            "clip has one; write one, or label the training clips with all of their tags"
        )
    return problems


def _label_problems(clips: pd.DataFrame, k: int) -> list[str]:
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    problems = [
        f"corpus: clip {clip}: no label; label it, or set its split to test"
        for clip in train.loc[train["label"] == "", "clip"]
    ]
    counts = clip_counts(train["label"])
    for tag, count in counts.items():
        if count < k:
            fix = "add clips, drop the class, or lower cv.k"
            problems.append(f"corpus: class {tag}: {count} clips for {k} folds; {fix}")
    unknown = sorted(set(tags_of(test["label"])) - set(counts.index))
    problems += [
        f"corpus: class {tag}: only in the test set; add training clips, or empty those labels"
        for tag in unknown
    ]
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
    if (blank := aux_labels == "").any():
        clip, more = train.loc[blank, "clip"].iloc[0], blank.sum() - 1
        fix = "fill in the column aux_label, or delete it"
        problems.append(
            f"corpus: clip {clip} and {more} more: no aux_label, but other clips have one; {fix}"
        )
    for aux_label, rows in clips.groupby("aux_label")["clip"]:
        if SEPARATOR in str(aux_label) or aux_label != "_".join(str(aux_label).split()):
            fix = "write one tag without spaces"
            problems.append(f"corpus: clip {rows.iloc[0]}: aux_label {aux_label!r}; {fix}")
    if aux_labels[aux_labels != ""].nunique() < 2:
        problems.append("corpus: every clip has the same aux_label; delete the column aux_label")
    return problems


def _fold_problems(clips: pd.DataFrame, k: int, wanted: Sequence[str]) -> list[str]:
    train = clips[clips["split"] == "train"]
    missing = train.loc[train["fold"].isna(), "clip"]
    if len(missing):
        fix = "fill in the column fold, or set cv.scheme to stratified"
        return [f"corpus: clip {missing.iloc[0]} and {len(missing) - 1} more: no fold; {fix}"]
    folds = sorted({int(fold) for fold in train["fold"]})
    if len(folds) != k:
        fix = f"set cv.k to {len(folds)}"
        return [f"corpus: there are {len(folds)} official folds {folds}, but cv.k is {k}; {fix}"]
    try:
        check_names(wanted, [str(fold) for fold in folds])
    except ValueError as error:
        return [str(error)]
    return []
