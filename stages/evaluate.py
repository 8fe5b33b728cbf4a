"""Score every member and the ensemble; write metrics, plots, report and submission.

Reads: data/ensemble/, data/decoded/ (quarantine), data/training/, metrics/split.json
Writes: metrics/scores.json, summary.json, calibration.json, reliability.csv, coverage.csv,
    aggregation.csv, learning_curves.csv, per_class.csv, confusion.csv, confusion_pairs.csv,
    submission.csv, test_predictions.csv; data/report/
Params: evaluate, corpus, seed
"""

from typing import Any

from earmark.evaluation.intervals import interval_text
from earmark.evaluation.run import Evaluation, evaluate
from earmark.evaluation.scores import AS_GIVEN
from earmark.layout import Layout
from earmark.params import Params
from earmark.reports.report import render_report
from earmark.store import read_json, read_table, write_json, write_table
from earmark.tracking.evaluation import track_evaluation
from earmark.whole_files import whole_folder
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    evaluation = evaluate(params, layout)
    write_json(layout.metrics / "scores.json", evaluation.scores)
    write_json(layout.metrics / "summary.json", evaluation.summary)
    write_json(layout.metrics / "calibration.json", evaluation.calibration.values)
    for name, table in evaluation.tables.items():
        # Kaggle compares the names in a submission with its own; the others are for readers.
        write_table(layout.metrics / f"{name}.csv", table, literal=name == "submission")
    with whole_folder(layout.report) as part:
        page = _report(evaluation, params, layout)
        (part / "index.html").write_text(page, encoding="utf-8")
    return evaluation.scores


def _report(evaluation: Evaluation, params: Params, layout: Layout) -> str:
    split = layout.metrics / "split.json"
    return render_report(
        title=f"earmark: {params.corpus.name}",
        synthetic=params.corpus.synthetic,
        notes=evaluation.scores["notes"],
        metrics=evaluation.metrics,
        scores=evaluation.scores,
        by_tag=evaluation.tables["per_class"],
        confusion=evaluation.confusion,
        tags=evaluation.tags,
        learning_curves=evaluation.tables["learning_curves"],
        weights=evaluation.scores["weights"],
        quarantine=read_table(layout.decoded / "quarantine.parquet", "clip", "reason"),
        calibration=evaluation.calibration.values,
        reliability=evaluation.calibration.reliability,
        coverage=evaluation.calibration.coverage,
        aggregation=evaluation.tables["aggregation"],
        split=read_json(split) if split.exists() else None,
    )


def closing_line(scores: dict[str, Any]) -> str:
    """The ensemble's score with its interval, on both labels where some were corrected."""
    metric, ensemble = scores["metric"], scores["ensemble"]

    def shown(key: str) -> str:
        estimate = ensemble[key][metric]
        return f"{estimate['value']:.3f}, {interval_text(estimate)}"

    text = f"evaluate: ensemble {metric} out of fold {shown('out_of_fold')}"
    if AS_GIVEN in ensemble:
        text += f", on the labels as corrected; {shown(AS_GIVEN)} as given"
    return f"{text}; data/report/index.html"


if __name__ == "__main__":
    with stage("evaluate") as s:
        scores = run(s.params, s.layout)
        track_evaluation(s.params, s.layout)
        s.log.info(closing_line(scores))
