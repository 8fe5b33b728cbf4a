"""What pages are made of beside text: tables with their cells, and figures in their colours."""

import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from earmark.reports.figures import ACCENT, INK, PALE, WARM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The page's own colours, which differ in the light and in the dark, stand for those of figures.
_COLOURS = {INK: "--ink", ACCENT: "--accent", WARM: "--warm", PALE: "--pale", "#000000": "--ink"}
_COLOURS |= {"#ffffff": "--paper", "#262626": "--ink"}


class Cell(NamedTuple):
    """A cell of a table: its text, what stands small beside and below it, and its explanation.

    A `bar` between 0 and 1 is drawn behind the text.
    """

    text: str
    small: str = ""
    below: str = ""
    title: str = ""
    bar: float | None = None


class Table(NamedTuple):
    """A table as templates show it; the first row may be that of the ensemble, which stands out."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    highlight: str = ""  # the first cell of the row that stands out
    is_sortable: bool = False
    is_text: bool = False  # aligned to the left


def table_of(rows: pd.DataFrame, *, caption: str = "", is_sortable: bool = False) -> Table:
    """A table; the underscores of column names become spaces."""
    return Table(
        [str(column).replace("_", " ") for column in rows.columns],
        [cells(row) for row in rows.itertuples(index=False)],
        caption,
        is_sortable=is_sortable,
        is_text=True,
    )


def cells(values: Iterable[Any]) -> list[Cell]:
    """A cell for each value."""
    return [value if isinstance(value, Cell) else Cell(str(value)) for value in values]


def drawing(figure: "Figure", alt: str) -> Markup:
    """A figure as svg inside the html, in the colours of the page; `alt` describes it."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    # Names of its parts are hashes, and no date or version is written: the bytes only depend on
    # the figure.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "earmark"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g) id="[^"]*"', r"\1", text)  # which several figures of a page have
    for colour, name in _COLOURS.items():
        text = text.replace(f": {colour}", f": var({name})")
    start = f'<svg role="img" aria-label="{escape(alt)}"'
    return Markup(text.strip().replace("<svg", start, 1))  # matplotlib escapes texts
