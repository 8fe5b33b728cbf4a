"""Any labelled folder: class folders, or a csv with path, label and what else is known."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.corpora.adapters.adapter import Adapter
from earmark.corpora.adapters.tables import flags, read_csv, seconds, tag_name, whole_numbers
from earmark.corpora.clips import clips_table
from earmark.errors import UserError
from earmark.labels import SEPARATOR
from earmark.sound.recordings import AUDIO_SUFFIXES, is_recording

logger = logging.getLogger(__name__)

EXCERPT_COLUMNS = ("start_seconds", "end_seconds")
OPTIONAL_COLUMNS = (
    *("fold", "source", "verified", "split", "usage", "licence", "aux_label"),
    *EXCERPT_COLUMNS,
)


def read_clips(root: Path, table: str) -> pd.DataFrame:
    """The clips of a csv (paths relative to `root`), or of class folders if `table` is empty.

    Several tags of a clip stand with `;` between them. With start_seconds or end_seconds a clip is
    a part of its recording, which is its source unless the csv names one. Clips are named by their
    path, and by their times. The order is that of the csv, or of the sorted paths.

    Raises:
        UserError: the folder, the csv or a column of it is not as said here.
    """
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder; set it to where the recordings lie")
    return _from_table(root / table) if table else _from_class_folders(root)


def _from_class_folders(root: Path) -> pd.DataFrame:
    files = [path for path in sorted(root.glob("*/**/*")) if path.is_file()]
    found = [path.relative_to(root) for path in files if is_recording(path.relative_to(root))]
    if len(found) < len(files):
        logger.info("%s: %d files that are no audio ignored", root, len(files) - len(found))
    if not found:
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        raise UserError(f"corpus.root: {root} has no class folder with audio in it ({suffixes})")
    names = [path.as_posix() for path in found]
    if several := sorted({path.parts[0] for path in found if SEPARATOR in path.parts[0]}):
        fix = "rename it; clips of several tags need a csv"
        raise UserError(f"corpus.root: class folder {several[0]!r} holds {SEPARATOR!r}; {fix}")
    labels = [tag_name(path.parts[0]) for path in found]
    return clips_table({"clip": names, "path": names, "label": labels})


def _from_table(table: Path) -> pd.DataFrame:
    raw = read_csv(table, required=("path", "label"), optional=OPTIONAL_COLUMNS)
    columns: dict[str, Any] = {
        "clip": _names(raw),
        "path": raw["path"],
        "label": [_label(text) for text in raw["label"]],
    }
    for name in ("source", "usage", "licence"):
        if name in raw:
            columns[name] = raw[name]
    if "aux_label" in raw:
        columns["aux_label"] = [tag_name(text) for text in raw["aux_label"]]
    if "split" in raw:
        columns["split"] = raw["split"].where(raw["split"] != "", "train")
    if "fold" in raw:
        columns["fold"] = whole_numbers(raw, "fold", "path", table)
    if "verified" in raw:
        columns["verified"] = flags(raw, "verified", "path", table)
    for name in EXCERPT_COLUMNS:
        if name in raw:
            columns[name] = seconds(raw, name, "path", table)
    clips = clips_table(columns)
    is_part = clips[[*EXCERPT_COLUMNS]].notna().any(axis=1)
    # Parts of one recording never part between folds, even if the table names no source.
    clips["source"] = clips["source"].mask(is_part & (clips["source"] == ""), clips["path"])
    return clips


def _names(raw: pd.DataFrame) -> list[str]:
    """A clip is named by its path, and by its times where it is a part of a recording."""
    spans = [raw[name] if name in raw else pd.Series("", raw.index) for name in EXCERPT_COLUMNS]
    return [
        f"{path}@{start or 0}-{end}" if start or end else str(path)
        for path, start, end in zip(raw["path"], *spans, strict=True)
    ]


def _label(text: str) -> str:
    """One tag or several, each once, in the order of the table; tags are without spaces."""
    tags = (tag_name(tag) for tag in text.split(SEPARATOR))
    return SEPARATOR.join(dict.fromkeys(tag for tag in tags if tag))


ADAPTER = Adapter(
    read_clips=read_clips,
    about="any folder of class folders, or a csv of paths and labels",
    metric="map_at_3",
    scheme="stratified",
    k=5,
    folds=(0, 1, 2, 3, 4),
)
