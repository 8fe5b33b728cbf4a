"""DCASE 2017 task 4, subtask A: sounds of traffic and warning in videos, several tags per clip."""

from functools import partial
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
from earmark.errors import UserError
from earmark.labels import SEPARATOR
from earmark.sound.recordings import files_below, is_recording

TRAINING, TESTING, EVALUATION = "training", "testing", "evaluation"
_COLUMNS = ("file", "start", "end", "label")


def read_clips(root: Path, table: str, *, development: bool) -> pd.DataFrame:
    """The clips of three sets, each in the order of its table; the video is the source.

    The challenge trains on the training set, develops on the testing set and ranks on the
    evaluation set: these are our training, validation and test clips. With `development` the
    testing set is the test, as in Lee et al., table 1, and cv.scheme takes validation clips from
    the training set. The tables may be in `root` or in a folder in it. The audio may be in any
    folder and format, under its name in the tables or with the prefix Y.

    Raises:
        UserError: a table is missing, or has other columns.
    """
    refuse_table("DCASE 2017 task 4", table)
    if development:
        sets = [_read_set(root, TRAINING), _read_set(root, TESTING, split="test")]
    else:
        sets = [
            _read_set(root, TRAINING, fold=TRAINING_FOLD),
            _read_set(root, TESTING, fold=VALIDATION_FOLD),
            _read_set(root, EVALUATION, split="test"),
        ]
    clips = pd.concat(sets, ignore_index=True)
    clips["path"] = _audio_paths(root, clips["clip"])
    return clips


def _read_set(
    root: Path, name: str, *, split: str = "train", fold: int | None = None
) -> pd.DataFrame:
    file = f"groundtruth_weak_label_{name}_set.csv"
    tables = [path for path in (root / file, *sorted(root.glob(f"*/{file}"))) if path.is_file()]
    if not tables:
        raise wrong_layout(root, f"{file}, neither in it nor in one of its folders")
    raw = read_cells(tables[0], separator="\t", names=_COLUMNS)
    if (blank := raw["label"] == "").any():
        clip = raw[blank].iloc[0]["file"]
        raise UserError(
            f"{tables[0]}: clip {clip}: no label in the fourth column; fetch the table again"
        )
    tags = raw["label"].map(tag_name)
    labels = tags.groupby(raw["file"], sort=False).agg(lambda of_clip: sorted(set(of_clip)))
    return clips_table(
        {
            "clip": labels.index,
            "path": labels.index,
            "label": [SEPARATOR.join(of_clip) for of_clip in labels],
            "source": [name.rsplit("_", 2)[0] for name in labels.index],  # VIDEO_start_end.wav
            "fold": pd.array([fold] * len(labels), dtype="Int64"),
            "split": split,
        }
    )


def _audio_paths(root: Path, names: pd.Series) -> list[str]:
    """The path of each clip's audio; missing audio gets a path too, and will be quarantined."""
    files = (path.relative_to(root) for path in sorted(files_below(root)))
    path_of = {path.stem: path.as_posix() for path in files if is_recording(path)}
    stems = [name.removesuffix(".wav") for name in names]
    return [path_of.get(f"Y{stem}", path_of.get(stem, f"audio/Y{stem}.wav")) for stem in stems]


_DESCRIPTION = (
    "DCASE 2017 task 4: sounds of traffic and warning, 10 s each, 17 tags, several per clip"
)
ADAPTER = Adapter(
    read_clips=partial(read_clips, development=False),
    description=_DESCRIPTION,
    metric="micro_f1",
    scheme="official",
    k=2,
    folds=(VALIDATION_FOLD,),
)
DEVELOPMENT = Adapter(
    read_clips=partial(read_clips, development=True),
    description=f"{_DESCRIPTION}; tested on its testing set",
    metric="micro_f1",
    scheme="stratified",
    k=9,  # Lee et al. validate on 5,859 of 51,172 clips
    folds=(0,),
)
