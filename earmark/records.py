"""Json records and tables, which are written whole and say which file is damaged."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.csv_files import read_csv, write_csv
from earmark.errors import DamagedError, reading
from earmark.whole_files import whole_file


def write_json(path: Path, value: object) -> None:
    """Write a value as json; NaN, such as the area of a tag without clips, becomes null."""
    text = json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False)
    with whole_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Record(dict[str, Any]):
    """A mapping of a json file; an entry that is missing says which file is damaged.

    One that is made of entries alone, as `dataclasses.asdict` copies it, is a plain mapping.
    """

    def __init__(
        self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]], path: Path | None = None
    ) -> None:
        super().__init__((key, _recorded(value, path)) for key, value in dict(entries).items())
        self.path = path

    def __missing__(self, key: str) -> Any:
        if self.path is None:
            raise KeyError(key)
        raise DamagedError(self.path, f"no {key!r} in it")

    def __reduce__(self) -> tuple[type["Record"], tuple[dict[str, Any], Path | None]]:
        return Record, (dict(self), self.path)


def _recorded(value: Any, path: Path | None) -> Any:
    if isinstance(value, dict):
        return Record(value, path)
    return [_recorded(inner, path) for inner in value] if isinstance(value, list) else value


def read_json(path: Path) -> Record:
    """Read the mapping that `write_json` wrote.

    Raises:
        UserError: the file does not exist.
        DamagedError: it holds something else; a missing entry says so when it is asked for.
    """
    with reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no mapping")
    return Record(content, path)


def write_table(path: Path, table: pd.DataFrame, *, literal: bool = False) -> None:
    """Write Parquet, or csv where the path ends in .csv, without the index of the table.

    Args:
        literal: of a csv, as for `earmark.csv_files.write_csv`.
    """
    with whole_file(path) as part:
        if path.suffix == ".csv":
            write_csv(part, table, literal=literal)
        else:
            table.to_parquet(part, index=False)


def read_table(path: Path, *columns: str, dtype: Any = None) -> pd.DataFrame:
    """Read Parquet, or csv where the path ends in .csv.

    Args:
        columns: must be among those of the table.
        dtype: of the columns of a csv, as pandas takes it.

    Raises:
        UserError: the file does not exist.
        DamagedError: it is no such table, or lacks a column.
    """
    with reading(path):
        with path.open("rb") as file:  # pyarrow misnames what is wrong with a path
            is_cut = path.suffix == ".csv" and not file.read().endswith(b"\n")
        if is_cut:
            raise ValueError("cut short")
        table = read_csv(path, dtype=dtype) if path.suffix == ".csv" else pd.read_parquet(path)
        if missing := [column for column in columns if column not in table]:
            raise ValueError(f"no column {missing[0]!r} in it")
    return table
