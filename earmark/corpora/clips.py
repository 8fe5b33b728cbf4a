"""The clips table: one row per clip, with the same columns for every corpus."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from earmark.sound.recordings import name_of

SCHEMA = pa.DataFrameSchema(
    {
        "clip": pa.Column(str, pa.Check.str_length(min_value=1)),
        "path": pa.Column(str, pa.Check.str_length(min_value=1)),
        # One tag, or several with ";" between them; "" for a test clip without a label.
        "label": pa.Column(str),
        # The tag of the auxiliary task (Chen & Gupta); "" where there is none.
        "aux_label": pa.Column(str),
        "source": pa.Column(str),  # the recording that a clip was cut from; "" where unknown
        "fold": pa.Column("Int64", nullable=True),  # the corpus' official fold, where it has one
        "verified": pa.Column(bool),
        "split": pa.Column(str, pa.Check.isin(["train", "test"])),
        "usage": pa.Column(str, pa.Check.isin(["", "Public", "Private", "Ignored"])),
        "licence": pa.Column(str),
        # The excerpt of the file that is the clip, in seconds; NaN: the start or end of the file.
        "start_seconds": pa.Column(float, pa.Check.ge(0), nullable=True),
        "end_seconds": pa.Column(float, pa.Check.gt(0), nullable=True),
    },
    strict=True,
    ordered=True,
)
COLUMNS = list(SCHEMA.columns)


def clips_table(columns: dict[str, Any]) -> pd.DataFrame:
    """A clips table of the given columns; in the others no value is known yet.

    Args:
        columns: name of a column of SCHEMA -> a value for each clip, or one for all.

    >>> table = clips_table({"clip": ["a.wav"], "path": ["dog/a.wav"], "label": ["dog"]})
    >>> table[["clip", "label", "verified", "split"]].to_dict("records")
    [{'clip': 'a.wav', 'label': 'dog', 'verified': True, 'split': 'train'}]
    """
    table = pd.DataFrame({name: _writable(values) for name, values in columns.items()})
    unknown: dict[str, Any] = {
        "label": "",
        "aux_label": "",
        "source": "",
        "fold": pd.NA,
        "verified": True,
        "split": "train",
        "usage": "",
        "licence": "",
        "start_seconds": np.nan,
        "end_seconds": np.nan,
    }
    for name, value in unknown.items():
        if name not in table:
            table[name] = value
    texts = ["clip", "path", "label", "aux_label", "source", "split", "usage", "licence"]
    seconds = dict.fromkeys(["start_seconds", "end_seconds"], float)
    types: Any = {**dict.fromkeys(texts, "str"), "fold": "Int64", "verified": bool, **seconds}
    return table[COLUMNS].astype(types)


def _writable(values: Any) -> Any:
    """Texts as a table can hold them, since some are names of files that are not UTF-8."""
    if isinstance(values, list):
        return [name_of(value) if isinstance(value, str) else value for value in values]
    return values
