"""What each member adds is the difference to the ensemble of the others."""

from dataclasses import replace

import numpy as np
import pytest

from earmark.ensemble.contributions import contributions
from earmark.ensemble.members import combine_members
from earmark.evaluation.scores import values_of
from tests.reports.small_report import predictions_of

TAGS = ["bark", "bell", "cello", "cough"]


def members_of(n_clips=120, *, is_multi_label=False, **options):
    found = predictions_of(n_clips, TAGS, is_multi_label=is_multi_label, **options)
    del found["ensemble"]
    return found


def added(members, weights="learned", *, label_groups=None, metric="map_at_3"):
    groups = label_groups or {}
    whole = combine_members(members, weights).predictions.grouped(groups).with_answers()
    options = {"label_groups": groups, "metric": metric, "seed": 1, "n_resamples": 200}
    return contributions(members, whole, weights=weights, **options), whole


@pytest.mark.parametrize("weights", ["learned", "equal", {"one": 0.5, "two": 0.5, "three": 0.0}])
def test_each_is_compared_with_the_ensemble_of_the_others(weights):
    members = members_of(members=("one", "two", "three"), skill=1.5)
    found, whole = added(members, weights)
    assert {one.member for one in found} == set(members)
    value = values_of(whole.validation)["map_at_3"]
    for one in found:
        others = {name: p for name, p in members.items() if name != one.member}
        without = combine_members(others, weights).predictions.with_answers()
        assert one.without == pytest.approx(values_of(without.validation)["map_at_3"])
        assert one.difference["value"] == pytest.approx(value - one.without)
    assert [one.without for one in found] == sorted(one.without for one in found)


def test_who_knows_nothing_adds_nothing_and_who_knows_all_adds_most():
    members = members_of(skill=2.0)
    one = members["one"]
    nothing = np.full_like(one.probabilities, 1 / len(TAGS))
    members["none"] = replace(one, name="none", probabilities=nothing)
    all_known = np.where(one.targets > 0.5, 0.97, 0.01)
    members["all"] = replace(one, name="all", probabilities=all_known)
    found, _ = added(members, "equal")
    by_name = {entry.member: entry for entry in found}
    assert found[0].member == "all"
    assert by_name["none"].difference["value"] == pytest.approx(0, abs=1e-9)
    assert by_name["all"].difference["value"] > 0.05
    assert by_name["all"].p_value < 0.05


def test_the_only_one_with_a_weight_cannot_be_left_out():
    members = members_of()
    found, _ = added(members, {"one": 1.0, "two": 0.0})
    assert [one.member for one in found] == ["two"]
    assert found[0].difference["value"] == 0
    assert added({"one": members["one"]})[0] == []


def test_tags_are_grouped_and_several_tags_have_thresholds():
    found, whole = added(members_of(), label_groups={"animal": ["bark", "cough"]})
    assert len(whole.task.tags) == 3
    assert len(found) == 2
    several = members_of(is_multi_label=True)
    assert len(added(several, metric="micro_f1")[0]) == 2
