"""Paths of a clips table that name no file: what was probably meant, and what is no path."""

import os
import unicodedata
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

import pandas as pd

from earmark.sound.recordings import path_of
from earmark.wording import first_of, named, shortened

_N_LISTED = 200_000  # files of the root that are compared with paths; more take too long
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]*:[/\\]"  # https://..., file:/..., C:\...


def leaves_root(paths: pd.Series) -> "pd.Series[bool]":
    """Whether each path is absolute, or has `..` among its parts."""
    return paths.str.startswith("/") | paths.str.contains(r"(?:^|/)\.\.(?:/|$)")


def missing_files(paths: pd.Series, root: Path) -> pd.Series:
    """The distinct ones of some paths below `root` at which nothing is, in their order."""
    unique = paths.drop_duplicates()
    # Path.exists raises an error for a name that is too long, and a link to nothing is unusable.
    there = [os.path.lexists(path_of(root, path)) for path in unique]
    return unique[[not one for one in there]]


def missing_problems(clips: pd.DataFrame, root: Path) -> list[str]:
    """Paths that name no file for a reason that is known, one line for each reason.

    A file that is merely missing goes to quarantine when it is decoded, unless all of them are.
    """
    missing = missing_files(clips["path"], root)
    if missing.empty:
        return []
    clip_of = clips["clip"]
    if (is_address := missing.str.match(_ADDRESS)).any():
        fix = "write paths that start from it"
        names = clip_of[clips["path"].isin(missing[is_address])].tolist()
        first = shortened(missing[is_address].iloc[0])
        return [f"corpus: {named('clip', names)}: {first} is no path below {root}; {fix}"]
    if meant := _meant(missing.tolist(), root):
        is_near = missing.isin(meant.keys())
        names = clip_of[clips["path"].isin(missing[is_near])].tolist()
        pairs = [f"{_quoted(meant[path])} for {_quoted(path)}" for path in missing[is_near]]
        padded = [path for path in meant.values() if path != path.strip()]
        if padded:  # cells are read without the spaces around them
            fix = "rename it without them"
            return [
                f"corpus: {named('clip', names)}: no file has this path, but {padded[0]!r} has "
                f"spaces around its name; {fix}"
            ]
        what = "no file has this path, but one that differs in case, accents, \\ or suffix"
        return [f"corpus: {named('clip', names)}: {what}; write {first_of(pairs)}"]
    if len(missing) < clips["path"].nunique():
        return []
    return [
        f"corpus: none of the {len(clips)} files of the table exists (such as "
        f"{root / shortened(missing.iloc[0])}); set corpus.root to the folder that the paths "
        "start from"
    ]


def _quoted(path: str) -> str:
    """A path in quotation marks; in ASCII if it may be composed of other characters."""
    return repr(path) if unicodedata.is_normalized("NFC", path) else ascii(path)


def _meant(missing: Sequence[str], root: Path) -> dict[str, str]:
    """Path -> the file below `root` that it differs from only in spelling, where there is one."""
    there = (
        os.path.relpath(f"{folder}/{name}", root)
        for folder, _, names in os.walk(root)
        for name in names
    )
    by_spelling: dict[str, str] = {}
    for path in islice(there, _N_LISTED):
        spelling = _spelling(path)
        by_spelling[spelling] = path
        by_spelling.setdefault(str(PurePosixPath(spelling).with_suffix("")), path)
    spellings = {path: _spelling(path) for path in missing}
    return {path: by_spelling[one] for path, one in spellings.items() if one in by_spelling}


def _spelling(path: str) -> str:
    slashes = path.strip(" '\"").replace("\\", "/")
    return os.path.normpath(unicodedata.normalize("NFC", slashes)).casefold()


def same_parts(clips: pd.DataFrame) -> list[str]:
    """Clips of different names that are the same part of the same file, in one line."""
    plain = clips["path"].str.replace(r"/(?:\.?/)+", "/", regex=True).str.removeprefix("./")
    parts = clips.assign(path=plain, start_seconds=clips["start_seconds"].fillna(0))
    parts = parts.drop_duplicates("clip")
    key = ["path", "start_seconds", "end_seconds"]
    again = parts[parts.duplicated(key)]
    if again.empty:
        return []
    other = parts.merge(again[key].head(1), on=key)["clip"].iloc[0]
    fix = "delete all but one of their rows"
    names = named("clip", again["clip"].tolist())
    return [f"{names}: the same part of the same file as clip {other}; {fix}"]


def overlaps(clips: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of excerpts of one file that overlap, though their labels or splits differ."""
    order = clips.assign(start_seconds=clips["start_seconds"].fillna(0))
    order = order.sort_values(["path", "start_seconds"], kind="stable")
    last = order.shift(1)
    overlap = (order["path"] == last["path"]) & ~(last["end_seconds"] <= order["start_seconds"])
    differ = (order["label"] != last["label"]) | (order["split"] != last["split"])
    is_bad = overlap & differ
    return list(zip(last.loc[is_bad, "clip"], order.loc[is_bad, "clip"], strict=True))
