"""Scores by role, fold and usage; what is predicted and not scored; what the summary keeps."""

import numpy as np
import pandas as pd
import pytest

from earmark.evaluation import Said, confusion_rows, predicted_tags, score_member, summarise

TAGS = ["Bark", "Cough", "Flute", "Gong"]
ROWS = pd.DataFrame(
    {
        "clip": list("abcdefgh"),
        "role": ["validation"] * 4 + ["test"] * 4,
        "fold": ["0", "0", "1", "1", "", "", "", ""],
        "usage": ["", "", "", "", "Public", "Private", "Private", "Ignored"],
        "quarantined": [False] * 6 + [True, False],
    }
)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, -1])


@pytest.fixture
def said() -> Said:
    """Right on a, b, c and e; d second; f third; g (quarantined) last; h is nobody's label."""
    ranked = {0: [0, 1, 2, 3], 1: [1, 0, 2, 3], 2: [2, 0, 1, 3], 3: [0, 3, 1, 2],
              4: [0, 1, 2, 3], 5: [0, 2, 1, 3], 6: [0, 1, 3, 2], 7: [3, 2, 1, 0]}  # fmt: skip
    probabilities = np.zeros((8, 4))
    for row, order in ranked.items():
        probabilities[row, order] = [0.4, 0.3, 0.2, 0.1]
    return Said(ROWS, LABELS, probabilities)


def test_each_part_is_scored_on_its_own_labelled_clips(said: Said) -> None:
    scores = score_member(said, TAGS, seed=0, n_resamples=50)
    assert scores["out_of_fold"]["map_at_3"]["value"] == pytest.approx((3 + 1 / 2) / 4)
    assert scores["out_of_fold"]["n_clips"] == 4
    assert scores["test"]["all"]["n_clips"] == 3
    assert scores["test"]["all"]["map_at_3"]["value"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert scores["test"]["public"]["map_at_1"]["value"] == 1
    assert scores["test"]["private"]["map_at_3"]["value"] == pytest.approx((1 / 3 + 0) / 2)
    assert scores["test"]["n_quarantined"] == 1


def test_the_spread_is_over_the_folds(said: Said) -> None:
    folds = score_member(said, TAGS, seed=0, n_resamples=50)["folds"]
    assert folds["mean"]["accuracy"] == pytest.approx(0.75)
    assert folds["std"]["accuracy"] == pytest.approx(0.25)


def test_a_corpus_without_a_test_set_has_no_test_scores(said: Said) -> None:
    held_out = Said(ROWS[:4], LABELS[:4], said.probabilities[:4])
    assert "test" not in score_member(held_out, TAGS, seed=0, n_resamples=50)


def test_the_summary_keeps_values_alone(said: Said) -> None:
    scores = score_member(said, TAGS, seed=0, n_resamples=50)
    summary = summarise({"models": {"densenet": scores}, "ensemble": scores})
    assert set(summary) == {"ensemble", "densenet"}
    assert summary["densenet"]["test"]["accuracy"] == round(1 / 3, 6)


def test_every_test_clip_has_three_tags_and_quarantine_is_marked(said: Said) -> None:
    table = predicted_tags(said, TAGS)
    assert table["clip"].tolist() == list("efgh")
    assert table["tags"].tolist()[3] == "Gong Flute Cough"
    assert table["quarantined"].tolist() == [False, False, True, False]
    assert table["probability"].tolist() == [0.4] * 4


def test_the_confusion_rows_name_actual_and_predicted_tags(said: Said) -> None:
    rows = confusion_rows(said.held_out, TAGS)
    assert rows["actual"].tolist() == TAGS
    assert rows["predicted"].tolist() == ["Bark", "Cough", "Flute", "Bark"]
