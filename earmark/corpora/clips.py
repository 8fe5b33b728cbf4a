"""The clips table: one row a labelled recording, the same for every corpus."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from earmark.errors import UserError
from earmark.labels import SEPARATOR, is_multi_label, tags_of
from earmark.params import CrossValidation

SCHEMA = pa.DataFrameSchema(
    {
        "clip": pa.Column(str, pa.Check.str_length(min_value=1)),
        "path": pa.Column(str, pa.Check.str_length(min_value=1)),
        # Tags with ";" between several; "" for a test clip that nobody labelled.
        "label": pa.Column(str),
        "aux_label": pa.Column(
            str
        ),  # the tag of a second task (Chen & Gupta); "" where there is none
        "source": pa.Column(str),  # the recording that a clip was cut from; "" where unknown
        "fold": pa.Column("Int64", nullable=True),  # the corpus' official fold, where it has one
        "verified": pa.Column(bool),
        "split": pa.Column(str, pa.Check.isin(["train", "test"])),
        "usage": pa.Column(str, pa.Check.isin(["", "Public", "Private", "Ignored"])),
        "licence": pa.Column(str),
        # The part of the file that is the clip, in seconds; NaN: from its start, to its end.
        "start_seconds": pa.Column(float, pa.Check.ge(0), nullable=True),
        "end_seconds": pa.Column(float, pa.Check.gt(0), nullable=True),
    },
    strict=True,
    ordered=True,
)
COLUMNS = list(SCHEMA.columns)


def clips_table(columns: dict[str, Any]) -> pd.DataFrame:
    """A clips table of the given columns; the others get the value that says "not known"."""
    table = pd.DataFrame(columns)
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


def problems_of(clips: pd.DataFrame, *, root: Path, cv: CrossValidation) -> list[str]:
    """Everything that is wrong with a corpus' table, one line each, with place and fix."""
    return [
        *_schema_problems(clips),
        *_name_problems(clips),
        *_path_problems(clips, root),
        *_excerpt_problems(clips),
        *_tag_problems(clips),
        *_label_problems(clips, 1 if cv.scheme == "first_last" else cv.k),
        *_event_problems(clips),
        *(_fold_problems(clips, cv.k) if cv.scheme == "official" else []),
    ]


def check_clips(clips: pd.DataFrame, *, root: Path, cv: CrossValidation) -> None:
    """Raise UserError with every problem of the table."""
    problems = problems_of(clips, root=root, cv=cv)
    if problems:
        raise UserError(*problems)


def _schema_problems(clips: pd.DataFrame) -> list[str]:
    try:
        SCHEMA.validate(clips, lazy=True)
    except pa.errors.SchemaErrors as error:
        return [
            f"corpus: column {case.column}: {case.failure_case!r} does not pass {case.check}; "
            f"fix it in the table (row {case.index})"
            for case in error.failure_cases.itertuples()
        ]
    return []


def _name_problems(clips: pd.DataFrame) -> list[str]:
    counts = clips["clip"].value_counts()
    return [
        f"corpus: clip {clip}: named {count} times; a name may stand for one clip only, "
        "so delete or rename the others"
        for clip, count in counts[counts > 1].sort_index().items()
    ]


def _path_problems(clips: pd.DataFrame, root: Path) -> list[str]:
    problems = []
    for clip, path in zip(clips["clip"], clips["path"], strict=True):
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            fix = "give paths inside it, or a corpus.root above them all"
            problems.append(
                f"corpus: clip {clip}: path {path} leaves the corpus root {root}; {fix}"
            )
    if len(clips) == 0:
        problems.append(f"corpus: no clip found under {root}; check corpus.root and corpus.table")
    elif not problems and not any((root / path).exists() for path in clips["path"]):
        example = root / str(clips["path"].iloc[0])
        problems.append(
            f"corpus: none of the {len(clips)} files of the table exists (such as {example}); "
            "set corpus.root to the folder that the paths start from"
        )
    return problems


