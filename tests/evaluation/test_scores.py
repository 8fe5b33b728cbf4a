"""Scores by split, fold and usage, and what the summary keeps."""

import pytest

from earmark.evaluation.scores import best_member, score_member, shown_metrics, summarise
from tests.evaluation.small_predictions import ONE, several_tags, small


@pytest.fixture
def scores() -> dict:
    return score_member(small())


def test_each_set_is_scored_on_its_own_labelled_clips(scores) -> None:
    assert scores["out_of_fold"]["map_at_3"]["value"] == pytest.approx((3 + 1 / 2) / 4)
    assert scores["out_of_fold"]["n_clips"] == 4
    assert scores["test"]["all"]["n_clips"] == 3
    assert scores["test"]["all"]["map_at_3"]["value"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert scores["test"]["public"]["map_at_1"]["value"] == 1
    assert scores["test"]["private"]["map_at_3"]["value"] == pytest.approx((1 / 3 + 0) / 2)
    assert scores["test"]["n_quarantined"] == 1


def test_the_spread_is_over_the_folds(scores) -> None:
    assert scores["folds"]["mean"]["accuracy"] == pytest.approx(0.75)
    assert scores["folds"]["std"]["accuracy"] == pytest.approx(0.25)


def test_a_corpus_without_a_test_set_has_no_test_scores() -> None:
    assert "test" not in score_member(small().validation)


def test_the_summary_keeps_values_alone_the_metric_that_counts_first(scores) -> None:
    metrics = shown_metrics("macro_f1", ONE)
    summary = summarise({"models": {"densenet": scores}, "ensemble": scores}, metrics)
    assert set(summary) == {"ensemble", "densenet"}
    assert summary["densenet"]["test"]["accuracy"] == round(1 / 3, 6)
    assert list(summary["ensemble"]["test"]) == ["macro_f1", "map_at_3", "accuracy"]


def test_the_best_member_has_the_highest_value_and_of_equals_the_first_name() -> None:
    models = {
        n: {"out_of_fold": {"accuracy": {"value": v}}}
        for n, v in zip("bca", (2, 1, 2), strict=True)
    }
    assert best_member(models, "accuracy") == "a"


def test_several_tags_are_scored_by_their_answers() -> None:
    predictions = several_tags().with_answers()
    test = predictions.test
    hits = (test.answers.by_one & (test.targets > 0)).sum()
    expected = 2 * hits / (test.answers.by_one.sum() + test.targets.sum())
    scores = score_member(predictions)
    assert scores["test"]["all"]["micro_f1"]["value"] == pytest.approx(expected)
    assert scores["folds"]["mean"].keys() == scores["out_of_fold"].keys() - {"n_clips"}
