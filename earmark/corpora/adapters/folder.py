"""Any labelled folder: class folders, or a csv with path, label and optional columns."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.corpora.adapters.adapter import Adapter
from earmark.corpora.adapters.tables import (
    choices,
    flags,
    read_csv,
    refuse,
    seconds,
    tag_name,
    whole_numbers,
)
from earmark.corpora.clips import clips_table
from earmark.corpora.file_checks import overlaps, same_parts
from earmark.errors import UserError
from earmark.labels import SEPARATOR
from earmark.sound.recordings import AUDIO_SUFFIXES, files_below, is_recording
from earmark.wording import counted

logger = logging.getLogger(__name__)

EXCERPT_COLUMNS = ("start_seconds", "end_seconds")
USAGES, SPLITS = ("Public", "Private", "Ignored"), ("train", "test")
GAPS = {
    "fold": "folds of a table count only if every training clip has one",
    "source": "each of these counts as a recording of its own",
}
OPTIONAL_COLUMNS = (
    *("fold", "source", "verified", "split", "usage", "licence", "aux_label"),
    *EXCERPT_COLUMNS,
)


def read_clips(root: Path, table: str) -> pd.DataFrame:
    """The clips of a csv (paths relative to `root`), or of class folders if `table` is empty.

    Several tags of a clip are separated by `;`. With start_seconds or end_seconds a clip is an
    excerpt of its recording, which is its source unless the csv names one. A clip's name is its
    path, with its times for an excerpt. The order is that of the csv, or of the sorted paths.

    Raises:
        UserError: the folder, the csv or a column is not as described here.
    """
    if not root.is_dir():
        raise UserError(
            f"corpus.root: {root} is not a folder; set it to the folder of the recordings"
        )
    return _from_table(root / table) if table else _from_class_folders(root)


def _from_class_folders(root: Path) -> pd.DataFrame:
    files = sorted(path for path in files_below(root) if path.parent != root)
    recordings = [path.relative_to(root) for path in files if is_recording(path.relative_to(root))]
    if len(recordings) < len(files):
        logger.info(
            "%s: %d files ignored, since they are not audio", root, len(files) - len(recordings)
        )
    if not recordings:
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        raise UserError(
            f"corpus.root: {root} has no class folder with audio in it; set it to the folder "
            f"above the class folders (audio is {suffixes})"
        )
    names = [path.as_posix() for path in recordings]
    if several := sorted({path.parts[0] for path in recordings if SEPARATOR in path.parts[0]}):
        fix = "rename it; a clip with several tags needs a csv"
        raise UserError(f"corpus.root: class folder {several[0]!r} contains {SEPARATOR!r}; {fix}")
    labels = [tag_name(path.parts[0]) for path in recordings]
    return clips_table({"clip": names, "path": names, "label": labels})


def _from_table(table: Path) -> pd.DataFrame:
    raw = read_csv(table, required=("path", "label"), optional=OPTIONAL_COLUMNS)
    refuse(raw, raw["path"] == "", "path", table, "no path; fill it in, or delete the row")
    columns: dict[str, Any] = {
        "clip": _names(raw),
        "path": raw["path"],
        "label": [_label(text) for text in raw["label"]],
    }
    for name in ("source", "licence"):
        if name in raw:
            columns[name] = raw[name]
    if "aux_label" in raw:
        columns["aux_label"] = [tag_name(text) for text in raw["aux_label"]]
    readers: dict[str, Callable[..., Any]] = {
        "usage": partial(choices, valid=USAGES),
        "split": partial(choices, valid=SPLITS),
        "fold": whole_numbers,
        "verified": flags,
        **dict.fromkeys(EXCERPT_COLUMNS, seconds),
    }
    problems: list[str] = []
    for name, read in readers.items():
        if name in raw:
            try:
                columns[name] = read(raw, name, "path", table)
            except UserError as error:
                problems += error.problems
    if problems:
        raise UserError(*problems)
    if "split" in columns:
        columns["split"] = columns["split"].where(columns["split"] != "", "train")
    clips = clips_table(columns)
    _warn_of_gaps(clips, table)
    is_excerpt = clips[[*EXCERPT_COLUMNS]].notna().any(axis=1)
    # Excerpts of one recording stay in one fold, even if the table names no source.
    clips["source"] = clips["source"].mask(is_excerpt & (clips["source"] == ""), clips["path"])
    if is_excerpt.any() and (pairs := overlaps(clips)):
        what = f"{counted(len(pairs), 'pair')} of excerpts, such as {' and '.join(pairs[0])}"
        logger.warning("%s: %s, overlap, but have other labels or splits", table, what)
    if problems := same_parts(clips):
        raise UserError(*(f"{table}: {problem}" for problem in problems))
    return clips


def _warn_of_gaps(clips: pd.DataFrame, table: Path) -> None:
    """Say which columns name a fold or a source for some training clips only."""
    train = clips[clips["split"] == "train"]
    for name, effect in GAPS.items():
        is_empty = train[name].isna() | (train[name].astype("str") == "")
        if is_empty.any() and not is_empty.all():
            text = "%s: column %s is empty for %d of %d training clips, such as %s: %s"
            example = train.loc[is_empty, "clip"].iloc[0]
            logger.warning(text, table, name, is_empty.sum(), len(train), example, effect)


def _names(raw: pd.DataFrame) -> list[str]:
    """The path of each clip, with its times where it is an excerpt."""
    spans = [raw[name] if name in raw else pd.Series("", raw.index) for name in EXCERPT_COLUMNS]
    return [
        f"{path}@{start or 0}-{end}" if start or end else str(path)
        for path, start, end in zip(raw["path"], *spans, strict=True)
    ]


def _label(text: str) -> str:
    """One tag or several, each once, in the order of the table; tags have no spaces."""
    tags = (tag_name(tag) for tag in text.split(SEPARATOR))
    return SEPARATOR.join(dict.fromkeys(tag for tag in tags if tag))


ADAPTER = Adapter(
    read_clips=read_clips,
    description="any folder of class folders, or a csv of paths and labels",
    metric="map_at_3",
    scheme="stratified",
    k=5,
    folds=(0, 1, 2, 3, 4),
)
