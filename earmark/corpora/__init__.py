"""Corpora: one adapter a layout, each of which yields one clips table."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from earmark.corpora import folder, fsdkaggle2018

Adapter = Callable[[Path, str], pd.DataFrame]

ADAPTERS: dict[str, Adapter] = {
    "folder": folder.read_clips,
    "fsdkaggle2018": fsdkaggle2018.read_clips,
}
