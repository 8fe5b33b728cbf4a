"""Making Sense of Sounds 2018: five categories, and the event within each as the auxiliary task."""

from pathlib import Path
from typing import Any

import pandas as pd

from earmark.corpora.adapters.adapter import Adapter, refuse_table, wrong_layout
from earmark.corpora.adapters.tables import read_csv, tag_name
from earmark.corpora.clips import clips_table
from earmark.errors import UserError


def read_clips(root: Path, table: str) -> pd.DataFrame:
    """The development clips, then the evaluation clips if their log sheet is there (split test).

    The label is the category, aux_label is the event. The sheets name no recording.

    Raises:
        UserError: Logsheet_Development.csv is missing, or an event is in two categories.
    """
    refuse_table("MSoS", table)
    development = root / "Logsheet_Development.csv"
    evaluation = root / "Logsheet_EvaluationMaster.csv"
    if not development.is_file():
        raise wrong_layout(root, "Logsheet_Development.csv beside the folder Development")
    sheets = [_read_sheet(development, "train")]
    _check_events(sheets[0], development)
    if evaluation.is_file():
        sheets.append(_read_sheet(evaluation, "test"))
    return pd.concat(sheets, ignore_index=True)


def _read_sheet(sheet: Path, split: str) -> pd.DataFrame:
    raw = read_csv(sheet, required=("category", "event", "file"))
    is_train = split == "train"
    folders = "Development/" + raw["category"] + "/" if is_train else "Evaluation/"
    columns: dict[str, Any] = {
        "clip": raw["file"],
        "path": folders + raw["file"],
        "label": [tag_name(category) for category in raw["category"]],
        "aux_label": [tag_name(event) for event in raw["event"]],
        "split": [split] * len(raw),
    }
    return clips_table(columns)


def _check_events(clips: pd.DataFrame, sheet: Path) -> None:
    categories = clips.groupby("aux_label")["label"].unique()
    for event, names in categories[categories.str.len() > 1].items():
        raise UserError(f"{sheet}: event {event} is in {' and '.join(names)}; fix the sheet")


ADAPTER = Adapter(
    read_clips=read_clips,
    description="Making Sense of Sounds 2018: 5 categories and, as auxiliary labels, 91 events",
    metric="macro_f1",  # Chen & Gupta, table 1; the challenge's own is not known
    scheme="stratified",
    k=5,
    folds=(0,),  # Chen & Gupta: one random fifth validates
)
