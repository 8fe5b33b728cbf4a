"""The audit's page: findings by severity, then the facts behind them."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from earmark.audit.findings import Finding, by_severity
from earmark.reports.audit_figures import balance_figure, bandwidth_figure, noise_figure
from earmark.reports.parts import page, paragraphs, picture, section, table

if TYPE_CHECKING:
    from earmark.audit.run import Audit

_COLOURS = {"critical": "#b71c1c", "serious": "#d1603d", "minor": "#1f6fb2", "note": "#90a4ae"}
_SHOWN = 20


def render_page(audit: "Audit", *, title: str) -> str:
    """Return the html page, its pictures inside."""
    parts = [
        section("Findings", _findings(audit.findings)),
        section("Duplicates", *_duplicates(audit)),
        section("Labels", *_labels(audit)),
        section("Sound", *_sound(audit)),
        section("Balance", *_balance(audit)),
        section("Licences", table(audit.licences)),
    ]
    # The banner of a synthetic corpus speaks of scores; here there are none.
    return page(title, False, "\n".join(parts))


def _findings(found: Sequence[Finding]) -> str:
    if not found:
        return "<p>Nothing was found to be wrong.</p>"
    entries = []
    for finding in by_severity(found):
        style = f"border-left:.4rem solid {_COLOURS[finding.severity]};padding-left:1rem"
        entries.append(
            f'<div style="{style}"><p><b>{escape(finding.title)}</b> '
            f"<small>{finding.severity}, {finding.part}</small><br>{escape(finding.meaning)}<br>"
            f"<i>Fix:</i> {escape(finding.fix)}</p></div>"
        )
    return "\n".join(entries)


def _duplicates(audit: "Audit") -> list[str]:
    null = audit.found.null
    said = (
        f"{audit.found.n_candidates} pairs shared codes; {null.n_tests} of them agreed in their "
        f"fingerprints and were compared by their waveforms; {len(audit.duplicates)} are listed "
        f"in duplicates.csv. Of {null.n_pairs} pairs of unrelated clips of one class, nine tenths "
        f"correlate below {null.start:.2f}; a duplicate must reach {null.threshold:.2f}."
    )
    return [paragraphs(said), _head(audit.duplicates)]


def _labels(audit: "Audit") -> list[str]:
    noise = audit.doubts.noise
    if noise is None:
        return [paragraphs(audit.doubts.note)]
    said = (
        f"{len(noise.suspects)} suspects, the likeliest wrong first, in suspects.csv. Score: "
        "the log odds that the label is wrong."
    )
    shown = noise.suspects.drop(columns=["decision", "label", "path"])
    drawn = picture(
        noise_figure(noise.given_to_suggested, audit.doubts.tags),
        "Clips by given label and by what the ensemble is confident of",
    )
    shares = noise.by_tag.round(3).fillna("")
    by_tag = f"<details><summary>By class</summary>{table(shares)}</details>"
    return [paragraphs(said), _head(shown), drawn, by_tag]


def _sound(audit: "Audit") -> list[str]:
    rows = [
        {"from": name, "right": f"{g.accuracy:.1%}", "by chance": f"{g.chance:.1%}"}
        for name, g in audit.guesses.items()
    ]
    said = "How often the class can be guessed without listening (balanced accuracy):"
    drawn = picture(bandwidth_figure(audit.sound), "Bandwidth of the clips of each class")
    by_class = audit.sound.groupby("label")[
        ["seconds", "level_db", "bandwidth_hz", "silent_share", "clipped_share"]
    ].median()
    medians = by_class.round(3).reset_index()
    return [
        *([paragraphs(said), table(pd.DataFrame(rows))] if rows else []),
        drawn,
        f"<details><summary>Medians by class</summary>{table(medians)}</details>",
    ]


def _balance(audit: "Audit") -> list[str]:
    parts = [picture(balance_figure(audit.sizes), "Training clips of each class")]
    guesses = audit.metrics["balance"].get("shortcut_baseline")
    if guesses:
        rows = [{"answer": who, **scores} for who, scores in guesses.items()]
        parts += [paragraphs("What an answer without listening scores:"), table(pd.DataFrame(rows))]
    return parts


def _head(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "<p>None.</p>"
    more = f"<p><small>and {len(rows) - _SHOWN} more</small></p>" if len(rows) > _SHOWN else ""
    return table(rows.head(_SHOWN)) + more
