"""Read the tables that come with a corpus, cell by cell as text, and name tags."""

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
    """Read a csv as text; unknown columns are ignored, and the log names them.

    Raises:
        UserError: the file is missing, is not a csv, or lacks one of the `required` columns.
    """
    raw = read_cells(table, separator=separator)
    missing = [name for name in required if name not in raw]
    if missing:
        has = ", ".join(raw.columns)
        raise UserError(f"{table}: no column {', '.join(missing)}; it has {has}; rename or add it")
    unused = [name for name in raw.columns if name not in (*required, *optional)]
    if unused:
        logger.info("%s: columns not used: %s", table, ", ".join(unused))
    return raw


def read_cells(
    table: Path, *, separator: str = ",", names: tuple[str, ...] | None = None
) -> pd.DataFrame:
    """Read every cell as text without spaces around it; column names become lower case.

    Args:
        names: of the columns of a table without a header.

    Raises:
        UserError: the file is missing, is not a csv, or two of its columns have one name.
    """
    try:
        raw = _text_of(table, separator, names)
    except FileNotFoundError:
        raise UserError(f"{table}: does not exist; correct corpus.table or corpus.root") from None
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{table}: cannot be read ({reason}); save it as csv in UTF-8") from None
    raw.columns = [str(name).strip().lower() for name in raw.columns]
    if not raw.columns.is_unique:
        raise UserError(f"{table}: two columns have one name ({', '.join(raw.columns)}); fix it")
    for name in raw.columns:
        raw[name] = raw[name].str.strip()
    return raw


def _text_of(table: Path, separator: str, names: tuple[str, ...] | None) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Where rows are longer than the header, pandas would take the first column as an index.
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
    """A column of yes and no as booleans; the column `name` names the clip in an error."""
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
        problem = f"{column} {row[column]!r} is not a whole number; correct it or leave it empty"
        raise UserError(f"{table}: clip {row[name]}: {problem}")
    return numbers.astype("Int64")


def seconds(raw: pd.DataFrame, column: str, name: str, table: Path) -> pd.Series:
    """A column of times in seconds as floats; empty cells are NaN."""
    numbers = pd.to_numeric(raw[column].replace("", None), errors="coerce").astype(float)
    bad = (raw[column] != "") & ~(numbers >= 0) | (numbers == float("inf"))
    if bad.any():
        row = raw[bad].iloc[0]
        problem = f"{column} is {row[column]!r}; write seconds, or nothing for the whole recording"
        raise UserError(f"{table}: clip {row[name]}: {problem}")
    return numbers


def tag_name(text: str) -> str:
    """A tag without spaces, since spaces separate tags in a submission: `big dog` is `big_dog`."""
    return "_".join(text.split())
