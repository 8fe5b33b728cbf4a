"""What the audit measures of the decoded clips, apart from folds, ensemble and label corrections.

This takes most of the audit's time, and no experiment changes it, so it is a stage of its own.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earmark.audit.duplicates import DuplicateSearch, find_duplicates
from earmark.audit.null_distribution import NullDistribution
from earmark.audit.sound import measure_clips
from earmark.layout import Layout
from earmark.params import Params
from earmark.store import Store, read_json, read_table, whole_folder, write_json, write_table


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


def measure_corpus(params: Params, layout: Layout) -> Measurements:
    """Find the duplicates among the decoded clips, and measure their sound.

    Raises:
        UserError: the corpus is not decoded yet.
    """
    store = Store.open(layout.decoded)
    labels, workers = _labels(store, layout), params.runtime.workers
    search = find_duplicates(store, labels, seed=params.seed, workers=workers)
    sound = measure_clips(store, workers=workers)
    return Measurements(search, sound, _digest(store, labels, params.seed))


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
    numbers = read_json(folder / "measurements.json")
    # JSON has no NaN: what could not be fitted was written as null.
    null: dict[str, Any] = {
        name: np.nan if value is None else value for name, value in numbers["null"].items()
    }
    search = DuplicateSearch(
        pairs=read_table(folder / "duplicates.parquet"),
        null=NullDistribution(**null),
        n_candidates=numbers["n_candidates"],
        without_fingerprint=numbers["without_fingerprint"],
    )
    return Measurements(search, read_table(folder / "sound.parquet"), numbers["inputs"])


def are_current(params: Params, layout: Layout) -> bool:
    """Whether data/audit_sound/ exists and was measured on the decoded clips that are here."""
    path = layout.audit_sound / "measurements.json"
    if not path.exists():
        return False
    if not layout.decoded.exists():
        return True
    store = Store.open(layout.decoded)
    return bool(read_json(path)["inputs"] == _digest(store, _labels(store, layout), params.seed))


def _labels(store: Store, layout: Layout) -> list[str]:
    """The labels of the decoded clips as the corpus gives them, in the order of the store."""
    clips = read_table(layout.clips)
    by_clip = clips[~clips["quarantined"]].set_index("clip")["label"]
    return list(by_clip.reindex(store.index["clip"]).fillna(""))


def _digest(store: Store, labels: list[str], seed: int) -> str:
    text = "\n".join([store.digest, str(seed), *labels])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
