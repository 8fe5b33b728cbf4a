"""A finding: one thing that is wrong with a corpus, what it means, and how it is fixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "serious", "minor", "note"]
SEVERITIES: tuple[Severity, ...] = ("critical", "serious", "minor", "note")


@dataclass(frozen=True)
class Finding:
    """grave: scores cannot be trusted. serious: learning suffers. minor: worth a look."""

    severity: Severity
    part: str
    title: str
    meaning: str
    fix: str


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """The most severe first; the order within a severity is kept."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def some(names: Sequence[str], *, shown: int = 3) -> str:
    """The first names, and how many more there are."""
    text = ", ".join(map(str, names[:shown]))
    return text if len(names) <= shown else f"{text} and {len(names) - shown} more"


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 pair", "2 pairs"."""
    return f"{n} {one if n == 1 else many or one + 's'}"
