"""What the adapters share: reading the tables that come with a corpus, and naming tags."""

import logging
import warnings
from pathlib import Path

import pandas as pd

from earmark.errors import UserError

logger = logging.getLogger(__name__)

_TRUE, _FALSE = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})


def read_csv(
    table: Path,
    *,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
    separator: str = ",",
) -> pd.DataFrame:
    """Read a csv as text; columns that nobody knows are named in the log and left out.

    Raises:
        UserError: the file is missing, no csv, or lacks one of the `required` columns.
    """
    raw = read_cells(table, separator=separator)
    missing = [name for name in required if name not in raw]
    if missing:
        has = ", ".join(raw.columns)
        raise UserError(f"{table}: no column {', '.join(missing)}; it has {has}; rename or add it")
    strangers = [name for name in raw.columns if name not in (*required, *optional)]
    if strangers:
        logger.info("%s: columns not used: %s", table, ", ".join(strangers))
    return raw


def read_cells(
    table: Path, *, separator: str = ",", names: tuple[str, ...] | None = None
) -> pd.DataFrame:
    """Read every cell as text without spaces around it; `names` are the columns of a bare table.

    Names of columns come out in lower case.

    Raises:
        UserError: the file is missing, no csv, or two of its columns have one name.
    """
    try:
        raw = _text_of(table, separator, names)
    except FileNotFoundError:
        raise UserError(f"{table}: not there; correct corpus.table or corpus.root") from None
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UserError(f"{table}: no readable csv: {' '.join(str(error).split())}") from None
    raw.columns = [str(name).strip().lower() for name in raw.columns]
    if not raw.columns.is_unique:
        raise UserError(f"{table}: two columns have one name ({', '.join(raw.columns)}); fix it")
    for name in raw.columns:
        raw[name] = raw[name].str.strip()
    return raw


def _text_of(table: Path, separator: str, names: tuple[str, ...] | None) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Of rows longer than the header pandas would make an index, and so shift every column.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            table,
            sep=separator,
            names=names,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            index_col=False,
        )


def flags(raw: pd.DataFrame, column: str, name: str, table: Path) -> list[bool]:
    """A column of yes and no as booleans; `name` is the column that names the clip in an error."""
    values = []
    for text, clip in zip(raw[column].str.lower(), raw[name], strict=True):
        if text not in _TRUE | _FALSE:
            raise UserError(f"{table}: clip {clip}: {column} is {text!r}; write 1 or 0")
        values.append(text in _TRUE)
    return values


def whole_numbers(raw: pd.DataFrame, column: str, name: str, table: Path) -> pd.Series:
    """A column of whole numbers as Int64; empty cells are missing."""
    numbers = pd.to_numeric(raw[column].replace("", None), errors="coerce")
    bad = (raw[column] != "") & ~(numbers.abs() < 2**31) | (numbers % 1 != 0) & numbers.notna()
    if bad.any():
        row = raw[bad].iloc[0]
        raise UserError(f"{table}: clip {row[name]}: {column} {row[column]!r} is no whole number")
    return numbers.astype("Int64")


def seconds(raw: pd.DataFrame, column: str, name: str, table: Path) -> pd.Series:
    """A column of times in seconds as floats; empty cells are NaN."""
    numbers = pd.to_numeric(raw[column].replace("", None), errors="coerce").astype(float)
    bad = (raw[column] != "") & ~(numbers >= 0) | (numbers == float("inf"))
    if bad.any():
        row = raw[bad].iloc[0]
        said = f"clip {row[name]}: {column} is {row[column]!r}"
        raise UserError(f"{table}: {said}; write seconds, or nothing for the whole recording")
    return numbers


def tag_name(text: str) -> str:
    """A tag without spaces, which separate tags in a submission: `big dog` is `big_dog`."""
    return "_".join(text.split())
