"""A finding: one problem of a corpus, what it means, and how to fix it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "serious", "minor", "note"]
SEVERITIES: tuple[Severity, ...] = ("critical", "serious", "minor", "note")


@dataclass(frozen=True)
class Finding:
    """One problem of a corpus.

    Attributes:
        severity: critical if scores cannot be trusted, serious if training suffers, minor if it
            is worth a look, note if nothing needs to be done.
        topic: what was audited: duplicates, labels, licences, sound or balance.
        title: the problem in one sentence without a full stop.
        meaning: its consequence, and the first clips or classes that are affected.
        fix: what the user can do.
    """

    severity: Severity
    topic: str
    title: str
    meaning: str
    fix: str


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Sort the most severe first; the order within a severity is kept."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