def _excerpt_problems(clips: pd.DataFrame) -> list[str]:
    """Excerpts that end before they start; that one ends beyond its file is found by decoding."""
    start = clips["start_seconds"].fillna(0)
    backwards = clips[clips["end_seconds"] <= start]
    return [
        f"corpus: clip {row.clip}: ends at {row.end_seconds:g} s, not after its start; "
        "correct end_seconds"
        for row in backwards.itertuples()
    ]


def _tag_problems(clips: pd.DataFrame) -> list[str]:
    """Labels that are not tags with `;` between them, each once and without spaces."""
    problems = []
    for label, rows in clips.groupby("label")["clip"]:
        tags = str(label).split(SEPARATOR)
        clip = rows.iloc[0]
        if label and "" in tags:
            problems.append(
                f"corpus: clip {clip}: an empty tag in {label!r}; delete the {SEPARATOR}"
            )
        if len(set(tags)) < len(tags):
            problems.append(f"corpus: clip {clip}: a tag stands twice in {label!r}; give it once")
        if spaced := [tag for tag in tags if tag != "_".join(tag.split())]:
            problems.append(f"corpus: clip {clip}: tag {spaced[0]!r} has spaces; use _ instead")
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    several = test["label"].str.contains(SEPARATOR)
    if several.any() and not is_multi_label(train["label"]):
        problems.append(
            f"corpus: clip {test.loc[several, 'clip'].iloc[0]}: several tags, but no training clip "
            "has more than one; give it one, or label the training clips with all of theirs"
        )
    return problems


def _label_problems(clips: pd.DataFrame, k: int) -> list[str]:
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    problems = [
        f"corpus: clip {clip}: no label; label it, or give it split test"
        for clip in train.loc[train["label"] == "", "clip"]
    ]
    counts = clip_counts(train["label"])
    for tag, count in counts.items():
        if count < k:
            fix = "add clips, drop the class, or lower cv.k"
            problems.append(f"corpus: class {tag}: {count} clips for {k} folds; {fix}")
    strangers = sorted(set(tags_of(test["label"])) - set(counts.index))
    problems += [
        f"corpus: class {tag}: in the test set alone; add training clips, or clear its labels"
        for tag in strangers
    ]
    if len(clips) and len(counts) < 2:
        problems.append("corpus: a tagger needs at least 2 classes; label clips of another class")
    return problems


def clip_counts(labels: pd.Series) -> pd.Series:
    """In how many clips each tag stands, the most frequent first; a clip may have several."""
    tags = labels.str.split(SEPARATOR).explode()
    return tags[tags != ""].value_counts()


def _event_problems(clips: pd.DataFrame) -> list[str]:
    """A second task needs one tag of every training clip, and at least two in all."""
    train = clips[clips["split"] == "train"]
    aux_labels = train["aux_label"]
    if (aux_labels == "").all():
        return []
    problems = []
    if (blank := aux_labels == "").any():
        clip, more = train.loc[blank, "clip"].iloc[0], blank.sum() - 1
        fix = "fill the column aux_label, or leave it out"
        problems.append(f"corpus: clip {clip} and {more} more: no event, but others have; {fix}")
    for aux_label, rows in clips.groupby("aux_label")["clip"]:
        if SEPARATOR in str(aux_label) or aux_label != "_".join(str(aux_label).split()):
            fix = "a second task has one tag a clip, without spaces"
            problems.append(f"corpus: clip {rows.iloc[0]}: event {aux_label!r}; {fix}")
    if aux_labels[aux_labels != ""].nunique() < 2:
        problems.append("corpus: every clip has the same event; leave the column aux_label out")
    return problems


def _fold_problems(clips: pd.DataFrame, k: int) -> list[str]:
    train = clips[clips["split"] == "train"]
    missing = train.loc[train["fold"].isna(), "clip"]
    if len(missing):
        fix = "fill the column fold, or set cv.scheme to stratified"
        return [f"corpus: clip {missing.iloc[0]} and {len(missing) - 1} more: no fold; {fix}"]
    found = sorted({int(fold) for fold in train["fold"]})
    if len(found) != k:
        return [f"corpus: official folds {found} are {len(found)}, cv.k is {k}; make them equal"]
    return []
