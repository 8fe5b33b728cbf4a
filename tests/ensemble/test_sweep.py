"""The sweep gives, at each confidence, what the rule itself gives."""

import numpy as np
import pytest

from earmark.ensemble.crops import aggregate_clip
from earmark.ensemble.sweep import CONFIDENCES, sweep_confidence
from earmark.evaluation.points import point_values
from earmark.store import StoreWriter
from tests.reports.small_report import predictions_of

TAGS = ["bark", "bell", "cello"]


def write_crops(folder, member, *, n_crops, aggregation="mean", crops="cover"):
    """Crops of the member's validation clips, with those of a kind that is not asked for."""
    rng, stored = np.random.default_rng(1), {}
    clips = member.validation.clips
    metadata = {"tags": TAGS, "aggregation": aggregation}
    for fold in clips["fold"].unique():
        path = folder / member.name / fold
        with StoreWriter(path, row_shape=(3,), dtype="float32", metadata=metadata) as store:
            for clip in clips["clip"][clips["fold"] == fold]:
                stored[clip] = rng.dirichlet(np.ones(3), n_crops).astype(np.float32)
                other = "random" if crops == "cover" else "cover"
                store.append(
                    rng.dirichlet(np.ones(3), 4).astype(np.float32), clip=clip, crops=other
                )
                store.append(stored[clip], clip=clip, crops=crops)
    return stored


@pytest.mark.parametrize(
    ("aggregation", "crops"),
    [("mean", "cover"), ("confident_crop", "random"), ("best_out_of_fold", "random")],
)
def test_every_row_is_what_the_rule_gives(tmp_path, aggregation, crops):
    member = predictions_of(30, TAGS)["one"]
    stored = write_crops(tmp_path, member, n_crops=5, aggregation=aggregation, crops=crops)
    sweep = sweep_confidence(tmp_path, {"one": member}, metric="map_at_3", label_groups={})
    assert sweep["confidence"].tolist() == list(CONFIDENCES)
    rows = member.validation
    for row in sweep.itertuples():
        made = [
            aggregate_clip(stored[clip], aggregation="confident_crop", confidence=row.confidence)
            for clip in rows.clips["clip"]
        ]
        probabilities = np.array([one.probabilities for one in made])
        values = point_values(probabilities, rows.targets, is_multi_label=False)
        assert row.map_at_3 == pytest.approx(values["map_at_3"], abs=1e-4)
        assert row.n_crops == pytest.approx(np.mean([one.n_crops for one in made]), abs=1e-4)
    assert (sweep["n_crops"].iloc[0], sweep["n_crops"].iloc[-1]) == (1, 5)


def test_a_member_with_one_crop_a_clip_has_nothing_to_sweep(tmp_path):
    member = predictions_of(12, TAGS)["one"]
    write_crops(tmp_path, member, n_crops=1)
    sweep = sweep_confidence(tmp_path, {"one": member}, metric="map_at_3", label_groups={})
    assert sweep.empty
    assert list(sweep.columns) == ["model", "confidence", "map_at_3", "n_crops"]


def test_tags_are_scored_in_their_groups(tmp_path):
    member = predictions_of(30, TAGS)["one"]
    write_crops(tmp_path, member, n_crops=2)
    values = [
        sweep_confidence(tmp_path, {"one": member}, metric="accuracy", label_groups=groups)
        for groups in ({}, {"any": TAGS[:2]})
    ]
    assert (values[1]["accuracy"] >= values[0]["accuracy"]).all()
    assert (values[1]["accuracy"] > values[0]["accuracy"]).any()
