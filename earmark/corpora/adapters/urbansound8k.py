"""UrbanSound8K: slices of at most 4 s with ten official folds, which are never shuffled."""

from pathlib import Path

import pandas as pd

from earmark.corpora.adapters.adapter import Adapter, refuse_table, wrong_layout
from earmark.corpora.adapters.tables import read_csv, tag_name, whole_numbers
from earmark.corpora.clips import clips_table

_REQUIRED = ("slice_file_name", "fsid", "fold", "class")
_OPTIONAL = ("start", "end", "salience", "classid")


def read_clips(root: Path, table: str) -> pd.DataFrame:
    """All slices in the order of the csv; the recording that they were cut from is the source.

    Raises:
        UserError: there is no metadata/UrbanSound8K.csv.
    """
    refuse_table("UrbanSound8K", table)
    metadata = root / "metadata" / "UrbanSound8K.csv"
    if not metadata.is_file():
        raise wrong_layout(root, "metadata/UrbanSound8K.csv beside audio/fold1 to audio/fold10")
    raw = read_csv(metadata, required=_REQUIRED, optional=_OPTIONAL)
    fold = whole_numbers(raw, "fold", "slice_file_name", metadata)
    names = zip(fold, raw["slice_file_name"], strict=True)
    return clips_table(
        {
            "clip": raw["slice_file_name"],
            "path": [f"audio/fold{number}/{name}" for number, name in names],
            "label": [tag_name(label) for label in raw["class"]],
            "source": raw["fsid"],
            "fold": fold,
        }
    )


ADAPTER = Adapter(
    read_clips=read_clips,
    description="UrbanSound8K: sounds of cities, at most 4 s each, 10 tags",
    metric="accuracy",
    scheme="official",
    k=10,
    folds=tuple(range(1, 11)),
)
