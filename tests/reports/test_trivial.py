"""The lines of chance and of a constant answer, against answers that are really so."""

import numpy as np
import pytest

from earmark.evaluation.points import point_values
from earmark.reports.trivial import trivial_scores
from tests.reports.small_report import predictions_of

TAGS = ["bark", "bell", "cello", "cough"]


def test_a_constant_answer_scores_what_its_line_says():
    validation = predictions_of(41, TAGS)["ensemble"].validation  # the first tag once more
    constant = np.tile([0.4, 0.3, 0.2, 0.1], (41, 1))
    values = point_values(constant, validation.targets, is_multi_label=False)
    scores = trivial_scores(validation)["constant"]
    assert scores["accuracy"] == values["accuracy"]
    assert scores["map_at_3"] == pytest.approx(values["map_at_3"])


def test_chance_is_the_mean_of_random_answers_even_of_a_tag_that_no_clip_has():
    validation = predictions_of(40, TAGS)["ensemble"].validation
    validation = validation.take(validation.labels > 0)
    rng = np.random.default_rng(0)
    random = [
        point_values(rng.random((len(validation), 4)), validation.targets, is_multi_label=False)
        for _ in range(400)
    ]
    chance = trivial_scores(validation)["chance"]
    for metric in ("accuracy", "map_at_3"):
        mean = np.mean([one[metric] for one in random])
        assert chance[metric] == pytest.approx(mean, abs=0.01)


def test_with_several_tags_the_lines_are_those_of_a_ranking_by_nothing():
    validation = predictions_of(80, TAGS, is_multi_label=True)["ensemble"].validation
    constant = np.full((80, 4), 0.5)
    values = point_values(constant, validation.targets, is_multi_label=True)
    scores = trivial_scores(validation)["chance"]
    assert scores["roc_auc"] == values["roc_auc"] == 0.5
    assert scores["mean_average_precision"] == pytest.approx(values["mean_average_precision"])
