"""Numbers, lists and names within sentences, safe to print and to compare."""

import difflib
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

LONGEST = 800  # letters of a line: ten lines of a terminal
MANY = 20  # equal lines; as many can still be read one by one
_JOINERS = "\u200c\u200d"  # within words of Persian and Hindi, and within emoji
_LONGEST = 60  # characters of a name in a list


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 pair", "2 pairs"; `many` is the plural if not `one` + s."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def first_of(names: Sequence[object], *, limit: int = 3) -> str:
    """The first `limit` names, and how many more there are: "a, b, c and 2 more"."""
    text = ", ".join(shortened(str(name)) for name in names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def named(noun: str, names: Sequence[object], many: str = "") -> str:
    """A noun with the first of its names: "clip a", "clips a, b, c and 9997 more"."""
    return f"{noun if len(names) == 1 else many or noun + 's'} {first_of(names)}"


def shortened(text: str) -> str:
    """A name as it is, or the beginning of one that is too long for a message."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def is_hidden(character: str) -> bool:
    """Whether a character shows nothing: a control, a direction, a zero-width space, half a pair.

    Terminals obey some of them, and readers cannot tell names apart that differ in others.
    """
    is_kept = character.isprintable() or character in _JOINERS
    return not is_kept and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def hidden_in(text: str) -> str:
    r"""The first hidden character of a text as Unicode numbers it, such as "U+001B"; "" for none.

    >>> hidden_in("dog\x1b[2J"), hidden_in("big dog")
    ('U+001B', '')
    """
    if text.isprintable():
        return ""
    return next((f"U+{ord(one):04X}" for one in text if is_hidden(one)), "")


def printable(text: str, *, keep: str = "") -> str:
    r"""A text without hidden characters, each written as in Python, except for those of `keep`.

    >>> print(printable("dog\x1b[2J.wav"))
    dog\x1b[2J.wav
    """
    if text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if is_hidden(one) and one not in keep else one
        for one in text
    )


def look_alike(text: str) -> str:
    r"""What two names share that differ only in case, Unicode form, width or hidden characters.

    >>> look_alike("CAFE\u0301") == look_alike("caf\u00e9\u200b")
    True
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not folded.isascii():
        folded = unicodedata.normalize("NFKC", folded)
    return "".join(one for one in folded if one not in _JOINERS and not is_hidden(one))


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """The groups of distinct names that a reader takes for one, as `look_alike` does."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(look_alike(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def nearest(name: str, known: Iterable[str]) -> str:
    """The one of some known names that was probably meant, or ""."""
    by_look = {look_alike(one): one for one in known}
    near = difflib.get_close_matches(look_alike(name), by_look, n=1, cutoff=0.7)
    return by_look[near[0]] if near else ""


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
