"""Score every member and the ensemble; write metrics, plots, report and submission.

Reads: data/ensemble/, data/decoded/ (quarantine), data/training/
Writes: metrics/scores.json, summary.json, learning_curves.csv, per_class.csv, confusion.csv,
    confusion_pairs.csv, submission.csv, test_predictions.csv; data/report/
Params: evaluate, corpus, extractors, seed
"""

from typing import Any

import pandas as pd

from earmark.evaluation import Said, confusion_rows, predicted_tags, score_member, summarise
from earmark.layout import Layout
from earmark.params import Params
from earmark.report import render_report
from earmark.scoring import confusion_matrix, confusion_pairs, per_class
from earmark.store import read_json, read_table, whole_folder, write_json, write_table
from earmark.tags import label_indices
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    about = read_json(layout.ensemble / "ensemble.json")
    tags = about["tags"]
    rows = read_table(layout.ensemble / "clips.parquet")
    labels = label_indices(list(rows["label"]), tags)
    said = {
        name: Said(rows, labels, read_table(layout.ensemble / f"{name}.parquet").to_numpy())
        for name in [*about["members"], "ensemble"]
    }
    scored = {
        name: score_member(member, tags, seed=params.seed, n_resamples=params.evaluate.n_resamples)
        for name, member in said.items()
    }
    scores = {
        "corpus": {"name": params.corpus.name, "synthetic": params.corpus.synthetic},
        "ensemble": scored.pop("ensemble"),
        "models": scored,
        "weights": about["weights"],
        "notes": [*_notes(params, rows), *about["notes"]],
    }
    write_json(layout.metrics / "scores.json", scores)
    write_json(layout.metrics / "summary.json", summarise(scores))
    _write_tables_and_report(params, layout, scores, said["ensemble"], tags)
    return scores


def _notes(params: Params, rows: pd.DataFrame) -> list[str]:
    notes = [
        "Each network's epoch was chosen on the fold that it is scored on, as in the papers: "
        "out-of-fold scores are a little hopeful, those of a test set are not."
    ]
    if params.corpus.synthetic:
        notes.append("The corpus is synthetic: these scores say nothing about recordings.")
    is_verified = rows["verified"][rows["role"] == "validation"]
    if not is_verified.all():
        share = 1 - is_verified.mean()
        notes.append(f"Out of fold, {share:.0%} of the labels are unverified; some may be wrong.")
    notes += [
        f"VGGish {name} started from random values: no weight file was given."
        for name, extractor in params.extractors.items()
        if not extractor.weights
    ]
    return notes


def _write_tables_and_report(
    params: Params, layout: Layout, scores: dict[str, Any], ensemble: Said, tags: list[str]
) -> None:
    held_out = ensemble.held_out
    confusion = confusion_matrix(held_out.probabilities, held_out.labels)
    by_tag = per_class(held_out.probabilities, held_out.labels, tags)
    paths = sorted(layout.all_learning_curves.glob("*.csv"))
    curves = pd.concat([pd.read_csv(p, dtype={"fold": str}) for p in paths], ignore_index=True)
    predicted = predicted_tags(ensemble, tags)
    kaggle = predicted.rename(columns={"clip": "fname", "tags": "label"})[["fname", "label"]]
    tables = {
        "per_class": by_tag,
        "confusion": confusion_rows(held_out, tags),
        "confusion_pairs": confusion_pairs(confusion, tags),
        "learning_curves": curves,
        "test_predictions": predicted,
        "submission": kaggle,
    }
    for name, table in tables.items():
        write_table(layout.metrics / f"{name}.csv", table)
    page = render_report(
        title=f"earmark: {params.corpus.name}",
        synthetic=params.corpus.synthetic,
        notes=scores["notes"],
        scores=scores,
        per_class=by_tag,
        confusion=confusion,
        tags=tags,
        learning_curves=curves,
        weights=scores["weights"],
        quarantine=read_table(layout.decoded / "quarantine.parquet"),
    )
    with whole_folder(layout.report) as part:
        (part / "index.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    with stage("evaluate") as s:
        scores = run(s.params, s.layout)
        found = scores["ensemble"]["out_of_fold"]["map_at_3"]
        s.log.info(
            "evaluate: ensemble MAP@3 %.3f (%.3f to %.3f) out of fold; data/report/index.html",
            found["value"],
            found["low"],
            found["high"],
        )
