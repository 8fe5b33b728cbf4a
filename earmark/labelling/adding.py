"""Labels that somebody chose, on their way into the corpus: into its table, or its class folders.

Only profile `folder` has a table, or class folders, of the user's own. Nothing is changed unless
every label can be added, rows that are there stay as they are to the byte, and no recording is
moved: one that lies outside of the corpus is copied into it.
"""

import csv
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from earmark.checksums import sha256_of
from earmark.corpora.adapters import find
from earmark.corpora.adapters.tables import tag_name
from earmark.corpora.text_tables import ROW, check_columns, read_cells, read_text
from earmark.csv_files import original
from earmark.errors import UserError, WrongUse
from earmark.labels import SEPARATOR, is_multi_label, tags_of
from earmark.layout import Layout
from earmark.params import Params
from earmark.sound.recordings import is_recording, name_of, path_of
from earmark.whole_files import whole_file
from earmark.wording import counted, first_of, named, nearest

ADDED = "added"  # the folder below the root for recordings from elsewhere, where there is a table
_COLUMNS = ("suggested", "probability", "uncertainty", "rank")


@dataclass(frozen=True)
class Corpus:
    """The corpus of a workspace.

    Attributes:
        root: the folder of its recordings.
        table: its csv; None where it has none of its own, as with class folders.
        clips: its clips table.
    """

    root: Path
    table: Path | None
    clips: pd.DataFrame

    @classmethod
    def of(cls, params: Params, layout: Layout) -> "Corpus":
        """Raises UserError where it is not there, or its table has faults."""
        corpus = params.corpus
        root = layout.root / corpus.root
        clips = find(corpus.adapter).read_clips(root, corpus.table)
        return cls(root, root / corpus.table if corpus.table else None, clips)

    def folder_for(self, label: str) -> str:
        """Where below the root a recording from elsewhere goes."""
        if self.table is not None:
            return ADDED
        # A tag has no spaces, but its folder may: `002 - Rain`.
        paths = self.clips.loc[self.clips["label"] == label, "path"]
        return str(paths.iloc[0]).split("/", 1)[0] if len(paths) else label


@dataclass(frozen=True)
class New:
    """A recording to add: where it is, where it will be below the root, and its label."""

    source: Path
    path: str
    label: str

    def is_there(self, root: Path) -> bool:
        return path_of(root, self.path).exists()


def add_labels(filled: Path, corpus: Corpus, *, fold: int | None = None) -> list[str]:
    """Add the labels of a csv to a corpus; returns what was done, in lines.

    Args:
        filled: has the columns path (below the corpus' root, or absolute) and label; rows without a
            label are passed over.
        fold: the official fold of the new clips, where the corpus has such.

    Raises:
        UserError: a path or a label cannot be added; nothing was.
        WrongUse: nothing is labelled, or `fold` does not fit the corpus.
    """
    rows = _filled_rows(filled)
    _check_fold(corpus, fold)
    problems = _label_problems(filled, rows, corpus)
    new, n_there = [], 0
    taken: set[str] = set()
    for path, label in rows[["path", "label"]].to_numpy():
        try:
            one = _new_clip(path, label, corpus, taken)
        except UserError as error:
            problems += [f"{filled}: {problem}" for problem in error.problems]
            continue
        n_there += one is None
        new += [one] if one is not None else []
    if problems:
        raise UserError(*problems)
    n_copied = _copy(new, corpus.root)
    if corpus.table is not None and new:
        _append(corpus.table, new, fold)
    where = corpus.table or corpus.root
    lines = [f"{where}: {counted(len(new), 'clip')} added ({n_copied} copied into the corpus)"]
    return [*lines, f"{n_there} were there already"] if n_there else lines


def _filled_rows(filled: Path) -> pd.DataFrame:
    raw = read_cells(filled, key="the name of the file")
    check_columns(raw, filled, required=("path", "label"), optional=_COLUMNS)
    for name in ("path", "label"):
        raw[name] = raw[name].map(original).astype("str")
    labels = [
        SEPARATOR.join(dict.fromkeys(tag_name(t) for t in text.split(SEPARATOR) if t.strip()))
        for text in raw["label"]
    ]
    rows = raw.assign(label=labels)
    rows = rows[rows["label"] != ""]
    if rows.empty:
        raise WrongUse(f"{filled}: no label is filled in; choose some on the page, and save it")
    is_again = rows.duplicated("path", keep=False)
    if is_again.any():
        names = rows.loc[is_again, ROW].tolist()
        raise UserError(f"{filled}: {named('row', names)}: the same path; keep one of them")
    return rows


