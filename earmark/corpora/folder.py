"""Any labelled folder: class folders, or a csv with path, label and what else is known."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.clips import clips_table
from earmark.errors import UserError

logger = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
OPTIONAL_COLUMNS = ("fold", "source", "verified", "split", "usage", "licence")
_TRUE, _FALSE = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})


def read_clips(root: Path, table: str) -> pd.DataFrame:
    """The clips of a csv (paths relative to `root`), or of class folders if `table` is empty.

    Clips are named by their path. The order is that of the csv, or of the sorted paths.

    Raises:
        UserError: the folder, the csv or a column of it is not as said here.
    """
    if not root.is_dir():
        raise UserError(f"corpus.root: {root} is not a folder; set it to where the recordings lie")
    return _from_table(root / table) if table else _from_class_folders(root)


def is_recording(path: Path) -> bool:
    """Whether a name is that of audio; a Mac leaves ._name.wav beside name.wav, with no sound."""
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in AUDIO_SUFFIXES and not is_hidden


def _from_class_folders(root: Path) -> pd.DataFrame:
    files = [path for path in sorted(root.glob("*/**/*")) if path.is_file()]
    found = [path.relative_to(root) for path in files if is_recording(path.relative_to(root))]
    if len(found) < len(files):
        logger.info("%s: %d files that are no audio ignored", root, len(files) - len(found))
    if not found:
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        raise UserError(f"corpus.root: {root} has no class folder with audio in it ({suffixes})")
    names = [path.as_posix() for path in found]
    labels = ["_".join(path.parts[0].split()) for path in found]
    return clips_table({"clip": names, "path": names, "label": labels})


def _from_table(table: Path) -> pd.DataFrame:
    raw = read_csv(table, required=("path", "label"), optional=OPTIONAL_COLUMNS)
    columns: dict[str, Any] = {
        "clip": raw["path"],
        "path": raw["path"],
        "label": ["_".join(label.split()) for label in raw["label"]],
    }
    for label, path in zip(raw["label"], raw["path"], strict=True):
        if ";" in label:
            raise UserError(f"{table}: clip {path}: several labels ({label}); give it one")
    for name in ("source", "usage", "licence"):
        if name in raw:
            columns[name] = raw[name]
    if "split" in raw:
        columns["split"] = raw["split"].where(raw["split"] != "", "train")
    if "fold" in raw:
        columns["fold"] = _whole_numbers(raw, table)
    if "verified" in raw:
        columns["verified"] = flags(raw, "verified", "path", table)
    return clips_table(columns)


def read_csv(
    table: Path, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Read a csv as text; columns that nobody knows are named in the log and left out."""
    try:
        raw = _text_of(table)
    except FileNotFoundError:
        raise UserError(f"{table}: not there; correct corpus.table or corpus.root") from None
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UserError(f"{table}: no readable csv: {' '.join(str(error).split())}") from None
    raw.columns = [str(name).strip().lower() for name in raw.columns]
    if not raw.columns.is_unique:
        raise UserError(f"{table}: two columns have one name ({', '.join(raw.columns)}); mend it")
    missing = [name for name in required if name not in raw]
    if missing:
        has = ", ".join(raw.columns)
        raise UserError(f"{table}: no column {', '.join(missing)}; it has {has}; rename or add it")
    strangers = [name for name in raw.columns if name not in (*required, *optional)]
    if strangers:
        logger.info("%s: columns not used: %s", table, ", ".join(strangers))
    for name in raw.columns:
        raw[name] = raw[name].str.strip()
    return raw


def _text_of(table: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Of rows longer than the header pandas would make an index, and so shift every column.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            table, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
        )


def flags(raw: pd.DataFrame, column: str, name: str, table: Path) -> list[bool]:
    """A column of yes and no as booleans."""
    values = []
    for text, clip in zip(raw[column].str.lower(), raw[name], strict=True):
        if text not in _TRUE | _FALSE:
            raise UserError(f"{table}: clip {clip}: {column} is {text!r}; write 1 or 0")
        values.append(text in _TRUE)
    return values


def _whole_numbers(raw: pd.DataFrame, table: Path) -> pd.Series:
    numbers = pd.to_numeric(raw["fold"].replace("", None), errors="coerce")
    bad = (raw["fold"] != "") & ~(numbers.abs() < 2**31) | (numbers % 1 != 0) & numbers.notna()
    if bad.any():
        row = raw[bad].iloc[0]
        raise UserError(f"{table}: clip {row['path']}: fold {row['fold']!r} is no whole number")
    return numbers.astype("Int64")
