"""What the audit measured of the decoded clips, and its files in data/audit_sound/."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earmark.audit.duplicate_search import DuplicateSearch
from earmark.audit.null_distribution import NullDistribution
from earmark.errors import reading
from earmark.records import read_json, read_table, write_json, write_table
from earmark.whole_files import whole_folder


@dataclass(frozen=True)
class Measurements:
    """The measurements of all decoded clips.

    Attributes:
        search: the duplicates among them.
        sound: one row per clip, see `sound.measure_clips`.
        inputs: a digest of what they were measured on.
    """

    search: DuplicateSearch
    sound: pd.DataFrame
    inputs: str


def write_measurements(measurements: Measurements, folder: Path) -> None:
    """Write the folder data/audit_sound/."""
    search = measurements.search
    with whole_folder(folder) as part:
        write_table(part / "duplicates.parquet", search.pairs)
        write_table(part / "sound.parquet", measurements.sound)
        numbers = {
            "inputs": measurements.inputs,
            "null": asdict(search.null),
            "n_candidates": search.n_candidates,
            "without_fingerprint": search.without_fingerprint,
        }
        write_json(part / "measurements.json", numbers)


def read_measurements(folder: Path) -> Measurements:
    """Read what `write_measurements` wrote.

    Raises:
        UserError: there are no measurements yet.
    """
    path = folder / "measurements.json"
    numbers = read_json(path)
    # JSON has no NaN: what could not be fitted was written as null.
    null: dict[str, Any] = {
        name: np.nan if value is None else value for name, value in numbers["null"].items()
    }
    with reading(path):
        distribution = NullDistribution(**null)
    search = DuplicateSearch(
        pairs=read_table(
            folder / "duplicates.parquet", "first", "second", "relation", "correlation"
        ),
        null=distribution,
        n_candidates=numbers["n_candidates"],
        without_fingerprint=numbers["without_fingerprint"],
    )
    return Measurements(
        search,
        read_table(folder / "sound.parquet", "clip", "split", "clipped_share"),
        numbers["inputs"],
    )
