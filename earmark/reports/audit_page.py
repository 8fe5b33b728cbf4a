"""The page of an audit: findings by severity, then the numbers behind them."""

from collections.abc import Sequence
from html import escape

import pandas as pd

from earmark.audit.findings import Finding, by_severity
from earmark.audit.label_issues import noise_sentence, with_interval
from earmark.audit.label_noise import USER_COLUMNS
from earmark.audit.result import Audit
from earmark.audit.shortcuts import ALL, PROPERTIES
from earmark.reports.audit_figures import balance_figure, bandwidth_figure, noise_figure
from earmark.reports.figures import METRIC_NAMES
from earmark.reports.parts import details, page, paragraphs, picture, section, table
from earmark.wording import counted

_COLOURS = {"critical": "#b71c1c", "serious": "#d1603d", "minor": "#1f6fb2", "note": "#90a4ae"}
_MAX_ROWS = 20
_BASELINES = {"constant": "always the largest classes", "chance": "a random answer"}


def render_page(audit: Audit, *, title: str) -> str:
    """Return the html page, with its pictures inside."""
    sections = [
        section("Findings", _findings(audit.findings)),
        section("Duplicates", *_duplicates(audit)),
        section("Labels", *_labels(audit)),
        *_rounds(audit),
        section("Sound", *_sound(audit)),
        section("Balance", *_balance(audit)),
        section("Licences", table(audit.licences)),
    ]
    # The banner of a synthetic corpus is about scores; this page has none.
    return page(title, synthetic=False, body="\n".join(sections))


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>No problem was found.</p>"
    entries = []
    for finding in by_severity(findings):
        style = f"border-left:.4rem solid {_COLOURS[finding.severity]};padding-left:1rem"
        entries.append(
            f'<div style="{style}"><p><b>{escape(finding.title)}</b> '
            f"<small>{finding.severity}, {finding.topic}</small><br>{escape(finding.meaning)}<br>"
            f"<i>Fix:</i> {escape(finding.fix)}</p></div>"
        )
    return "\n".join(entries)


def _duplicates(audit: Audit) -> list[str]:
    null, n_listed = audit.search.null, len(audit.duplicates)
    search = (
        f"Search: {counted(audit.search.n_candidates, 'pair')} of clips with common fingerprint "
        f"codes, {null.n_tests} of them with similar fingerprints. The waveforms of these were "
        f"compared. duplicates.csv lists {counted(n_listed, 'pair')}, exact copies included."
    )
    unknown = (
        f"Only {counted(null.n_pairs, 'pair')} of unrelated clips of one class could be compared. "
        f"A duplicate must therefore reach a correlation of {null.threshold:.2f}, the strictest "
        "threshold."
    )
    known = (
        f"90 % of {counted(null.n_pairs, 'pair')} of unrelated clips of one class correlate by "
        f"less than {null.tail_start:.2f}. A duplicate must reach {null.threshold:.2f}."
    )
    threshold = unknown if pd.isna(null.tail_start) else known
    return [paragraphs(search, threshold), _first_rows(audit.duplicates)]


def _labels(audit: Audit) -> list[str]:
    noise = audit.labels.noise
    if noise is None:
        return [paragraphs(audit.labels.note)]
    text = (
        f"label_issues.csv lists {counted(len(noise.label_issues), 'label')}, the most likely "
        "wrong first. p is the ensemble's out-of-fold probability of a tag, and p_wrong the "
        "probability that the label is wrong."
    )
    by_tag = details("By class", table(noise.by_tag.round(3).fillna("")))
    if noise.precision is None:
        return [paragraphs(noise_sentence(noise), text), by_tag]
    text += f" Of the listed labels about {with_interval(noise.precision)} are wrong."
    issues = noise.label_issues.drop(columns=[*USER_COLUMNS, "path"])
    figure = noise_figure(noise.given_to_suggested, audit.labels.tags)
    matrix = picture(figure, "Number of listed labels by given and by suggested tag")
    return [paragraphs(noise_sentence(noise), text), _first_rows(issues), matrix, by_tag]


def _rounds(audit: Audit) -> list[str]:
    if audit.rounds.empty:
        return []
    text = (
        "Of the labels that nobody verified, how many each round accepted (they count as "
        "verified), corrected, doubted (they weigh less), or left as they are. "
        "data/rounds/before_ii.parquet has the decisions of round i, clip by clip, and so on. "
        "Decisions are for training alone: scores are against the corpus' own labels. Your own "
        "decision in corpus.label_corrections wins."
    )
    if "accept_precision" in audit.rounds:
        text += (
            " The true labels of this synthetic corpus are known: precision is the share of "
            "accepted labels that are right, of corrections that are, and of doubted labels that "
            "are wrong; recall the share of right labels that are accepted, and of wrong ones that "
            "are corrected."
        )
    shown = audit.rounds.astype(object).where(audit.rounds.notna(), "")
    return [section("Rounds of self-verification", paragraphs(text), table(shown))]


def _sound(audit: Audit) -> list[str]:
    parts = []
    if audit.shortcut_baselines:
        rows = [
            {
                "property": "all of them" if name == ALL else PROPERTIES[name],
                "balanced accuracy": f"{baseline.accuracy:.1%}",
                "chance": f"{baseline.chance:.1%}",
            }
            for name, baseline in audit.shortcut_baselines.items()
        ]
        text = (
            "Shortcut baseline: how well a small random forest predicts the class from properties "
            "of the clip, without its sound."
        )
        parts += [paragraphs(text), table(pd.DataFrame(rows))]
    columns = ["seconds", "level_db", "bandwidth_hz", "silent_share", "clipped_share"]
    medians = audit.sound.groupby("label")[columns].median().round(3).reset_index()
    return [
        *parts,
        picture(bandwidth_figure(audit.sound), "Bandwidth of the clips of each class"),
        details("Medians by class", table(medians)),
    ]


def _balance(audit: Audit) -> list[str]:
    parts = [picture(balance_figure(audit.class_sizes), "Number of training clips of each class")]
    baselines = audit.metrics["balance"].get("trivial_baselines")
    if baselines:
        rows = [
            {"answer": _BASELINES[name]} | {METRIC_NAMES[m]: value for m, value in scores.items()}
            for name, scores in baselines.items()
        ]
        text = "Scores of trivial baselines, which any model must exceed:"
        parts += [paragraphs(text), table(pd.DataFrame(rows))]
    return parts


def _first_rows(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "<p>None.</p>"
    n_more = len(rows) - _MAX_ROWS
    more = f"<p><small>and {n_more} more</small></p>" if n_more > 0 else ""
    return table(rows.head(_MAX_ROWS)) + more
