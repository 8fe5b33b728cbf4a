"""What a clip takes of the ensemble and of the student, beside sums done by hand."""

from typing import Any

import pytest

from earmark.settings.clip_cost import clip_costs
from tests.params.raw_params import changed, sound


def costs_of(demo: dict[str, Any], weights: dict[str, float], **changes: Any) -> dict[str, Any]:
    raw = changed(demo, {"models.logmel": {"a": CNN, "b": CNN}, "folds": [0, 1], **changes})
    return clip_costs(sound(raw), weights)


CNN = {
    "network": {"name": "compact_cnn", "base_width": 2},
    "input": {"segment_seconds": 2.0},
    "training": {},
    "prediction": {"aggregation": "mean"},
}


def test_every_fold_of_every_member_with_a_weight_is_asked_and_one_student(demo):
    student = {"student": {"logmel": {**CNN, "teacher_weight": 0.5, "made_clips": 0}}}
    both = costs_of(demo, {"a": 0.5, "b": 0.5}, **student)
    one = costs_of(demo, {"a": 1.0, "b": 0.0}, **student)
    assert (both["ensemble"]["networks"], both["student"]["networks"]) == (4, 1)
    assert one["ensemble"]["networks"] == 2
    for key in ("parameters", "multiply_adds"):
        assert both["ensemble"][key] == 4 * both["student"][key] == 2 * one["ensemble"][key]
        assert both["student"] == one["student"]
    assert "student" not in costs_of(demo, {"a": 1.0})


@pytest.mark.parametrize(
    ("changes", "ratio"),
    [
        ({"input": {"segment_seconds": 2.0, "lengths": [1.0, 1.0]}}, 2.0),
        ({"prediction": {"aggregation": "mean_of_random_crops"}}, 2.0),  # ten crops of five
    ],
)
def test_segments_are_those_of_the_rule(demo, changes, ratio):
    cnn = {**CNN, "teacher_weight": 0.5, "made_clips": 0}
    usual = costs_of(demo, {"a": 1.0}, student={"logmel": cnn})
    more = costs_of(demo, {"a": 1.0}, student={"logmel": {**cnn, **changes}})
    assert more["student"]["multiply_adds"] == ratio * usual["student"]["multiply_adds"]
    assert more["student"]["parameters"] == usual["student"]["parameters"]


def test_an_extractor_counts_with_each_of_its_patches(demo):
    student = {"student": {"logmel": {**CNN, "teacher_weight": 0.5, "made_clips": 0}}}
    costs = costs_of(demo, {"attention-vggish": 1.0, "a": 0.0}, **student)["ensemble"]
    assert costs["networks"] == 4  # two folds of extractor and head
    assert costs["multiply_adds"] > 10 * costs["parameters"] / 2
