"""Write the files of an audit: data/audit/ and metrics/audit.json."""

import pandas as pd

from earmark.audit.label_noise import COLUMNS, USER_COLUMNS
from earmark.audit.result import Audit
from earmark.layout import Layout
from earmark.records import write_json, write_table
from earmark.reports.audit_page import heard_clips, render_page
from earmark.reports.excerpts import write_excerpts
from earmark.whole_files import whole_folder


def write_audit(audit: Audit, layout: Layout, *, corpus: str, workers: int = 1) -> None:
    """Write the tables, the page with its excerpts, and the metrics of an audit.

    Args:
        audit: what is written.
        layout: of the repository; data/decoded and data/trimmed have the sound of the excerpts, if
            they are there.
        corpus: its name, for the title.
        workers: processes that compress the excerpts; they change no byte.
    """
    issues = pd.DataFrame(columns=[*COLUMNS, *USER_COLUMNS])
    if audit.labels.noise is not None:
        issues = audit.labels.noise.label_issues
    with whole_folder(layout.audit) as part:
        write_table(part / "label_issues.csv", issues)
        write_table(part / "duplicates.csv", audit.duplicates)
        write_table(part / "licences.csv", audit.licences)
        write_table(part / "sound.csv", audit.sound.round(5))
        (part / "ATTRIBUTION.txt").write_text(audit.attribution, encoding="utf-8")
        excerpts = write_excerpts(layout, heard_clips(audit), part / "sound", workers=workers)
        page = render_page(audit, title=f"earmark audit: {corpus}", excerpts=excerpts)
        (part / "index.html").write_text(page, encoding="utf-8")
    write_json(layout.metrics / "audit.json", audit.metrics)
