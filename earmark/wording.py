"""Numbers and lists within sentences."""

from collections.abc import Sequence


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 pair", "2 pairs"; `many` is the plural if not `one` + s."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def first_of(names: Sequence[str], *, limit: int = 3) -> str:
    """The first `limit` names, and how many more there are: "a, b, c and 2 more"."""
    text = ", ".join(map(str, names[:limit]))
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"
