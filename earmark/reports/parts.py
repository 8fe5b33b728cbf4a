"""The parts of a page: sections, tables and pictures inside the html."""

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #263238; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #cfd8dc; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #90a4ae; vertical-align: bottom; }
td { vertical-align: top; line-height: 1.35; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
tr.ensemble { background: #eceff1; font-weight: 600; }
.side { display: flex; flex-wrap: wrap; gap: 1rem; } .side img { flex: 1 1 20rem; min-width: 0;
        max-width: 29rem; }
small { color: #607d8b; font-weight: 400; } img { max-width: 100%; }
.scroll { overflow-x: auto; }
.summary { font-size: 1.15rem; border-left: .4rem solid #1f6fb2; padding-left: 1rem; }
.summary.no { border-color: #d1603d; }
.synthetic { background: #b71c1c; color: white; font-size: 1.25rem; font-weight: 700;
             padding: 1rem 1.5rem; position: sticky; top: 0; }
"""


def section(heading: str, *parts: str) -> str:
    """A heading, and parts of html below it."""
    return f"<h2>{escape(heading)}</h2>\n" + "\n".join(parts)


def details(heading: str, body: str) -> str:
    """A part that opens with a click."""
    return f"<details><summary>{escape(heading)}</summary>{body}</details>"


def paragraphs(*texts: str) -> str:
    """One paragraph per text, which is escaped."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def table(rows: pd.DataFrame) -> str:
    """A table; the underscores of column names become spaces."""
    head = "".join(f"<th>{escape(str(c).replace('_', ' '))}</th>" for c in rows.columns)
    lines = (
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows.itertuples(index=False)
    )
    return f'<div class="scroll"><table class="text"><tr>{head}</tr>{"".join(lines)}</table></div>'


def picture(figure: "Figure", alt: str) -> str:
    """A figure as a picture inside the html; `alt` describes it."""
    buffer = io.BytesIO()
    # Without matplotlib's version in the metadata, the bytes only depend on the figure.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def page(title: str, *, synthetic: bool, body: str) -> str:
    """The whole html page; `synthetic` adds a banner that warns of its scores."""
    banner = (
        '<div class="synthetic">SYNTHETIC DATA: these scores show that the pipeline works. '
        "They say nothing about real recordings.</div>"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{_STYLE}</style></head>\n<body>{banner if synthetic else ''}"
        f"<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )
