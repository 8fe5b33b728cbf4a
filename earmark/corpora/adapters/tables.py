"""Read the tables that come with a corpus, cell by cell as text, and name tags."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from earmark.corpora import text_tables
from earmark.corpora.text_tables import ROW, check_columns
from earmark.errors import UserError
from earmark.wording import named, nearest

_TRUE = frozenset({"1", "1.0", "true", "t", "yes", "y"})
_FALSE = frozenset({"0", "0.0", "false", "f", "no", "n"})
_KEY = "corpus.table or corpus.root"


def read_csv(
    table: Path,
    *,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
    separator: str = ",",
) -> pd.DataFrame:
    """Read a csv as `read_cells` does; unknown columns are ignored, and the log names them.

    Raises:
        UserError: the file is missing, is not a csv, or lacks one of the `required` columns.
    """
    raw = read_cells(table, separator=separator)
    check_columns(raw, table, required=required, optional=optional)
    return raw


def read_cells(table: Path, *, separator: str = ",", names: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of the corpus, as `earmark.corpora.text_tables.read_cells` does."""
    return text_tables.read_cells(table, key=_KEY, separator=separator, names=names)


def refuse(raw: pd.DataFrame, is_bad: "pd.Series[bool]", name: str, table: Path, why: str) -> None:
    """Refuse the rows that are bad in one line, which names them and their clips.

    Args:
        raw: what `read_csv` returned.
        is_bad: of each row.
        name: of the column that names the clip.
        table: where they stand.
        why: what is wrong with the first of them, and the fix.

    Raises:
        UserError: there is such a row.
    """
    if is_bad.any():
        rows, clips = (raw.loc[is_bad, column].tolist() for column in (ROW, name))
        where = (
            f"{named('row', rows)} ({named('clip', clips)})" if any(clips) else named("row", rows)
        )
        raise UserError(f"{table}: {where}: {why}")


def _first(raw: pd.DataFrame, column: str, is_bad: "pd.Series[bool]") -> str:
    values = [repr(value) for value in raw.loc[is_bad, column].unique()]
    return f"{column} is {' or '.join(values) if len(values) < 3 else f'such as {values[0]}'}"


def flags(raw: pd.DataFrame, column: str, name: str, table: Path) -> list[bool]:
    """A column of yes and no as booleans; the column `name` names the clip in an error."""
    texts = raw[column].str.lower()
    bad = ~texts.isin(_TRUE | _FALSE)
    refuse(raw, bad, name, table, f"{_first(raw, column, bad)}; write 1 or 0")
    return texts.isin(_TRUE).tolist()


def choices(
    raw: pd.DataFrame, column: str, name: str, table: Path, *, valid: Sequence[str]
) -> pd.Series:
    """A column that holds one of some words, in upper or lower case, or nothing."""
    word_of = {word.lower(): word for word in ("", *valid)}
    words = raw[column].str.lower().map(word_of)
    bad = words.isna()
    near = nearest(next(iter(raw.loc[bad, column]), ""), valid)
    fix = f"did you mean {near}?" if near else f"write {' or '.join(valid)}"
    refuse(raw, bad, name, table, f"{_first(raw, column, bad)}; {fix}")
    return words.astype("str")


def whole_numbers(raw: pd.DataFrame, column: str, name: str, table: Path) -> pd.Series:
    """A column of whole numbers from 0 as Int64; empty cells are missing."""
    numbers = pd.to_numeric(raw[column].replace("", None), errors="coerce")
    bad = (raw[column] != "") & ~numbers.between(0, 2**31 - 1)
    bad |= (numbers % 1 != 0) & numbers.notna()
    why = f"{_first(raw, column, bad)}, not a whole number from 0; correct it or leave it empty"
    refuse(raw, bad, name, table, why)
    return numbers.astype("Int64")


def seconds(raw: pd.DataFrame, column: str, name: str, table: Path) -> pd.Series:
    """A column of times in seconds as floats; empty cells are NaN."""
    numbers = pd.to_numeric(raw[column].replace("", None), errors="coerce").astype(float)
    bad = (raw[column] != "") & ~(numbers >= 0) | (numbers == float("inf"))
    text = "write seconds such as 12.5, or nothing for the start or end of the recording"
    refuse(raw, bad, name, table, f"{_first(raw, column, bad)}; {text}")
    return numbers


def tag_name(text: str) -> str:
    """A tag without spaces, since spaces separate tags in a submission: `big dog` is `big_dog`."""
    return "_".join(text.split())
