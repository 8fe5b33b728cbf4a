"""Score every member and the ensemble; write metrics, plots, report and submission.

Reads: data/ensemble/, data/decoded/ (quarantine), data/training/, metrics/split.json; for the
    report alone data/trimmed/ (of data/decoded/), data/predictions/, data/clips.parquet,
    data/folds.parquet, corpus.label_corrections
Writes: metrics/scores.json, summary.json, calibration.json, reliability.csv, coverage.csv,
    aggregation.csv, learning_curves.csv, per_class.csv, confusion.csv, confusion_pairs.csv,
    submission.csv, test_predictions.csv; data/report/
Params: evaluate, corpus.name, corpus.synthetic, corpus.label_corrections, ensemble.weights,
    seed
"""

from typing import Any

import pandas as pd

from earmark.audit.label_issues import judged_labels
from earmark.audit.usable import usable_clips
from earmark.corpora.stored_tables import read_clips, read_folds
from earmark.ensemble.contributions import contributions
from earmark.ensemble.sweep import sweep_confidence
from earmark.evaluation.intervals import interval_text
from earmark.evaluation.predictions import ENSEMBLE, Predictions, read_metadata
from earmark.evaluation.run import Evaluation, evaluate
from earmark.evaluation.scores import AS_GIVEN
from earmark.evaluation.threshold_sweep import sweep_rejection, sweep_tags
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json, read_table, write_json, write_table
from earmark.reports.provenance import provenance
from earmark.reports.report_files import write_report
from earmark.reports.trivial import trivial_scores
from earmark.tracking.evaluation import track_evaluation
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    evaluation = evaluate(params, layout)
    write_json(layout.metrics / "scores.json", evaluation.scores)
    write_json(layout.metrics / "summary.json", evaluation.summary)
    write_json(layout.metrics / "calibration.json", evaluation.calibration.values)
    for name, table in evaluation.tables.items():
        # Kaggle compares the names in a submission with its own; the others are for readers.
        write_table(layout.metrics / f"{name}.csv", table, literal=name == "submission")
    _report(evaluation, params, layout)
    return evaluation.scores


def _report(evaluation: Evaluation, params: Params, layout: Layout) -> None:
    split = layout.metrics / "split.json"
    tables, calibration = evaluation.tables, evaluation.calibration
    ensemble, metadata = evaluation.predictions[ENSEMBLE], read_metadata(layout.ensemble)
    clips = usable_clips(read_clips(layout), read_folds(layout))
    label_audit, label_note = judged_labels(params, layout, clips)
    compared: dict[str, Any] = {
        "metric": params.evaluate.metric,
        "label_groups": params.evaluate.label_groups,
    }
    write_report(
        layout,
        evaluation.predictions,
        ensemble,
        label_audit,
        workers=params.runtime.workers,
        title=f"earmark: {params.corpus.name}",
        synthetic=params.corpus.synthetic,
        notes=evaluation.scores["notes"],
        metrics=evaluation.metrics,
        scores=evaluation.scores,
        by_tag=tables["per_class"],
        confusion=evaluation.confusion,
        tags=evaluation.tags,
        learning_curves=tables["learning_curves"],
        weights=evaluation.scores["weights"],
        quarantine=read_table(layout.decoded / "quarantine.parquet", "clip", "reason"),
        calibration=calibration.values,
        reliability=calibration.reliability,
        coverage=calibration.coverage,
        aggregation=tables["aggregation"],
        split=read_json(split) if split.exists() else None,
        label_note=label_note,
        trivial=trivial_scores(ensemble.validation),
        contributions=contributions(
            evaluation.members,
            ensemble,
            weights=params.ensemble.weights,
            seed=params.seed,
            n_resamples=params.evaluate.n_resamples,
            **compared,
        ),
        crop_sweep=sweep_confidence(layout.all_predictions, evaluation.members, **compared),
        threshold_sweep=_threshold_sweep(ensemble.validation, calibration.coverage),
        provenance=provenance(params, layout, evaluation.scores, metadata),
    )


def _threshold_sweep(validation: Predictions, coverage: pd.DataFrame) -> pd.DataFrame:
    if validation.task.is_multi_label:
        return sweep_tags(validation)
    return sweep_rejection(coverage[coverage["clips"] == "out_of_fold"])


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
