"""The page of an audit: findings by severity, then the numbers behind them, with their sound."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from earmark.audit.findings import by_severity
from earmark.audit.label_issues import noise_sentence, with_interval
from earmark.audit.label_noise import USER_COLUMNS
from earmark.audit.result import Audit
from earmark.audit.shortcuts import ALL, PROPERTIES
from earmark.reports.audit_figures import balance_figure, bandwidth_figure, noise_figure
from earmark.reports.excerpts import Excerpt
from earmark.reports.figures import METRIC_NAMES
from earmark.reports.pages import render
from earmark.reports.parts import Table, drawing, table_of
from earmark.wording import counted

MAX_HEARD = 50  # pairs of duplicates, and label issues, with players
_BASELINES = {"constant": "always the largest classes", "chance": "a random answer"}
_MEDIANS = ["seconds", "level_db", "bandwidth_hz", "silent_share", "clipped_share"]


def heard_clips(audit: Audit) -> list[str]:
    """The clips whose excerpts the page plays, each once."""
    pairs = audit.duplicates.head(MAX_HEARD)
    names = [clip for pair in pairs[["first", "second"]].to_numpy().tolist() for clip in pair]
    if audit.labels.noise is not None:
        names += list(audit.labels.noise.label_issues["clip"].head(MAX_HEARD))
    return list(dict.fromkeys(names))


def render_page(audit: Audit, *, title: str, excerpts: Mapping[str, Excerpt] | None = None) -> str:
    """Return the html page, with its figures inside.

    Args:
        audit: what is shown.
        title: the heading.
        excerpts: of clips, in the folder sound/ beside the page.
    """
    return render(
        "audit.html",
        title=title,
        # The banner of a synthetic corpus is about scores; this page has none.
        synthetic=False,
        findings=by_severity(audit.findings),
        search=_search(audit),
        pairs=_records(audit.duplicates),
        n_pairs=len(audit.duplicates),
        labels=_labels(audit),
        rounds=None if audit.rounds.empty else _whole(audit.rounds),
        has_truth="accept_precision" in audit.rounds,
        shortcuts=_shortcuts(audit),
        bandwidth=drawing(bandwidth_figure(audit.sound), "Bandwidth of the clips of each class"),
        medians=table_of(_medians(audit.sound), is_sortable=True),
        balance=drawing(balance_figure(audit.class_sizes), "Training clips of each class"),
        baselines=_baselines(audit),
        licences=table_of(audit.licences),
        excerpts=excerpts or {},
    )


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The first rows, whose clips can be heard."""
    values = rows.head(MAX_HEARD)
    columns = [str(column) for column in values.columns]
    return [dict(zip(columns, row, strict=True)) for row in values.itertuples(index=False)]


def _whole(rows: pd.DataFrame) -> Table:
    return table_of(rows.astype(object).where(rows.notna(), ""))


def _search(audit: Audit) -> list[str]:
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
        f"less than {null.tail_start:.2f}. A duplicate must reach {null.threshold:.2f}, to which "
        f"chance lifts {null.expected_false:.2g} of the compared pairs at most, by the fits."
    )
    return [search, unknown if pd.isna(null.tail_start) else known]


def _labels(audit: Audit) -> dict[str, Any]:
    """Texts, the first issues, a figure of them, and the noise of each class."""
    noise = audit.labels.noise
    if noise is None:
        return {"texts": [audit.labels.note], "issues": [], "n": 0, "matrix": "", "by_tag": None}
    text = (
        f"label_issues.csv lists {counted(len(noise.label_issues), 'label')}, the most likely "
        "wrong first. p is the ensemble's out-of-fold probability of a tag, and p_wrong the "
        "probability that the label is wrong."
    )
    matrix: Any = ""
    if noise.precision is not None:
        text += f" Of the listed labels about {with_interval(noise.precision)} are wrong."
        figure = noise_figure(noise.given_to_suggested, audit.labels.tags)
        matrix = drawing(figure, "Number of listed labels by given and by suggested tag")
    return {
        "texts": [noise_sentence(noise), text],
        "issues": _records(noise.label_issues.drop(columns=[*USER_COLUMNS, "path"])),
        "n": len(noise.label_issues),
        "matrix": matrix,
        "by_tag": table_of(noise.by_tag.round(3).fillna(""), is_sortable=True),
    }


def _shortcuts(audit: Audit) -> Table | None:
    if not audit.shortcut_baselines:
        return None
    rows = [
        {
            "property": "all of them" if name == ALL else PROPERTIES[name],
            "balanced accuracy": f"{baseline.accuracy:.1%}",
            "chance": f"{baseline.chance:.1%}",
        }
        for name, baseline in audit.shortcut_baselines.items()
    ]
    return table_of(pd.DataFrame(rows))


def _medians(sound: pd.DataFrame) -> pd.DataFrame:
    return sound.groupby("label")[_MEDIANS].median().round(3).reset_index()


def _baselines(audit: Audit) -> Table | None:
    baselines = audit.metrics["balance"].get("trivial_baselines")
    if not baselines:
        return None
    rows = [
        {"answer": _BASELINES[name]} | {METRIC_NAMES[m]: value for m, value in scores.items()}
        for name, scores in baselines.items()
    ]
    return table_of(pd.DataFrame(rows))
