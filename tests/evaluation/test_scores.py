"""Scores by role, fold and usage; what is predicted and not scored; what the summary keeps."""

import numpy as np
import pandas as pd
import pytest

from earmark.errors import UserError
from earmark.evaluation.points import best_threshold
from earmark.evaluation.scores import (
    Predictions,
    Task,
    confusion_rows,
    predicted_tags,
    score_member,
    summarise,
)
from earmark.labels import targets_of

TAGS = ["Bark", "Cough", "Flute", "Gong"]
ROWS = pd.DataFrame(
    {
        "clip": list("abcdefgh"),
        "role": ["validation"] * 4 + ["test"] * 4,
        "fold": ["0", "0", "1", "1", "", "", "", ""],
        "part": ["0", "0", "1", "1", "", "", "", ""],
        "label": ["Bark", "Cough", "Flute", "Gong", "Bark", "Cough", "Flute", ""],
        "source": "",
        "usage": ["", "", "", "", "Public", "Private", "Private", "Ignored"],
        "quarantined": [False] * 6 + [True, False],
    }
)
TARGETS = targets_of(list(ROWS["label"]), TAGS)
TASK = Task(TAGS, is_multi_label=False, metric="map_at_3")


@pytest.fixture
def said() -> Predictions:
    """Right on a, b, c and e; d second; f third; g (quarantined) last; h is nobody's label."""
    ranked = {0: [0, 1, 2, 3], 1: [1, 0, 2, 3], 2: [2, 0, 1, 3], 3: [0, 3, 1, 2],
              4: [0, 1, 2, 3], 5: [0, 2, 1, 3], 6: [0, 1, 3, 2], 7: [3, 2, 1, 0]}  # fmt: skip
    probabilities = np.zeros((8, 4))
    for row, order in ranked.items():
        probabilities[row, order] = [0.4, 0.3, 0.2, 0.1]
    return Predictions.of(ROWS, TARGETS, probabilities, TASK)


