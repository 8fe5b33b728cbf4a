"""Decisions of rounds of self-verification: where they lie, and what trainings take of them."""

from pathlib import Path

import pandas as pd
import pytest

from earmark.corpora.label_rounds import (
    COLUMNS,
    answered_clips,
    begin_rounds,
    check_rounds,
    next_round,
    read_decisions,
    with_decisions,
)
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import CrossValidation
from earmark.records import write_table

CV = CrossValidation(
    scheme="stratified", k=2, verified_validation_only=False, inner_share=0.1, drop_test_copies=True
)


def table_of(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    columns = ["clip", "decision", "suggested", "weight"]
    rest = {"label": "bark", "p_label": 0.1, "p_suggested": 0.9, "round": "i"}
    return pd.DataFrame(list(rows), columns=columns).assign(**rest)[list(COLUMNS)]


def test_decisions_change_what_is_trained_on_and_verified_labels_stay() -> None:
    clips = pd.DataFrame(
        {
            "clip": ["a", "b", "c", "d", "e", "f"],
            "label": "bark",
            "verified": [False, False, False, False, True, False],
        },
        index=[5, 3, 9, 1, 0, 7],
    )
    decisions = table_of(
        ("d", "leave", "cough", 1.0),
        ("c", "doubt", "cough", 0.3),
        ("b", "correct", "flute", 1.0),
        ("a", "accept", "cough", 1.0),
        ("e", "correct", "flute", 0.1),  # the user has decided to keep it since
        ("stranger", "correct", "flute", 0.1),
    )
    decided = with_decisions(clips, decisions)
    assert decided["label"].tolist() == ["bark", "flute", "bark", "bark", "bark", "bark"]
    assert decided["verified"].tolist() == [True, True, False, False, True, False]
    assert decided["weight"].tolist() == [1, 1, 0.3, 1, 1, 1]
    assert decided["is_corrected"].tolist() == [False, True, False, False, False, False]
    assert decided.index.tolist() == clips.index.tolist()
    assert clips["label"].eq("bark").all()


def test_no_decision_changes_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    begin_rounds(layout, [], ["0"])
    clips = pd.DataFrame({"clip": ["a"], "label": ["bark"], "verified": [False]})
    decided = with_decisions(clips, read_decisions(layout, next_round([])))
    pd.testing.assert_frame_equal(decided[list(clips)], clips)
    assert decided[["weight", "is_corrected"]].to_numpy().tolist() == [[1.0, False]]


def test_what_rounds_and_folds_that_are_no_longer_run_left_is_deleted(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for round_ in ("i", "ii", "iii"):
        write_table(layout.labels_before(round_), table_of())
        for fold in ("0", "1"):
            layout.check(round_, fold).mkdir(parents=True)
            (layout.check(round_, fold) / "store.json").touch()
    begin_rounds(layout, ["i"], ["1"])
    assert sorted(layout.rounds.iterdir()) == [layout.labels_before(r) for r in ("i", "ii")]
    assert list(layout.all_checks.glob("*/*")) == [layout.check("i", "1")]
    assert list(layout.all_checks.iterdir()) == [layout.check("i", "1").parent]


def test_rounds_that_could_decide_nothing_are_refused() -> None:
    folds = pd.DataFrame({"split": ["train", "test"], "label": "bark", "verified": [True, False]})
    check_rounds(folds, [])
    with pytest.raises(UserError, match="counts as verified"):
        check_rounds(folds, ["i"])
    check_rounds(folds.assign(verified=False), ["i"])
    with pytest.raises(UserError, match="one tag per clip"):
        check_rounds(folds.assign(verified=False, label="bark;cough"), ["i"])


def test_a_network_judges_what_it_did_not_train_on() -> None:
    folds = pd.DataFrame(
        {
            "clip": ["trained", "held_out", "unverified", "unused", "dropped", "test"],
            "split": ["train", "train", "train", "train", "dropped", "test"],
            "verified": [False, True, False, True, False, True],
            "fold_0": ["train", "validation", "", "", "dropped", "test"],
        }
    )
    assert answered_clips(folds, "0", CV) == ["held_out"]
    only = CV.model_copy(update={"verified_validation_only": True})
    assert answered_clips(folds, "0", only) == ["held_out", "unverified"]
    # There "" may be a clip whose source is trained on.
    first_last = only.model_copy(update={"scheme": "first_last"})
    assert answered_clips(folds, "0", first_last) == ["held_out"]
