"""Write the folder of a report: the page, the clips behind it, and their excerpts."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from earmark.evaluation.predictions import Predictions
from earmark.layout import Layout
from earmark.reports.clips import clip_data, script, shown_clips
from earmark.reports.excerpts import write_excerpts
from earmark.reports.report import render_report
from earmark.whole_files import whole_folder

SOUND = "sound"  # the folder beside the page


def write_report(
    layout: Layout,
    predictions: Mapping[str, Predictions],
    ensemble: Predictions,
    label_audit: pd.DataFrame,
    *,
    workers: int,
    **values: Any,
) -> None:
    """Write data/report/: index.html, clips.js, and sound/ with what is listened to.

    Args:
        layout: of the repository.
        predictions: of the members and the ensemble, by the tags that are scored.
        ensemble: one of them.
        label_audit: what `audit.label_issues.judged_labels` returns.
        workers: processes that compress the excerpts; they change no byte.
        values: the arguments of `render_report`, but for `shown`.
    """
    shown = shown_clips(ensemble)
    with whole_folder(layout.report) as part:
        excerpts = write_excerpts(layout, shown.excerpts, part / SOUND, workers=workers)
        data = clip_data(shown, predictions, label_audit, excerpts)
        (part / "clips.js").write_text(script(data), encoding="utf-8")
        page = render_report(shown=shown, **values)
        (part / "index.html").write_text(page, encoding="utf-8")