def test_each_part_is_scored_on_its_own_labelled_clips(said: Predictions) -> None:
    scores = score_member(said, TASK, seed=0, n_resamples=50)
    assert scores["out_of_fold"]["map_at_3"]["value"] == pytest.approx((3 + 1 / 2) / 4)
    assert scores["out_of_fold"]["n_clips"] == 4
    assert scores["test"]["all"]["n_clips"] == 3
    assert scores["test"]["all"]["map_at_3"]["value"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert scores["test"]["public"]["map_at_1"]["value"] == 1
    assert scores["test"]["private"]["map_at_3"]["value"] == pytest.approx((1 / 3 + 0) / 2)
    assert scores["test"]["n_quarantined"] == 1


def test_the_spread_is_over_the_folds(said: Predictions) -> None:
    folds = score_member(said, TASK, seed=0, n_resamples=50)["folds"]
    assert folds["mean"]["accuracy"] == pytest.approx(0.75)
    assert folds["std"]["accuracy"] == pytest.approx(0.25)


def test_a_corpus_without_a_test_set_has_no_test_scores(said: Predictions) -> None:
    held_out = Predictions(ROWS[:4], TARGETS[:4], said.probabilities[:4])
    assert "test" not in score_member(held_out, TASK, seed=0, n_resamples=50)


def test_the_summary_keeps_values_alone(said: Predictions) -> None:
    scores = score_member(said, TASK, seed=0, n_resamples=50)
    summary = summarise({"models": {"densenet": scores}, "ensemble": scores}, TASK)
    assert set(summary) == {"ensemble", "densenet"}
    assert summary["densenet"]["test"]["accuracy"] == round(1 / 3, 6)


def test_every_test_clip_has_three_tags_and_quarantine_is_marked(said: Predictions) -> None:
    table = predicted_tags(said, TASK)
    assert table["clip"].tolist() == list("efgh")
    assert table["tags"].tolist()[3] == "Gong Flute Cough"
    assert table["quarantined"].tolist() == [False, False, True, False]
    assert table["probability"].tolist() == [0.4] * 4


def test_the_confusion_rows_name_actual_and_predicted_tags(said: Predictions) -> None:
    rows = confusion_rows(said.held_out, TAGS)
    assert rows["actual"].tolist() == TAGS
    assert rows["predicted"].tolist() == ["Bark", "Cough", "Flute", "Bark"]


def test_the_figure_that_counts_comes_first_in_the_summary(said: Predictions) -> None:
    task = Task(TAGS, is_multi_label=False, metric="macro_f1")
    scores = score_member(said, task, seed=0, n_resamples=50)
    summary = summarise({"models": {}, "ensemble": scores}, task)
    assert list(summary["ensemble"]["test"]) == ["macro_f1", "map_at_3", "accuracy"]


@pytest.mark.parametrize(
    ("metric", "is_multi_label", "fitting"),
    [
        ("roc_auc", False, "map_at_3, accuracy, macro_f1"),
        ("accuracy", True, "map_at_3, roc_auc, mean_average_precision, micro_f1, macro_f1"),
    ],
)
def test_a_metric_of_the_other_kind_of_corpus_is_refused(metric, is_multi_label, fitting) -> None:
    with pytest.raises(UserError, match=rf"evaluate\.metric: {metric} is not .* one of {fitting}"):
        Task(TAGS, is_multi_label=is_multi_label, metric=metric)


SEVERAL = Task(TAGS, is_multi_label=True, metric="micro_f1")


def of_several(n_clips: int = 60) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = (rng.random((n_clips, 4)) < 0.4).astype(np.float32)
    targets[~targets.any(axis=1), 0] = 1
    label = [";".join(np.array(TAGS)[row > 0]) for row in targets]
    probabilities = 0.25 * targets + 0.75 * rng.random(targets.shape)
    role = np.where(np.arange(n_clips) < 40, "validation", "test")
    part = np.where(role == "test", "", (np.arange(n_clips) % 2).astype(str))
    rows = pd.DataFrame(
        {"clip": [f"c{i}" for i in range(n_clips)], "role": role, "fold": part, "part": part,
         "label": label, "usage": "", "quarantined": False, "source": ""}
    )  # fmt: skip
    return rows, targets, probabilities


def test_a_folds_answers_never_depend_on_its_own_labels() -> None:
    rows, targets, probabilities = of_several()
    before = Predictions.of(rows, targets, probabilities, SEVERAL).answers
    altered = targets.copy()
    in_fold_0 = np.asarray(rows["part"] == "0")
    altered[in_fold_0] = 1 - altered[in_fold_0]
    after = Predictions.of(rows, altered, probabilities, SEVERAL).answers
    for own, other in zip(before, after, strict=True):
        assert np.array_equal(own[in_fold_0], other[in_fold_0])
        assert not np.array_equal(own[~in_fold_0], other[~in_fold_0])


def test_test_clips_are_answered_by_thresholds_of_all_held_out_clips() -> None:
    rows, targets, probabilities = of_several()
    said = Predictions.of(rows, targets, probabilities, SEVERAL)
    threshold, _ = best_threshold(probabilities[:40].ravel(), targets[:40].ravel() > 0)
    assert np.array_equal(said.answers.by_one[40:], probabilities[40:] >= threshold)
    test = said.where(role="test")
    hits = (test.answers.by_one & (test.targets > 0)).sum()
    expected = 2 * hits / (test.answers.by_one.sum() + test.targets.sum())
    scores = score_member(said, SEVERAL, seed=0, n_resamples=20)
    assert scores["test"]["all"]["micro_f1"]["value"] == pytest.approx(expected)
    assert scores["folds"]["mean"].keys() == scores["out_of_fold"].keys() - {"n_clips"}


def test_clips_of_several_tags_are_given_those_above_their_thresholds() -> None:
    rows, targets, probabilities = of_several()
    said = Predictions.of(rows, targets, probabilities, SEVERAL)
    table = predicted_tags(said, SEVERAL)
    assert len(table) == 20
    for clip, tags in zip(table["clip"], table["tags"], strict=True):
        line = int(clip[1:])
        above = probabilities[line] >= said.tuned.by_tag
        expected = sorted(np.flatnonzero(above), key=lambda k: -probabilities[line, k])
        assert tags == ";".join(TAGS[k] for k in expected)
