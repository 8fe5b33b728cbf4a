"""Numbers and lists within sentences."""

import re
import reprlib
from collections.abc import Sequence
from typing import Any

LONGEST = 800  # letters of a line: ten lines of a terminal
MANY = 20  # equal lines; as many can still be read one by one


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 pair", "2 pairs"; `many` is the plural if not `one` + s."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def first_of(names: Sequence[str], *, limit: int = 3) -> str:
    """The first `limit` names, and how many more there are: "a, b, c and 2 more"."""
    text = ", ".join(map(str, names[:limit]))
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def shown(value: Any) -> str:
    """A value of the user's as Python writes it, in one line that is never long."""
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxdict, short.maxstring = 2, 6, 4, 80
    short.maxother = 80
    return short.repr(value)


def condensed(lines: Sequence[str]) -> list[str]:
    """Lines of problems, in which more than MANY equal ones are one line with their number.

    Lines are equal if they differ in numbers, in quoted texts, or in the last part of their key.

    >>> lines = [f"params.yaml: folds: '{n}' is no fold" for n in range(100)]
    >>> condensed([*lines, "params.yaml: seed: missing"])
    ["params.yaml: folds: '0' is no fold (and 99 more like it)", 'params.yaml: seed: missing']
    """
    alike: dict[str, list[str]] = {}
    for line in lines:
        alike.setdefault(_form(line), []).append(line)
    condensed_lines: list[str] = []
    for group in alike.values():
        group = [_shortened(line) for line in group]
        if len(group) <= MANY:
            condensed_lines += group
        else:
            condensed_lines.append(f"{group[0]} (and {len(group) - 1:,} more like it)")
    return condensed_lines


def _shortened(line: str) -> str:
    """A line without the middle of what is too long to be read."""
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 100]} ... {line[-100:]}"


def _form(line: str) -> str:
    """A line without what tells equal problems apart: `file: key: message`."""
    *where, message = line.split(": ", maxsplit=2)
    return "".join(where).rpartition(".")[0] + re.sub(r"'[^']*'|\d+", "#", message)
