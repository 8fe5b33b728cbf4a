"""Two taggers, or two sides of several seeds, compared on what all of them have."""

import json
from dataclasses import replace

import numpy as np
import pytest

from earmark.errors import UserError
from earmark.evaluation.comparison import Comparison, SeedValues, compare
from earmark.evaluation.predictions import Predictions
from earmark.labels import Task
from tests.evaluation.letter_taggers import TAGS, tagger
from tests.evaluation.small_predictions import several_tags


def compared(first: Predictions, second: Predictions, **options) -> Comparison:
    return compared_sides([first], [second], **options)


def compared_sides(first: list[Predictions], second: list[Predictions], **options) -> Comparison:
    usual = {"metric": "accuracy", "label_groups": {}, "on": "validation"}
    return compare(first, second, **usual | options, seed=0, n_resamples=50)


def test_the_difference_is_on_the_clips_that_both_have():
    first = tagger("cdocoo", name="old")
    comparison = compared(first, tagger("ddocd", "cdocd", clips="pqrsx", name="new"))
    assert comparison.gain.n_clips == 4
    assert (comparison.gain.first, comparison.gain.second) == (1.0, 0.75)
    assert (comparison.changes.n_fixed, comparison.changes.n_broken) == (0, 1)
    assert comparison.left_out == [
        "left out: 2 clips of old that not all have",
        "left out: 1 clips of new that not all have",
    ]
    assert comparison.lines()[-2:] == comparison.left_out
    assert comparison.seeds is None


def test_the_order_of_clips_and_of_tags_does_not_matter():
    first, second = tagger("cdoooo"), tagger("ddocdo", name="b")
    back = second.take(np.arange(6)[::-1])
    task, columns = Task(TAGS[::-1], False, []), (slice(None), slice(None, None, -1))
    targets, probabilities = back.targets[columns], back.probabilities[columns]
    turned = replace(back, task=task, targets=targets, probabilities=probabilities)
    one, other = compared(first, second), compared(first, turned)
    assert (one.gain.first, one.gain.second) == (other.gain.first, other.gain.second)
    assert one.changes == other.changes


def test_tags_of_one_tagger_alone_are_left_out_with_their_clips():
    first = tagger("cdcd", "cdcd", clips="pqst", tags=["cat", "dog"], name="two")
    comparison = compared(first, tagger("ccocdo", name="three"))
    assert comparison.gain.n_clips == 4
    assert comparison.gain.second == 0.75
    assert "left out: tags of three that not all have: owl" in comparison.left_out
    assert set(comparison.by_tag["tag"]) == {"cat", "dog"}


def test_a_clip_of_a_tag_that_one_tagger_lacks_is_not_judged():
    first = tagger("cdcd", "cdod", clips="pqrs", tags=["cat", "dog"], name="two")
    comparison = compared(first, tagger("cdod", "cdod", clips="pqrs", name="three"))
    assert comparison.gain.n_clips == 3
    assert "left out: 1 clips without a tag that all have" in comparison.left_out


def test_relabelled_clips_are_judged_by_the_last_taggers_labels():
    comparison = compared(tagger("cdocdo", name="old"), tagger("cdocdo", "ddocdo", name="new"))
    assert comparison.gain.first == comparison.gain.second == 5 / 6
    assert comparison.left_out == ["1 clips have another label in old; that of new is used"]


def test_a_clip_that_several_folds_validate_counts_once_with_its_mean():
    twice = tagger("dcd", "ccd", clips="ppq")
    twice.probabilities[0] = [0.3, 0.6, 0.1]  # the other fold is more confident of cat
    comparison = compared(twice, tagger("cd", "cd", clips="pq", name="b"))
    assert comparison.gain.n_clips == 2
    assert comparison.gain.first == 1.0


def test_grouped_tags_are_compared_as_one():
    pets = {"pet": ["cat", "dog"]}
    comparison = compared(tagger("cdocdo"), tagger("dcocdo", name="b"), label_groups=pets)
    assert comparison.gain.difference.value == 0
    assert comparison.changes.n_changed == 0