def _check_fold(corpus: Corpus, fold: int | None) -> None:
    train = corpus.clips[corpus.clips["split"] == "train"]
    is_official = bool(len(train)) and bool(train["fold"].notna().all())
    if is_official and fold is None:
        folds = first_of(sorted(set(train["fold"])), limit=10)
        fix = f"give the new clips one of them by --fold (there are {folds})"
        raise WrongUse(f"{corpus.table}: every training clip has an official fold; {fix}")
    if not is_official and fold is not None:
        raise WrongUse(f"--fold {fold}: this corpus has no official folds; leave it out")


def _label_problems(filled: Path, rows: pd.DataFrame, corpus: Corpus) -> list[str]:
    labels = corpus.clips.loc[corpus.clips["split"] == "train", "label"]
    tags, problems = tags_of(labels), []
    unknown = sorted(set(tags_of(rows["label"])) - set(tags))
    if unknown:
        near = nearest(unknown[0], tags)
        fix = f"did you mean {near}?" if near else f"the corpus has {first_of(tags, limit=12)}"
        problems.append(f"{filled}: unknown {named('tag', unknown)}; {fix}")
    several = rows.loc[rows["label"].str.contains(SEPARATOR), "path"].tolist()
    if several and not is_multi_label(labels):
        fix = "but clips of this corpus have one; write one"
        problems.append(f"{filled}: {named('path', several)}: several tags, {fix}")
    return problems


def _new_clip(path: str, label: str, corpus: Corpus, taken: set[str]) -> New | None:
    """What to add for a row; None where the corpus has the very clip.

    Raises:
        UserError: there is no such recording, or the corpus has it with another label.
    """
    root = corpus.root.resolve()
    source = path_of(root, path) if not Path(path).is_absolute() else path_of(Path("/"), path[1:])
    if not is_recording(Path(source.name)) or not source.is_file():
        fix = f"correct the path (it starts from {corpus.root}, or is absolute)"
        raise UserError(f"path {path}: no recording there; {fix}")
    inside = source.resolve().is_relative_to(root)
    name = name_of(source.resolve().relative_to(root).as_posix()) if inside else ""
    known = corpus.clips[corpus.clips["path"] == name] if inside else _copies(source, corpus)
    if len(known):
        there = known.iloc[0]
        if there["split"] == "test":
            raise UserError(f"path {path}: a test clip, which stays as it is; delete the row")
        if there["label"] != label:
            fix = "change it by corpus.label_corrections, or in the corpus itself"
            what = f"labelled {there['label']}" if there["label"] else "there without a label"
            raise UserError(f"path {path}: is {what} in the corpus already; {fix}")
        return None
    if not (inside and corpus.table is not None):
        name = _free_name(source, corpus.folder_for(label), root, taken)
    taken.add(name)
    return New(source, name, label)


def _copies(source: Path, corpus: Corpus) -> pd.DataFrame:
    """The clips of equal name and equal bytes as a recording from elsewhere."""
    names = corpus.clips["path"].map(lambda path: Path(path).name)
    same = corpus.clips[names == name_of(source.name)]
    files = [path_of(corpus.root, path) for path in same["path"]]
    return same[[file.is_file() and _equal(file, source) for file in files]]


def _equal(first: Path, second: Path) -> bool:
    return first.stat().st_size == second.stat().st_size and sha256_of(first) == sha256_of(second)


def _free_name(source: Path, folder: str, root: Path, taken: set[str]) -> str:
    """A path below the root that no other recording has; that of a copy of this one is free."""
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        name = f"{folder}/{name_of(source.stem)}{suffix}{source.suffix}"
        there = root / name
        if name not in taken and (not there.exists() or _equal(there, source)):
            return name
        number += 1


def _copy(new: list[New], root: Path) -> int:
    n_copied = 0
    for one in new:
        if not one.is_there(root):
            with whole_file(root / one.path) as part:
                shutil.copyfile(one.source, part)
            n_copied += 1
    return n_copied


def _append(table: Path, new: list[New], fold: int | None) -> None:
    """Add rows to a csv, whose own stay as they are.

    It is written anew and renamed: as an output of DVC it may share its bytes with the cache.
    """
    data = table.read_bytes()
    first_line = read_text(table, key="corpus.table").split("\n", 1)[0]
    separator = "," if "," in first_line else next((s for s in ";\t|" if s in first_line), ",")
    columns = [str(name) for name in read_cells(table, key="corpus.table") if name != ROW]
    header = [cell.strip().lower() for cell in next(csv.reader([first_line], delimiter=separator))]
    end = "\r\n" if first_line.endswith("\r") else "\n"
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    for one in new:
        values = {"path": one.path, "label": one.label, "verified": "1"}
        if fold is not None:
            values["fold"] = str(fold)
        writer.writerow([values.get(name, "") if name in columns else "" for name in header])
    gap = "" if data.endswith(b"\n") or not data else end
    with whole_file(table) as part:
        part.write_bytes(data + (gap + text.getvalue()).encode())
