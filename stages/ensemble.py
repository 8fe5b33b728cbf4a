"""Combine crops, folds and members into the predictions of every member and of the ensemble.

Reads: data/predictions/, data/plan.json, data/folds.parquet, data/clips.parquet
Writes: data/ensemble/
Params: ensemble, inference, trim, decode.sample_rate, evaluate.rejection_threshold, seed
"""

from typing import Any

from earmark.corpora.stored_tables import read_clips, read_folds, read_plan
from earmark.ensemble.members import combine_members, read_members, select_clips
from earmark.ensemble.tuning import tune_ensemble, tuning_notes, unlabelled_clips
from earmark.evaluation.predictions import write_predictions
from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    plan = read_plan(layout)
    folds = read_folds(layout, plan["folds"])
    clips = select_clips(folds, read_clips(layout), plan["folds"])
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
    unlabelled = unlabelled_clips(ensemble)
    networks = {name: member.networks(unlabelled) for name, member in read.items()}
    tuned = tune_ensemble(ensemble, members, weights, networks)
    metadata = {
        "members": list(members),
        "baselines": plan.get("baselines", []),
        "aggregation": {name: member.aggregation for name, member in read.items()},
        "aggregations": {name: member.compared for name, member in read.items()},
        "random_starts": {name: member.random_start for name, member in read.items()},
        "weights": weights,
        "fold_mean": params.ensemble.fold_mean,
        "notes": [
            *notes,
            *tuning_notes(tuned["calibration"]),
            *(note for member in read.values() for note in member.notes),
        ],
        "tags": ensemble.task.tags,
        "is_multi_label": ensemble.task.is_multi_label,
        **tuned,
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


if __name__ == "__main__":
    with stage("ensemble") as s:
        metadata = run(s.params, s.layout)
        shown = ", ".join(f"{name} {weight:.2f}" for name, weight in metadata["weights"].items())
        s.log.info("ensemble: weights %s; temperature %.2f", shown, metadata["temperature"])
