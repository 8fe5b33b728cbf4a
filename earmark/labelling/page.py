"""The page on which suggestions are listened to and labelled: one file that needs no server."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from earmark.csv_files import neutral
from earmark.labelling.excerpts import Excerpt
from earmark.wording import printable

N_SHOWN = 9  # tags with a key of their own, 1 to 9; the others are in a list


@dataclass(frozen=True)
class Card:
    """One recording on the page.

    Attributes:
        name: of the recording in the table.
        audio: of its excerpt, relative to the page.
        excerpt: which part that is.
        likeliest: all tags with their probabilities, the most probable first.
        uncertainty: from 0 to 1.
    """

    name: str
    audio: str
    excerpt: Excerpt
    likeliest: list[tuple[str, float]]
    uncertainty: float


def page(
    cards: Sequence[Card], columns: Sequence[str], *, is_multi_label: bool, tags: Sequence[str]
) -> str:
    """The html of the page.

    Args:
        columns: of the csv that it writes, as suggestions.csv has them.
        is_multi_label: whether a recording may get several tags.
        tags: all of them.
    """
    rows = [_row(rank, card) for rank, card in enumerate(cards, start=1)]
    data = {
        # What is chosen stays in the browser under this name: another page has another.
        "id": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16],
        "columns": list(columns),
        "multi": is_multi_label,
        "cells": {tag: neutral(tag) for tag in tags},
        "rows": rows,
    }
    return _template().render(
        cards=[_shown(card) for card in cards],
        multi=is_multi_label,
        # Within <script> nothing may look like an end tag.
        data=json.dumps(data, ensure_ascii=True).replace("<", "\\u003c"),
    )


def _row(rank: int, card: Card) -> dict[str, str | int | float]:
    """The cells of a recording's row that are known; no spreadsheet takes one for a formula."""
    tag, probability = card.likeliest[0]
    return {
        "path": neutral(card.name),
        "suggested": neutral(tag),
        "rank": rank,
        "probability": round(probability, 4),
        "uncertainty": round(card.uncertainty, 4),
    }


def _shown(card: Card) -> dict[str, object]:
    """What the template says of a recording."""
    excerpt = card.excerpt
    is_whole = excerpt.end - excerpt.start >= excerpt.seconds - 1e-6
    length = f"{excerpt.seconds:.1f} s"
    part = f"{excerpt.start:.1f} to {excerpt.end:.1f} s of {length}, its loudest part"
    return {
        "name": printable(card.name),
        "audio": card.audio,
        "part": length if is_whole else part,
        "likeliest": card.likeliest[:N_SHOWN],
        "others": sorted(tag for tag, _ in card.likeliest[N_SHOWN:]),
        "uncertainty": card.uncertainty,
    }


@cache
def _template() -> Template:
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(text)
