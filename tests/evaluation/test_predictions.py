"""The record of predictions: its rows, groups, answers and files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from earmark.evaluation.points import best_threshold
from earmark.evaluation.predictions import (
    Predictions,
    read_metadata,
    read_predictions,
    write_predictions,
)
from tests.evaluation.small_predictions import CLIPS, ONE, several_tags, small


def test_targets_are_those_of_the_labels() -> None:
    predictions = small()
    assert predictions.labels[:7].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert predictions.targets[7].tolist() == [0, 0, 0, 0]


def test_rows_are_chosen_by_their_columns_and_must_have_a_label() -> None:
    predictions = small()
    assert list(predictions.validation.clips["clip"]) == list("abcd")
    assert list(predictions.test.clips["clip"]) == list("efg")
    private = predictions.where(split="test", usage="Private")
    assert list(private.clips["clip"]) == list("fg")
    np.testing.assert_array_equal(private.probabilities, predictions.probabilities[5:7])
    np.testing.assert_array_equal(private.targets, predictions.targets[5:7])


def test_a_clip_that_several_folds_validate_gets_the_mean_of_their_probabilities() -> None:
    twice = CLIPS.iloc[[1, 0, 1]].assign(fold=["1", "0", "0"])
    probabilities = np.array([[0.1, 0.9, 0, 0], [1, 0, 0, 0], [0.3, 0.7, 0, 0]])
    one = Predictions.of("twice", ONE, twice, probabilities).mean_by_clip()
    assert list(one.clips["clip"]) == ["a", "b"]
    np.testing.assert_allclose(one.probabilities, [[1, 0, 0, 0], [0.2, 0.8, 0, 0]])
    assert one.labels.tolist() == [0, 1]


def test_grouped_tags_have_probabilities_and_targets_of_the_group() -> None:
    grouped = small().grouped({"animal": ["Bark", "Cough"]})
    assert grouped.task.tags == ["Flute", "Gong", "animal"]
    assert grouped.labels[:4].tolist() == [2, 2, 0, 1]
    assert grouped.probabilities[0].tolist() == [0.2, 0.1, 0.4]


def test_one_tag_per_clip_needs_no_answers() -> None:
    predictions = small()
    assert predictions.with_answers() is predictions


def test_the_answers_of_a_fold_never_depend_on_its_own_labels() -> None:
    predictions = several_tags()
    in_fold_0 = np.asarray(predictions.clips["fold"] == "0")
    altered = predictions.targets.copy()
    altered[in_fold_0] = 1 - altered[in_fold_0]
    before = predictions.with_answers().answers
    after = replace(predictions, targets=altered).with_answers().answers
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one[in_fold_0], other[in_fold_0])
        assert not np.array_equal(one[~in_fold_0], other[~in_fold_0])


def test_test_clips_are_answered_by_thresholds_of_all_validation_clips() -> None:
    predictions = several_tags()
    p, targets = predictions.probabilities, predictions.targets
    threshold, _ = best_threshold(p[:40].ravel(), targets[:40].ravel() > 0)
    answered = predictions.with_answers()
    assert np.array_equal(answered.answers.by_one[40:], p[40:] >= threshold)
    given = predictions.test.with_answers(answered.thresholds)
    assert np.array_equal(given.answers.by_tag, answered.test.answers.by_tag)


@pytest.mark.parametrize("predictions", [small(), several_tags()], ids=["one", "several"])
def test_what_is_written_is_read(tmp_path, predictions: Predictions) -> None:
    other = replace(predictions, name="other", probabilities=predictions.probabilities / 2)
    task = predictions.task
    metadata = {"is_multi_label": task.is_multi_label, "tags": task.tags}
    write_predictions(tmp_path / "ensemble", [predictions, other], metadata)
    assert read_metadata(tmp_path / "ensemble") == metadata
    found = read_predictions(tmp_path / "ensemble", "other")
    assert (found.name, found.task) == ("other", predictions.task)
    pd.testing.assert_frame_equal(found.clips, predictions.clips)
    np.testing.assert_array_equal(found.probabilities, other.probabilities)
    np.testing.assert_array_equal(found.targets, other.targets)
