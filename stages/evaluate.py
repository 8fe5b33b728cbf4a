"""Score every member and the ensemble; write metrics, plots, report and submission.

Reads: data/ensemble/, data/decoded/ (quarantine), data/training/, metrics/split.json
Writes: metrics/scores.json, summary.json, calibration.json, reliability.csv, coverage.csv,
    learning_curves.csv, per_class.csv, confusion.csv, confusion_pairs.csv, submission.csv,
    test_predictions.csv; data/report/
Params: evaluate, corpus, extractors, seed
"""

from typing import Any

import pandas as pd
from tqdm import tqdm

from earmark.evaluation.calibration import calibration_report
from earmark.evaluation.paired import gain
from earmark.evaluation.points import confusion_matrix
from earmark.evaluation.results import Results, tag_tables
from earmark.evaluation.scores import Predictions, predicted_tags, score_member, summarise
from earmark.layout import Layout
from earmark.params import Params
from earmark.reports.report import render_report
from earmark.reports.summary import best_member
from earmark.store import read_json, read_table, whole_folder, write_json, write_table
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    found = Results.read(layout, params.evaluate)
    how = {"seed": params.seed, "n_resamples": params.evaluate.n_resamples}
    names = [*found.about["members"], "ensemble"]
    said = {name: found.said(name) for name in names}
    bar = tqdm(said.items(), desc="evaluate", disable=None)
    scored = {name: score_member(one, found.task, **how) for name, one in bar}
    scores: dict[str, Any] = {
        "corpus": {"name": params.corpus.name, "synthetic": params.corpus.synthetic},
        "metric": found.task.metric,
        "ensemble": scored.pop("ensemble"),
        "models": scored,
        "weights": found.about["weights"],
        "notes": [*_notes(params, found), *found.about["notes"]],
    }
    if len(scored) > 1:
        best = said[best_member(scores, found.task.metric)]
        scores["gain"] = gain(best.held_out, said["ensemble"].held_out, found.task, **how).to_json()
    write_json(layout.metrics / "scores.json", scores)
    write_json(layout.metrics / "summary.json", summarise(scores, found.task))
    _write_tables_and_report(params, layout, scores, said["ensemble"], found)
    return scores


def _notes(params: Params, found: Results) -> list[str]:
    notes = [
        "Each network's epoch was chosen on the fold that it is scored on, as in the papers: "
        "out-of-fold scores are a little hopeful, those of a test set are not."
    ]
    if params.corpus.synthetic:
        notes.append("The corpus is synthetic: these scores say nothing about recordings.")
    is_verified = found.rows["verified"][found.rows["role"] == "validation"]
    if not is_verified.all():
        share = 1 - is_verified.mean()
        notes.append(f"Out of fold, {share:.0%} of the labels are unverified; some may be wrong.")
    notes += [
        f"{name} counts as one tag of {', '.join(members)}; calibration is of the tags themselves."
        for name, members in params.evaluate.label_groups.items()
    ]
    notes += [
        f"VGGish {name} started from random values: no weight file was given."
        for name, extractor in params.extractors.items()
        if not extractor.weights
    ]
    return notes


def _write_tables_and_report(
    params: Params, layout: Layout, scores: dict[str, Any], ensemble: Predictions, found: Results
) -> None:
    tags, held_out = found.task.tags, ensemble.held_out
    calibration, reliability, coverage = calibration_report(
        found.rows,
        found.targets,
        found.probabilities("ensemble"),
        found.about["temperature"],
        is_multi_label=found.task.is_multi_label,
        rejection_threshold=params.evaluate.rejection_threshold,
        seed=params.seed,
        n_resamples=params.evaluate.n_resamples,
    )
    tables = tag_tables(held_out, tags, found.about["temperature"])
    paths = sorted(layout.all_learning_curves.glob("*.csv"))
    curves = pd.concat([pd.read_csv(p, dtype={"fold": str}) for p in paths], ignore_index=True)
    predicted = predicted_tags(ensemble, found.task)
    kaggle = predicted.rename(columns={"clip": "fname", "tags": "label"})[["fname", "label"]]
    tables |= {
        "reliability": reliability,
        "coverage": coverage,
        "learning_curves": curves,
        "test_predictions": predicted,
        "submission": kaggle,
    }
    for name, table in tables.items():
        write_table(layout.metrics / f"{name}.csv", table)
    write_json(layout.metrics / "calibration.json", calibration)
    confusion = None
    if not found.task.is_multi_label:
        confusion = confusion_matrix(held_out.probabilities, held_out.labels)
    split = layout.metrics / "split.json"
    page = render_report(
        title=f"earmark: {params.corpus.name}",
        synthetic=params.corpus.synthetic,
        notes=scores["notes"],
        metrics=found.task.summarised,
        scores=scores,
        by_tag=tables["per_class"],
        confusion=confusion,
        tags=tags,
        learning_curves=curves,
        weights=scores["weights"],
        quarantine=read_table(layout.decoded / "quarantine.parquet"),
        calibration=calibration,
        reliability=reliability,
        coverage=coverage,
        split=read_json(split) if split.exists() else None,
    )
    with whole_folder(layout.report) as part:
        (part / "index.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    with stage("evaluate") as s:
        scores = run(s.params, s.layout)
        metric = scores["metric"]
        found = scores["ensemble"]["out_of_fold"][metric]
        s.log.info(
            "evaluate: ensemble %s %.3f (%.3f to %.3f) out of fold; data/report/index.html",
            metric,
            found["value"],
            found["low"],
            found["high"],
        )
