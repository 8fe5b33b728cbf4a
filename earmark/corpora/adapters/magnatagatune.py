"""MagnaTagATune: music of 29 s with several tags; its directories 0 to f divide it into splits."""

import logging
import re
from pathlib import Path

import pandas as pd

from earmark.corpora.adapters.adapter import (
    TRAINING_FOLD,
    VALIDATION_FOLD,
    Adapter,
    refuse_table,
    wrong_layout,
)
from earmark.corpora.adapters.tables import read_cells, tag_name
from earmark.corpora.clips import clips_table
from earmark.corpora.text_tables import ROW
from earmark.errors import UserError
from earmark.labels import SEPARATOR

logger = logging.getLogger(__name__)

N_TAGS = 50
TRAINING, VALIDATION, TEST = "0123456789ab", "c", "def"  # Lee et al., by the directory's name
_SEGMENT = re.compile(r"-\d+-\d+$")  # first and last second of the track, in a file's name


def read_clips(root: Path, table: str) -> pd.DataFrame:
    """The clips that have one of the 50 most frequent tags, in the order of the table.

    The source is the track: the name of the file without its seconds. Tracks of one album are
    different sources. The mp3 directories are in `root`, or in its folder mp3.

    Raises:
        UserError: annotations_final.csv is missing, or is not the published one.
    """
    refuse_table("MagnaTagATune", table)
    annotations = root / "annotations_final.csv"
    if not annotations.is_file():
        raise wrong_layout(root, "annotations_final.csv beside the mp3 directories 0 to f")
    raw = read_cells(annotations, separator="\t")
    if missing := [name for name in ("clip_id", "mp3_path") if name not in raw]:
        raise UserError(f"{annotations}: no column {', '.join(missing)}; fetch it again")
    _check_paths(raw, annotations)
    labels = _labels(raw.drop(columns=["clip_id", "mp3_path", ROW]), annotations)
    is_kept = labels != ""
    logger.info(
        "%s: %d of %d clips have none of the %d most frequent tags and are left out",
        *(annotations, (~is_kept).sum(), len(raw), N_TAGS),
    )
    return _clips(raw[is_kept], labels[is_kept], "mp3/" if (root / "mp3").is_dir() else "")


def _check_paths(raw: pd.DataFrame, annotations: Path) -> None:
    known = raw["mp3_path"].str.match(f"[{TRAINING}{VALIDATION}{TEST}]/.")
    if not known.all():
        wrong = raw.loc[~known].iloc[0]
        problem = f"mp3_path {wrong['mp3_path']!r} is in no directory 0 to f; fetch it again"
        raise UserError(f"{annotations}: clip {wrong['clip_id']}: {problem}")


def _labels(marks: pd.DataFrame, annotations: Path) -> pd.Series:
    """The label of each clip, of the most frequent tags; ties go to the first in the table."""
    is_wrong = ~marks.isin(["0", "1"])
    if is_wrong.any(axis=None):
        column = is_wrong.columns[is_wrong.any()][0]
        raise UserError(f"{annotations}: column {column}: a mark is not 0 or 1; fetch it again")
    has_tag = marks == "1"
    frequent = has_tag.sum().sort_values(ascending=False, kind="stable").index[:N_TAGS]
    names = {column: tag_name(column) for column in sorted(frequent)}
    kept = has_tag[list(names)].to_numpy()
    labels = [
        SEPARATOR.join(n for n, mark in zip(names.values(), row, strict=True) if mark)
        for row in kept
    ]
    return pd.Series(labels, marks.index, dtype="str")


def _clips(raw: pd.DataFrame, labels: pd.Series, folder: str) -> pd.DataFrame:
    directory = raw["mp3_path"].str[0]
    fold = directory.map(dict.fromkeys(TRAINING, TRAINING_FOLD) | {VALIDATION: VALIDATION_FOLD})
    tracks = [Path(path).with_suffix("").name for path in raw["mp3_path"]]
    return clips_table(
        {
            "clip": raw["clip_id"],
            "path": folder + raw["mp3_path"],
            "label": labels,
            "source": [_SEGMENT.sub("", track) for track in tracks],
            "fold": fold.astype("Int64"),
            "split": directory.isin(list(TEST)).map({True: "test", False: "train"}),
        }
    ).reset_index(drop=True)


ADAPTER = Adapter(
    read_clips=read_clips,
    description="MagnaTagATune: music, 29 s each, its 50 most frequent tags, several per clip",
    metric="roc_auc",
    scheme="official",
    k=2,
    folds=(VALIDATION_FOLD,),
)
