"""Join crops, folds and members: the re-crop rule, the mean over folds, the weighted ensemble.

Reads: data/predictions/, data/plan.json, data/folds.parquet, data/clips.parquet
Writes: data/ensemble/
Params: ensemble, inference, trim, decode.sample_rate, seed
"""

import pandas as pd

from earmark.layout import Layout
from earmark.members import Clips, join_members, read_members
from earmark.params import Params
from earmark.store import read_json, read_table, whole_folder, write_json, write_table
from earmark.tags import tags_of
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, float]:
    plan = read_json(layout.plan)
    folds, clips = read_table(layout.folds), read_table(layout.clips)
    tags = tags_of(folds["label"][folds["split"] == "train"])
    rows = Clips.select(folds, clips, plan["folds"], tags)
    members = read_members(
        layout.all_predictions, plan, rows, confidence=params.inference.confidence
    )
    joined = join_members(members, rows, params.ensemble.weights)
    with whole_folder(layout.ensemble) as part:
        write_table(part / "clips.parquet", rows.table)
        for name, probabilities in {**members, "ensemble": joined.probabilities}.items():
            table = pd.DataFrame(probabilities, columns=tags)
            write_table(part / f"{name}.parquet", table)
        about = {"members": list(members), "weights": joined.weights, "notes": joined.notes}
        preparation = {
            "sample_rate": params.decode.sample_rate,
            "trim": params.trim.model_dump(),
            "inference": params.inference.model_dump(),
            "seed": params.seed,
        }
        write_json(part / "ensemble.json", {**about, "tags": tags, "preparation": preparation})
    return joined.weights


if __name__ == "__main__":
    with stage("ensemble") as s:
        weights = run(s.params, s.layout)
        shown = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        s.log.info("ensemble: weights %s", shown)
