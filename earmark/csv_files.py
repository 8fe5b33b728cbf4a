r"""csv files that a user may open in a spreadsheet: no cell of them is taken for a formula.

A spreadsheet computes a cell that begins with = + - or @, and a label or the name of a file may be
written by somebody else. Such a cell gets a `'` before it, as OWASP advises ("CSV Injection"), and
so does each tag of several, since a spreadsheet may cut cells at `;`. Numbers stay as they are.
"""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.labels import SEPARATOR

# Full-width forms too: some spreadsheets read them as the signs.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def neutral(text: str) -> str:
    """A cell that no spreadsheet computes; `original` takes it back.

    >>> neutral("=1+1.wav"), neutral("-"), neutral("-0.5"), neutral("dog;@cat")
    ("'=1+1.wav", "'-", '-0.5', "dog;'@cat")
    """
    return SEPARATOR.join(
        f"'{part}" if _is_formula(part) else part for part in text.split(SEPARATOR)
    )


def original(text: str) -> str:
    """The cell that `neutral` was given; a cell that it never writes stays as it is.

    >>> original("'=1+1.wav"), original("=1+1.wav"), original("'tis")
    ('=1+1.wav', '=1+1.wav', "'tis")
    """
    return SEPARATOR.join(
        part[1:] if part.startswith("'") and _is_formula(part[1:]) else part
        for part in text.split(SEPARATOR)
    )


def _is_formula(text: str) -> bool:
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


def write_csv(path: Path, table: pd.DataFrame, *, literal: bool = False) -> None:
    """Write a table without its index; texts are made `neutral`, numbers are not.

    Args:
        literal: leave texts as they are, in a file that a machine reads and no reader of ours.
    """
    if not literal:
        table = _mapped(table.astype(dict.fromkeys(_texts(table), object)), neutral)
    # Within a cell a carriage return would begin a row, so all texts are then quoted.
    texts = [*table.columns, *(cell for name in _texts(table) for cell in table[name])]
    has_returns = any("\r" in str(text) for text in texts)
    table.to_csv(
        path,
        index=False,
        lineterminator="\n",
        encoding="utf-8",
        quoting=csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL,
    )


def read_csv(path: Path, *, dtype: Any = None) -> pd.DataFrame:
    """Read what `write_csv` wrote; empty cells are "" in columns of text, else missing.

    Args:
        dtype: of the columns, as pandas takes it.
    """
    table = pd.read_csv(path, dtype=dtype, encoding="utf-8", keep_default_na=False, na_values=[""])
    texts = _texts(table)
    table = table.astype(dict.fromkeys(texts, "str")).fillna(dict.fromkeys(texts, ""))
    return _mapped(table, original)


def _texts(table: pd.DataFrame) -> list[Any]:
    """The columns that may hold texts."""
    return [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]


def _mapped(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Change each text of a table, and the names of its columns; types stay."""
    mapped = table.copy()
    for name in _texts(table):
        cells = [change(one) if isinstance(one, str) else one for one in table[name]]
        mapped[name] = pd.Series(cells, index=table.index, dtype=table[name].dtype)
    return mapped.rename(columns=lambda name: change(str(name)))
