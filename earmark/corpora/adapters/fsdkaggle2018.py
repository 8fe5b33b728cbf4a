"""FSDKaggle2018 (DCASE 2018 task 2), as published on Zenodo or as laid out by Kaggle."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.corpora.adapters.adapter import Adapter, refuse_table, wrong_layout
from earmark.corpora.adapters.tables import flags, read_csv, tag_name
from earmark.corpora.clips import clips_table

logger = logging.getLogger(__name__)


def read_clips(root: Path, table: str) -> pd.DataFrame:
    """The training clips, then the test clips, in the order of the csv files.

    The freesound id is the source. Kaggle's 7,800 `Ignored` test clips (label "None") padded the
    test set of the competition and were never scored: they are left out.

    Raises:
        UserError: the folder has neither layout.
    """
    refuse_table("FSDKaggle2018", table)
    zenodo = root / "FSDKaggle2018.meta"
    if zenodo.is_dir():
        train = zenodo / "train_post_competition.csv"
        test = zenodo / "test_post_competition_scoring_clips.csv"
        folders = ("FSDKaggle2018.audio_train", "FSDKaggle2018.audio_test")
    elif (root / "train.csv").is_file():
        train, test = root / "train.csv", root / "test_post_competition.csv"
        folders = ("audio_train", "audio_test")
    else:
        expected = "FSDKaggle2018.meta/train_post_competition.csv (Zenodo) or train.csv (Kaggle)"
        raise wrong_layout(root, expected)
    tables = [_read_split(train, folders[0], "train")]
    if test.exists() or zenodo.is_dir():
        tables.append(_read_split(test, folders[1], "test"))
    return pd.concat(tables, ignore_index=True)


def _read_split(table: Path, folder: str, split: str) -> pd.DataFrame:
    required = ("fname", "label", "manually_verified" if split == "train" else "usage")
    raw = read_csv(table, required=required, optional=("freesound_id", "license"))
    if split == "test":
        is_padding = raw["usage"] == "Ignored"
        if is_padding.any():
            logger.info("%s: %d test clips left out: Ignored", table.name, is_padding.sum())
        raw = raw[~is_padding].reset_index(drop=True)
    columns: dict[str, Any] = {
        "clip": raw["fname"],
        "path": [f"{folder}/{name}" for name in raw["fname"]],
        "split": [split] * len(raw),
        "label": [tag_name(label) for label in raw["label"]],
    }
    if split == "train":
        columns["verified"] = flags(raw, "manually_verified", "fname", table)
    else:
        columns["usage"] = raw["usage"]
    if "freesound_id" in raw:
        columns["source"] = raw["freesound_id"]
    if "license" in raw:
        columns["licence"] = raw["license"]
    return clips_table(columns)


ADAPTER = Adapter(
    read_clips=read_clips,
    description="FSDKaggle2018 (DCASE 2018 task 2): sounds of Freesound, 41 tags",
    metric="map_at_3",
    scheme="stratified",
    k=5,
    folds=(0, 1, 2, 3, 4),
)
