"""Write the files of an audit: data/audit/ and metrics/audit.json."""

import pandas as pd

from earmark.audit.label_noise import COLUMNS, USER_COLUMNS
from earmark.audit.result import Audit
from earmark.layout import Layout
from earmark.reports.audit_page import render_page
from earmark.store import write_json, write_table
from earmark.whole_files import whole_folder


def write_audit(audit: Audit, layout: Layout, *, corpus: str) -> None:
    """Write the tables, the page and the metrics of an audit; `corpus` names it in the title."""
    issues = pd.DataFrame(columns=[*COLUMNS, *USER_COLUMNS])
    if audit.labels.noise is not None:
        issues = audit.labels.noise.label_issues
    with whole_folder(layout.audit) as part:
        write_table(part / "label_issues.csv", issues)
        write_table(part / "duplicates.csv", audit.duplicates)
        write_table(part / "licences.csv", audit.licences)
        write_table(part / "sound.csv", audit.sound.round(5))
        (part / "ATTRIBUTION.txt").write_text(audit.attribution, encoding="utf-8")
        page = render_page(audit, title=f"earmark audit: {corpus}")
        (part / "index.html").write_text(page, encoding="utf-8")
    write_json(layout.metrics / "audit.json", audit.metrics)
