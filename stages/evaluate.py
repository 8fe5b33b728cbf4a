"""Score every member and the ensemble; write metrics, plots, report and submission.

Reads: data/ensemble/, data/decoded/ (quarantine), metrics/training/
Writes: metrics/scores.json, summary.json, per_class.csv, confusion.csv, confusion_pairs.csv,
    submission.csv; data/report/
Params: evaluate, corpus, extractors, seed
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark import scoring
from earmark.layout import Layout
from earmark.params import Params
from earmark.report import render_report
from earmark.seeding import seed_for
from earmark.store import read_json, read_table, whole_folder, write_json, write_table
from earmark.tags import label_indices
from stages import stage

SUMMARISED = ("map_at_1", "map_at_3", "accuracy", "macro_f1")


@dataclass(frozen=True)
class Said:
    """What one member, or the ensemble, said of the scored rows."""

    name: str
    rows: pd.DataFrame
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def where(self, chosen: Any) -> "Said":
        keep = np.asarray(chosen) & (self.labels >= 0)
        return Said(self.name, self.rows[keep], self.labels[keep], self.probabilities[keep])

    def __len__(self) -> int:
        return len(self.rows)


def run(params: Params, layout: Layout) -> dict[str, Any]:
    about = read_json(layout.ensemble / "ensemble.json")
    tags = about["tags"]
    rows = read_table(layout.ensemble / "clips.parquet")
    labels = label_indices(list(rows["label"]), tags)
    said = {
        name: Said(name, rows, labels, _probabilities(layout, name))
        for name in [*about["members"], "ensemble"]
    }
    scores = {
        "corpus": {"name": params.corpus.name, "synthetic": params.corpus.synthetic},
        "models": {name: _scores(said[name], tags, params) for name in about["members"]},
        "ensemble": _scores(said["ensemble"], tags, params),
        "weights": about["weights"],
        "notes": [*_notes(params), *about["notes"]],
    }
    write_json(layout.metrics / "scores.json", scores)
    write_json(layout.metrics / "summary.json", _summary(scores))
    _write_tables(layout, said["ensemble"], tags)
    _write_report(layout, params, scores, said["ensemble"], tags)
    return scores


def _probabilities(layout: Layout, name: str) -> NDArray[np.float64]:
    return read_table(layout.ensemble / f"{name}.parquet").to_numpy(np.float64)


def _scores(said: Said, tags: list[str], params: Params) -> dict[str, Any]:
    """Out of fold (each fold apart, and all together) and on the test set (all, and by usage)."""
    held_out = said.where(said.rows["role"] == "validation")
    test = said.where(said.rows["role"] == "test")

    def score(part: Said, what: str) -> dict[str, Any]:
        seed = seed_for(params.seed, "bootstrap", what)
        n_resamples = params.evaluate.n_resamples
        found = scoring.score(
            part.probabilities, part.labels, tags=tags, seed=seed, n_resamples=n_resamples
        )
        return found.to_json()

    result: dict[str, Any] = {"out_of_fold": score(held_out, "out_of_fold")}
    by_fold = [
        {key: getattr(scored, key).value for key in scoring.METRICS}
        for fold in held_out.rows["fold"].unique()
        if len(part := held_out.where(held_out.rows["fold"] == fold))
        for scored in [
            scoring.score(part.probabilities, part.labels, tags=tags, seed=0, n_resamples=2)
        ]
    ]
    table = pd.DataFrame(by_fold)
    result["folds"] = {"mean": table.mean().to_dict(), "std": table.std(ddof=0).to_dict()}
    if len(test):
        result["test"] = {"all": score(test, "test")}
        for usage in ("Public", "Private"):
            part = test.where(test.rows["usage"] == usage)
            if len(part):
                result["test"][usage.lower()] = score(part, f"test {usage}")
        result["test"]["n_quarantined"] = int(test.rows["quarantined"].sum())
    return result


def _notes(params: Params) -> list[str]:
    notes = []
    if params.corpus.synthetic:
        notes.append("The corpus is synthetic: these scores say nothing about recordings.")
    notes += [
        f"VGGish {name} started from random values: no weight file was given."
        for name, extractor in params.extractors.items()
        if not extractor.weights
    ]
    return notes


def _summary(scores: dict[str, Any]) -> dict[str, Any]:
    """The few values that `dvc metrics diff` should show."""

    def values(entry: dict[str, Any]) -> dict[str, Any]:
        parts = {"out_of_fold": entry["out_of_fold"]}
        if "test" in entry:
            parts["test"] = entry["test"]["all"]
        return {
            part: {key: round(found[key]["value"], 6) for key in SUMMARISED}
            for part, found in parts.items()
        }

    models = {name: values(entry) for name, entry in scores["models"].items()}
    return {"ensemble": values(scores["ensemble"]), **models}


def _write_tables(layout: Layout, ensemble: Said, tags: list[str]) -> None:
    held_out = ensemble.where(ensemble.rows["role"] == "validation")
    confusion = scoring.confusion_matrix(held_out.probabilities, held_out.labels)
    per_class = scoring.per_class(held_out.probabilities, held_out.labels, tags)
    write_table(layout.metrics / "per_class.csv", per_class)
    pairs = scoring.confusion_pairs(confusion, tags)
    write_table(layout.metrics / "confusion_pairs.csv", pairs)
    named = np.array(tags)
    predicted = named[held_out.probabilities.argmax(axis=1)]
    actual = named[held_out.labels]
    write_table(
        layout.metrics / "confusion.csv", pd.DataFrame({"actual": actual, "predicted": predicted})
    )
    _write_submission(layout, ensemble, named)


def _write_submission(layout: Layout, ensemble: Said, tags: NDArray[np.str_]) -> None:
    """Kaggle's form, and beside it the same rows with how sure we are and what was quarantined."""
    is_test = np.asarray(ensemble.rows["role"] == "test")
    probabilities = ensemble.probabilities[is_test]
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    names = ensemble.rows["clip"][is_test]
    top_tags = [" ".join(row) for row in tags[top]]
    write_table(
        layout.metrics / "submission.csv", pd.DataFrame({"fname": names, "label": top_tags})
    )
    sure = np.take_along_axis(probabilities, top[:, :1], axis=1)[:, 0]
    marked = pd.DataFrame(
        {
            "clip": names,
            "tags": top_tags,
            "probability": sure.round(4),
            "quarantined": ensemble.rows["quarantined"][is_test],
        }
    )
    write_table(layout.metrics / "test_predictions.csv", marked)


def _write_report(
    layout: Layout, params: Params, scores: dict[str, Any], ensemble: Said, tags: list[str]
) -> None:
    held_out = ensemble.where(ensemble.rows["role"] == "validation")
    curves = [
        pd.read_csv(path, dtype={"fold": str})
        for path in sorted((layout.metrics / "training").glob("*.csv"))
    ]
    page = render_report(
        title=f"earmark: {params.corpus.name}",
        synthetic=params.corpus.synthetic,
        notes=scores["notes"],
        scores=scores,
        per_class=scoring.per_class(held_out.probabilities, held_out.labels, tags),
        confusion=scoring.confusion_matrix(held_out.probabilities, held_out.labels),
        tags=tags,
        learning_curves=pd.concat(curves, ignore_index=True),
        weights=scores["weights"],
        quarantine=read_table(layout.decoded / "quarantine.parquet"),
    )
    with whole_folder(layout.report) as part:
        (part / "index.html").write_text(page)


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