def test_test_clips_are_compared_apart():
    both = [tagger("cdocdo", name="a"), tagger("ddocdo", name="b")]
    for one in both:
        one.clips["split"] = ["validation"] * 3 + ["test"] * 3
    assert compared(*both).gain.second == pytest.approx(2 / 3)
    assert compared(*both, on="test").gain.second == 1.0


def test_several_tags_on_test_clips_are_answered_by_thresholds_of_the_validation_clips():
    predictions = several_tags().with_answers()
    comparison = compared(predictions, predictions, metric="micro_f1", on="test")
    test = predictions.test
    hits = (test.answers.by_one & (test.targets > 0)).sum()
    expected = 2 * hits / (test.answers.by_one.sum() + test.targets.sum())
    assert comparison.gain.first == pytest.approx(expected)


def test_seeds_have_their_values_mean_and_spread():
    first = [tagger("cdocdo", name="a1"), tagger("ddocdo", name="a2"), tagger("ddocoo", name="a3")]
    second = [tagger("cdocdo", name="b1"), tagger("cdocdc", name="b2")]
    comparison = compared_sides(first, second)
    assert comparison.seeds is not None
    one, other = comparison.seeds
    assert one.values == {"a1": 1.0, "a2": pytest.approx(5 / 6), "a3": pytest.approx(4 / 6)}
    assert one.mean == pytest.approx(5 / 6)
    assert one.std == pytest.approx(1 / 6)  # of a sample
    assert other.std == pytest.approx(np.sqrt(2) / 12)
    text = "\n".join(comparison.lines())
    values = "a1 1.0000, a2 0.8333, a3 0.6667; mean 0.8333, standard deviation 0.1667"
    assert f"first: {values}" in text
    spread = "beside a standard deviation over seeds of 0.1667 and 0.1179"
    assert f"difference of the means +0.0833, {spread}" in text
    assert " p " not in text  # no test takes the seeds for independent clips
    assert comparison.to_json()["seeds"][0]["std"] == one.std


def test_the_interval_of_seeds_is_that_of_their_mean_probabilities():
    seeds = [tagger("cdocdo", name="a1"), tagger("ddocdo", name="a2"), tagger("ddocoo", name="a3")]
    mean = replace(seeds[0], probabilities=np.mean([one.probabilities for one in seeds], axis=0))
    second = tagger("cdocdc", name="b")
    comparison, expected = compared_sides(seeds, [second]), compared(mean, second)
    assert comparison.gain == expected.gain
    assert comparison.gain.n_clips == 6
    assert comparison.names == ("a1,a2,a3", "b")
    assert comparison.seeds is not None
    assert isinstance(comparison.seeds[1], SeedValues)
    assert comparison.seeds[1].values == {"b": pytest.approx(5 / 6)}
    assert "one seed has no spread" in "\n".join(comparison.lines())


def test_a_comparison_becomes_plain_json():
    comparison = compared(tagger("cdocdo"), tagger("ddocdo", name="b")).to_json()
    assert json.loads(json.dumps(comparison)) == comparison
    assert comparison["names"] == ["a", "b"]
    assert comparison["gain"]["difference"]["value"] == pytest.approx(-1 / 6)
    assert comparison["answers"]["n_broken"] == 1
    assert "seeds" not in comparison


def test_what_cannot_be_compared_says_why():
    one = tagger("cdocdo", name="one")
    several = replace(one, name="many", task=Task(TAGS, True, []))
    with pytest.raises(UserError, match="one has one tag per clip, many several; compare taggers"):
        compared(several, one)
    other = tagger("cdo", "cdo", clips="xyz", name="b")
    with pytest.raises(UserError, match="a and b share 0 validation clips and 3 tags; name"):
        compared(tagger("cdo", "cdo", clips="pqr"), other)
    with pytest.raises(UserError, match=r"evaluate\.metric, or --metric: roc_auc does not fit"):
        compared(one, one, metric="roc_auc")
