"""Join crops, folds and members: the re-crop rule, the mean over folds, the weighted ensemble.

Reads: data/predictions/, data/plan.json, data/folds.parquet, data/clips.parquet
Writes: data/ensemble/
Params: ensemble, inference, trim, decode.sample_rate, evaluate.rejection_threshold, seed
"""

from typing import Any

import pandas as pd

from earmark.ensemble.members import Clips, Joined, join_members, read_members
from earmark.evaluation.calibration import fit_temperature, temper
from earmark.evaluation.thresholds import tune
from earmark.labels import tags_of
from earmark.layout import Layout
from earmark.params import Params
from earmark.store import read_json, read_table, whole_folder, write_json, write_table
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    plan = read_json(layout.plan)
    folds, clips = read_table(layout.folds), read_table(layout.clips)
    tags = tags_of(folds["label"][folds["split"] == "train"])
    rows = Clips.select(folds, clips, plan["folds"], tags)
    members = read_members(
        layout.all_predictions, plan, rows, confidence=params.inference.confidence
    )
    joined = join_members(members, rows, params.ensemble.weights)
    metadata = {
        "members": list(members),
        "aggregation": {
            name: read_json(layout.predictions(name, plan["folds"][0]) / "store.json")[
                "aggregation"
            ]
            for name in members
        },
        "weights": joined.weights,
        "notes": joined.notes,
        "tags": tags,
        "is_multi_label": rows.is_multi_label,
        **_learned_afterwards(joined, rows, tags),
        "preparation": {
            "sample_rate": params.decode.sample_rate,
            "trim": params.trim.model_dump(),
            "inference": params.inference.model_dump(),
            "rejection_threshold": params.evaluate.rejection_threshold,
            "seed": params.seed,
        },
    }
    with whole_folder(layout.ensemble) as part:
        write_table(part / "clips.parquet", rows.table)
        for name, probabilities in {**members, "ensemble": joined.probabilities}.items():
            write_table(part / f"{name}.parquet", pd.DataFrame(probabilities, columns=tags))
        write_json(part / "ensemble.json", metadata)
    return metadata


def _learned_afterwards(joined: Joined, rows: Clips, tags: list[str]) -> dict[str, Any]:
    """A temperature for the tables' probabilities, and thresholds for the tempered ones."""
    held_out = ~rows.is_test
    said, targets = joined.probabilities[held_out], rows.targets[held_out]
    temperature = fit_temperature(said, targets, is_multi_label=rows.is_multi_label)
    if not rows.is_multi_label:
        return {"temperature": temperature}
    tuned = tune(temper(said, temperature, is_multi_label=True), targets)
    thresholds = dict(zip(tags, tuned.by_tag.tolist(), strict=True))
    return {"temperature": temperature, "thresholds": thresholds}


if __name__ == "__main__":
    with stage("ensemble") as s:
        metadata = run(s.params, s.layout)
        shown = ", ".join(f"{name} {weight:.2f}" for name, weight in metadata["weights"].items())
        s.log.info("ensemble: weights %s; temperature %.2f", shown, metadata["temperature"])
