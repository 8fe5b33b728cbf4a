"""Scores by split, fold and usage, and what the summary keeps."""

import pytest

from earmark.evaluation.scores import best_member, score_member, summarise
from tests.evaluation.small_predictions import several_tags, small


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


CALIBRATION = {"out_of_fold": {"ece_after": {"value": 0.12345678}}}


def summary_of(scores: dict, metric: str) -> dict:
    table = {"metric": metric, "models": {"densenet": scores}, "ensemble": scores}
    return summarise(table, CALIBRATION, n_quarantined=2)


def test_the_summary_keeps_a_dozen_values_the_metric_that_counts_first(scores) -> None:
    summary = summary_of(scores, "macro_f1")
    assert list(summary) == ["out_of_fold", "test", "members", "clips"]
    assert list(summary["out_of_fold"]) == ["macro_f1", "accuracy", "ece"]
    assert summary["out_of_fold"]["ece"] == 0.123457
    assert summary["test"]["accuracy"] == round(1 / 3, 6)
    assert summary["members"] == {"densenet": summary["out_of_fold"]["macro_f1"]}
    assert summary["clips"] == {"out_of_fold": 4, "test": 3, "quarantined": 2}


def test_the_summary_has_no_value_twice_and_no_test_set_that_is_not_there() -> None:
    scores = score_member(small().validation)
    summary = summary_of(scores, "accuracy")
    assert list(summary) == ["out_of_fold", "members", "clips"]
    assert list(summary["out_of_fold"]) == ["accuracy", "ece"]


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
