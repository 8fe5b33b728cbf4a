"""Read a csv that somebody made, cell by cell as text, and say in one line why it cannot be."""

import csv
import io
import logging
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from earmark.errors import UserError
from earmark.sound.recordings import is_recording
from earmark.wording import counted, first_of, hidden_in, is_hidden, named, nearest

logger = logging.getLogger(__name__)

ROW = "#"  # the column that `read_cells` adds: the number of a row, as a spreadsheet shows it
LONGEST = 4096  # characters of a cell that is used: as long as a path may be
_NAMES_OF_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_END = "\x00end\x00"  # no table that is read has a zero character
_TURNS = frozenset(f"U+{number:04X}" for number in (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_OTHER_FILES = {
    b"PK\x03\x04": "a workbook (xlsx, ods) or another zip file",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel (xls)",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"RIFF": "a recording",
    b"%PDF": "a PDF",
}


def read_cells(
    table: Path,
    *,
    key: str,
    separator: str = ",",
    names: Sequence[str] = (),
) -> pd.DataFrame:
    """Read every cell as text without spaces around it; column names become lower case.

    Empty rows and columns without a name are left out, cells missing at the end of a row are
    empty. Where the separator is a comma but the first row is separated by semicolons or tabs, as
    spreadsheets of some countries write it, those separate.

    Args:
        table: a csv in UTF-8.
        key: of params.yaml that names it.
        separator: of its cells.
        names: of the columns of a table without a header.

    Returns:
        Its columns and ROW, the number of each row from 1.

    Raises:
        UserError: it is missing, is no csv, or two of its columns have one name.
    """
    text = read_text(table, key=key)
    if separator == "," and not names:
        separator = _separator_of(text.split("\n", 1)[0])
        if separator != ",":
            logger.info("%s: cells are separated by %s", table, _NAMES_OF_SEPARATORS[separator])
    rows = _rows(table, text, separator)
    if not names:
        if not rows:
            raise UserError(f"{table}: is empty; the first row names the columns")
        names = [_column_name(cell) for cell in rows.pop(0)[1]]
    _check_names(table, names)
    _check_lengths(table, rows, len(names))
    padded = [(row + [""] * len(names))[: len(names)] for _, row in rows]
    columns = list(zip(*padded, strict=True)) if padded else [()] * len(names)
    cells = {
        name: pd.Series(column, dtype="str")
        for name, column in zip(names, columns, strict=True)
        if name
    }
    return pd.DataFrame({**cells, ROW: pd.Series([number for number, _ in rows], dtype="int64")})


def read_text(table: Path, *, key: str) -> str:
    """The content of a text file in UTF-8.

    Raises:
        UserError: it is missing, is not in UTF-8, or is no text.
    """
    if not table.is_file():
        problem = "is not a file" if table.exists() else "does not exist"
        raise UserError(f"{table}: {problem}; correct {key}")
    try:
        data = table.read_bytes()
    except OSError as error:
        raise UserError(f"{table}: cannot be read ({error.strerror}); correct {key}") from None
    for start, what in _OTHER_FILES.items():
        if data.startswith(start):
            raise UserError(f"{table}: is {what}, not a csv; save it as csv in UTF-8")
    if b"\0" in data:
        what = "is in UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "is not text"
        raise UserError(f"{table}: {what}, not a csv in UTF-8; save it as csv in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{table}: line {line}: is not in UTF-8; save it as csv in UTF-8") from None


def _separator_of(first_line: str) -> str:
    """The comma, unless the first line has none, and another separator."""
    others = [one for one in ";\t|" if one in first_line]
    return others[0] if others and "," not in first_line else ","


def _rows(table: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    """The number and the cells of each row that is not empty."""
    # A quotation mark that is never closed takes in the end of the file, and with it this row.
    lines = io.StringIO(f"{text}\n{_END}", newline="")
    reader = csv.reader(lines, delimiter=separator)
    rows: list[tuple[int, list[str]]] = []
    line, number = 0, 0
    cells: list[str] = []
    try:
        for number, cells in enumerate(reader, start=1):
            if cells != [_END] and any(stripped := [cell.strip() for cell in cells]):
                rows.append((number, stripped))
            first_line, line = line + 1, reader.line_num
    except csv.Error:  # a cell of more than 131,072 characters
        number, first_line, cells = number + 1, line + 1, []
    if cells != [_END]:
        fix = "a quotation mark is not closed, or a cell is far too long; correct it"
        raise UserError(f"{table}: row {number} (line {first_line}): {fix}")
    return rows


def _column_name(cell: str) -> str:
    return "".join(one for one in cell if not is_hidden(one)).strip().lower()


def _check_names(table: Path, names: Sequence[str]) -> None:
    for name in names:
        places = [place for place, other in enumerate(names, start=1) if other == name]
        if name and len(places) > 1:
            where = " and ".join(map(str, places))
            fix = "rename or delete all but one"
            raise UserError(f"{table}: columns {where} have one name, {name!r}; {fix}")


def _check_lengths(table: Path, rows: list[tuple[int, list[str]]], n_columns: int) -> None:
    long = [number for number, row in rows if len(row) > n_columns and any(row[n_columns:])]
    if long:
        fix = "write quotation marks around a cell that has a separator in it, or name the column"
        cells = counted(n_columns, "column")
        raise UserError(
            f"{table}: {named('row', long)}: more cells than the first row, with {cells}; {fix}"
        )
    if short := [number for number, row in rows if len(row) < n_columns]:
        text = "%s: %s: fewer cells than columns; those that are missing count as empty"
        logger.warning(text, table, named("row", short))


def check_columns(
    raw: pd.DataFrame, table: Path, *, required: Sequence[str], optional: Sequence[str]
) -> None:
    """Check that a table has its columns; warn of one that was probably meant for another.

    Raises:
        UserError: a required column is missing, or a cell of a known one has hidden characters or
            is too long.
    """
    columns = [str(name) for name in raw if name != ROW]
    known = [*required, *optional]
    if missing := [name for name in required if name not in columns]:
        near = nearest(missing[0], [name for name in columns if name not in known])
        fix = f"rename {near} to {missing[0]}" if near else "rename or add it"
        if any(is_recording(Path(name)) for name in columns):
            fix = f"the first row is data, so add a row {','.join(required)} above it"
        has = f"the first row has {first_of(columns, limit=6)}"
        raise UserError(f"{table}: no column {', '.join(missing)}; {has}; {fix}")
    unused = []
    for name in (name for name in columns if name not in known):
        meant = [one for one in known if one not in columns]
        word = name.replace("begin", "start")
        if near := nearest(word, meant) or next((m for m in meant if m.startswith(f"{word}_")), ""):
            logger.warning("%s: column %s is not used; did you mean %s?", table, name, near)
        else:
            unused.append(name)
    if unused:
        logger.info("%s: columns not used: %s", table, ", ".join(unused))
    problems = [_cell_problem(raw, table, name) for name in known if name in columns]
    if problems := [problem for problem in problems if problem]:
        raise UserError(*problems)


def refused_in_path(path: str) -> str:
    """The first hidden character that a path must not have; "" for none.

    Names of files may have marks of right-to-left scripts and bytes that are no text, but nothing
    that a terminal obeys, or that shows a part of a name in another place.
    """
    hidden = hidden_in(path)
    is_control = bool(hidden) and unicodedata.category(chr(int(hidden[2:], 16))) == "Cc"
    return hidden if is_control or hidden in _TURNS else ""


def _cell_problem(raw: pd.DataFrame, table: Path, name: str) -> str:
    """What is wrong with the characters of a column, in one line; "" if nothing is."""
    hidden = raw[name].map(refused_in_path if name == "path" else hidden_in)
    if (has_hidden := hidden != "").any():
        rows, first = raw.loc[has_hidden, ROW].tolist(), hidden[has_hidden].iloc[0]
        problem = f"has the hidden character {first}; delete it"
        if first in ("U+000A", "U+000D"):
            problem = "has a line break; delete it; a missing quotation mark may be the cause"
    elif (is_long := raw[name].str.len() > LONGEST).any():
        rows = raw.loc[is_long, ROW].tolist()
        problem = f"is longer than {LONGEST} characters; shorten it"
    else:
        return ""
    return f"{table}: {named('row', rows)}: {name} {problem}"
