"""Combine crops, folds and members into the predictions of every member and of the ensemble.

Reads: data/predictions/, data/plan.json, data/folds.parquet, data/clips.parquet
Writes: data/ensemble/
Params: ensemble, inference, trim, decode.sample_rate, evaluate.rejection_threshold, seed
"""

from typing import Any

from earmark.ensemble.members import combine_members, read_members, select_clips
from earmark.evaluation.predictions import Predictions, write_predictions
from earmark.evaluation.temperature import fit_temperature, temper
from earmark.evaluation.thresholds import tune
from earmark.layout import Layout
from earmark.params import Params
from earmark.store import read_json, read_table
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    plan, folds = read_json(layout.plan), read_table(layout.folds)
    clips = select_clips(folds, read_table(layout.clips), plan["folds"])
    read = read_members(
        layout.all_predictions,
        plan,
        clips,
        folds,
        confidence=params.inference.confidence,
        fold_mean=params.ensemble.fold_mean,
    )
    members = {name: member.predictions for name, member in read.items()}
    ensemble, weights, notes = combine_members(members, params.ensemble.weights)
    metadata = {
        "members": list(members),
        "aggregation": {name: member.aggregation for name, member in read.items()},
        "aggregations": {name: member.compared for name, member in read.items()},
        "random_starts": {name: member.random_start for name, member in read.items()},
        "weights": weights,
        "fold_mean": params.ensemble.fold_mean,
        "notes": [*notes, *(note for member in read.values() for note in member.notes)],
        "tags": ensemble.task.tags,
        "is_multi_label": ensemble.task.is_multi_label,
        **_tuned_on_validation(ensemble),
        "preparation": {
            "sample_rate": params.decode.sample_rate,
            "trim": params.trim.model_dump(),
            "inference": params.inference.model_dump(),
            "rejection_threshold": params.evaluate.rejection_threshold,
            "seed": params.seed,
        },
    }
    write_predictions(layout.ensemble, [*members.values(), ensemble], metadata)
    return metadata


def _tuned_on_validation(ensemble: Predictions) -> dict[str, Any]:
    """A temperature for the ensemble's probabilities, and thresholds for the tempered ones."""
    probabilities, targets = ensemble.validation.probabilities, ensemble.validation.targets
    is_multi_label = ensemble.task.is_multi_label
    temperature = fit_temperature(probabilities, targets, is_multi_label=is_multi_label)
    if not is_multi_label:
        return {"temperature": temperature}
    thresholds = tune(temper(probabilities, temperature, is_multi_label=True), targets)
    by_tag = dict(zip(ensemble.task.tags, thresholds.by_tag.tolist(), strict=True))
    return {"temperature": temperature, "thresholds": by_tag}


if __name__ == "__main__":
    with stage("ensemble") as s:
        metadata = run(s.params, s.layout)
        shown = ", ".join(f"{name} {weight:.2f}" for name, weight in metadata["weights"].items())
        s.log.info("ensemble: weights %s; temperature %.2f", shown, metadata["temperature"])
