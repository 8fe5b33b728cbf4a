"""The clips table: one row a labelled recording, the same for every corpus."""

from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pandera.pandas as pa

from earmark.errors import UserError
from earmark.params import CrossValidation

SCHEMA = pa.DataFrameSchema(
    {
        "clip": pa.Column(str, pa.Check.str_length(min_value=1)),
        "path": pa.Column(str, pa.Check.str_length(min_value=1)),
        "label": pa.Column(str),  # "" for a test clip that nobody labelled
        "source": pa.Column(str),  # the recording that a clip was cut from; "" where unknown
        "fold": pa.Column("Int64", nullable=True),  # the corpus' official fold, where it has one
        "verified": pa.Column(bool),
        "split": pa.Column(str, pa.Check.isin(["train", "test"])),
        "usage": pa.Column(str, pa.Check.isin(["", "Public", "Private", "Ignored"])),
        "licence": pa.Column(str),
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
        "source": "",
        "fold": pd.NA,
        "verified": True,
        "split": "train",
        "usage": "",
        "licence": "",
    }
    for name, value in unknown.items():
        if name not in table:
            table[name] = value
    texts = ["clip", "path", "label", "source", "split", "usage", "licence"]
    types: Any = {**dict.fromkeys(texts, "str"), "fold": "Int64", "verified": bool}
    return table[COLUMNS].astype(types)


def problems_of(clips: pd.DataFrame, *, root: Path, cv: CrossValidation) -> list[str]:
    """Everything that is wrong with a corpus' table, one line each, with place and mend."""
    return [
        *_schema_problems(clips),
        *_name_problems(clips),
        *_path_problems(clips, root),
        *_label_problems(clips, 1 if cv.scheme == "first_last" else cv.k),
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
            f"mend it in the table (row {case.index})"
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
            mend = "give paths inside it, or a corpus.root above them all"
            problems.append(
                f"corpus: clip {clip}: path {path} leaves the corpus root {root}; {mend}"
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


def _label_problems(clips: pd.DataFrame, k: int) -> list[str]:
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    problems = [
        f"corpus: clip {clip}: no label; label it, or give it split test"
        for clip in train.loc[train["label"] == "", "clip"]
    ]
    for label, count in train.loc[train["label"] != "", "label"].value_counts().items():
        if count < k:
            mend = "add clips, drop the class, or lower cv.k"
            problems.append(f"corpus: class {label}: {count} clips for {k} folds; {mend}")
    strangers = sorted(set(test["label"]) - set(train["label"]) - {""})
    problems += [
        f"corpus: class {label}: in the test set alone; add training clips, or clear its labels"
        for label in strangers
    ]
    if len(clips) and len(set(train["label"]) - {""}) < 2:
        problems.append("corpus: a tagger needs at least 2 classes; label clips of another class")
    return problems


def _fold_problems(clips: pd.DataFrame, k: int) -> list[str]:
    train = clips[clips["split"] == "train"]
    missing = train.loc[train["fold"].isna(), "clip"]
    if len(missing):
        mend = "fill the column fold, or set cv.scheme to stratified"
        return [f"corpus: clip {missing.iloc[0]} and {len(missing) - 1} more: no fold; {mend}"]
    found = sorted({int(fold) for fold in train["fold"]})
    if len(found) != k:
        return [f"corpus: official folds {found} are {len(found)}, cv.k is {k}; make them equal"]
    return []
