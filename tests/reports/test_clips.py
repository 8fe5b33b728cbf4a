"""Which clips a report shows, and that what it says of each is what the predictions say."""

import json

import numpy as np
import pandas as pd
import pytest

from earmark.reports import clips as clips_module
from earmark.reports.clips import (
    MAX_MATRIX_TAGS,
    clip_data,
    matrices,
    script,
    severity_of,
    shown_clips,
    tag_errors,
)
from earmark.reports.excerpts import Excerpt
from tests.reports.small_report import HOSTILE, predictions_of

TAGS = ["bark", "bell", "cello", "cough"]
NO_AUDIT = pd.DataFrame(columns=["clip", "suggested", "p_wrong", "is_listed"])


def data_of(predictions, audit=NO_AUDIT, excerpts=None):
    return clip_data(shown_clips(predictions["ensemble"]), predictions, audit, excerpts or {})


def test_every_labelled_row_stands_in_the_data_with_its_own_probabilities():
    predictions = predictions_of(20, TAGS, n_test=6, skill=1.0)
    data = data_of(predictions)
    assert data["members"] == ["ensemble", "one", "two"]
    assert data["sets"] == ["out of fold", "test"]
    ensemble = predictions["ensemble"]
    row_of = {clip: i for i, clip in enumerate(ensemble.clips["clip"])}
    assert len(data["rows"]) == 26
    for clip, number, fold, given, answer, verified, severity, top, *_ in data["rows"]:
        i = row_of[clip]
        facts = ensemble.clips.iloc[i]
        assert (number == 1) == (facts["split"] == "test")
        assert (fold, bool(verified)) == (facts["fold"], facts["verified"])
        assert [TAGS[tag] for tag in given] == [facts["label"]]
        assert answer == [int(ensemble.probabilities[i].argmax())]
        assert (severity == 0) == (given == answer)
        for member, of_member in zip(data["members"], top, strict=True):
            p = predictions[member].probabilities[i]
            assert of_member[0] == int(p.argmax())
            assert of_member[1::2] == [pytest.approx(x, abs=6e-4) for x in np.sort(p)[:-4:-1]]


def test_an_error_is_the_worse_the_less_probable_the_given_tag_is():
    ensemble = predictions_of(40, TAGS, skill=0.5)["ensemble"]
    p_given = ensemble.probabilities[np.arange(40), ensemble.labels]
    is_right = ensemble.probabilities.argmax(axis=1) == ensemble.labels
    assert 5 < is_right.sum() < 35
    assert severity_of(ensemble)[is_right].tolist() == [0] * is_right.sum()
    assert severity_of(ensemble)[~is_right] == pytest.approx(1 - p_given[~is_right])


def test_with_several_tags_the_tag_that_is_most_wrong_decides():
    ensemble = predictions_of(40, TAGS, is_multi_label=True, skill=2.0)["ensemble"]
    assert ensemble.answers is not None
    is_true, answers = ensemble.targets > 0.5, ensemble.answers.by_tag
    severity = severity_of(ensemble)
    assert ((severity > 0) == (is_true != answers).any(axis=1)).all()
    worst = int(severity.argmax())
    distance = np.abs(ensemble.targets[worst] - ensemble.probabilities[worst])
    assert severity[worst] == pytest.approx(distance[is_true[worst] != answers[worst]].max())


def test_all_errors_and_some_right_answers_of_each_tag_are_heard():
    ensemble = predictions_of(60, TAGS, skill=1.0)["ensemble"]
    shown = shown_clips(ensemble)
    is_wrong = ensemble.probabilities.argmax(axis=1) != ensemble.labels
    wrong = set(ensemble.clips["clip"][is_wrong])
    assert shown.n_errors == shown.n_errors_heard == len(wrong) > 5
    assert set(shown.excerpts[: len(wrong)]) == wrong
    p_given = ensemble.probabilities[np.arange(60), ensemble.labels]
    assert len(set(shown.excerpts)) == len(shown.excerpts)
    for tag in range(len(TAGS)):
        right = np.flatnonzero(~is_wrong & (ensemble.labels == tag))
        least = right[np.argsort(p_given[right])][:3]
        assert set(ensemble.clips["clip"].iloc[least]) <= set(shown.excerpts)
    assert len(shown.excerpts) == len(wrong) + 3 * len(TAGS)


def test_of_too_many_errors_the_worst_and_those_of_every_cell_are_heard(monkeypatch):
    ensemble = predictions_of(400, TAGS, skill=0.3)["ensemble"]
    monkeypatch.setattr(clips_module, "MAX_ERRORS", 40)
    shown = shown_clips(ensemble)
    assert shown.n_errors > 100
    assert shown.n_errors_heard == 40
    order = np.argsort(-severity_of(ensemble), kind="stable")
    names = ensemble.clips["clip"].to_numpy()
    assert shown.excerpts[:20] == names[order[:20]].tolist()
    heard = np.isin(names, shown.excerpts)
    answers = ensemble.probabilities.argmax(axis=1)
    cells = set(zip(ensemble.labels.tolist(), answers.tolist(), strict=True))
    assert cells == set(zip(ensemble.labels[heard].tolist(), answers[heard].tolist(), strict=True))


def test_what_the_audit_says_stands_beside_its_clip_and_no_other():
    predictions = predictions_of(8, TAGS, n_test=2)
    names = list(predictions["ensemble"].clips["clip"])
    audit = pd.DataFrame(
        [(names[3], "bell", 0.875, True), (names[9], "cello", 0.5, False)],
        columns=list(NO_AUDIT.columns),
    )
    excerpts = {names[5]: Excerpt(7, 1.5, 2.5)}
    rows = {row[0]: row for row in data_of(predictions, audit, excerpts)["rows"]}
    assert rows[names[3]][8] == [0.875, "bell", 1]
    assert {row[8] for name, row in rows.items() if name != names[3]} == {0}  # nor of test clips
    assert rows[names[5]][9] == [7, 1.5, 2.5]
    assert sum(bool(row[9]) for row in rows.values()) == 1


def test_the_matrix_counts_each_answer_of_each_set():
    predictions = predictions_of(40, TAGS, n_test=12, skill=1.0)
    out_of_fold, test = matrices(shown_clips(predictions["ensemble"]))
    for matrix, rows in (
        (out_of_fold, predictions["ensemble"].validation),
        (test, predictions["ensemble"].test),
    ):
        answers = rows.probabilities.argmax(axis=1)
        for i, line in enumerate(matrix.cells):
            n = (rows.labels == i).sum()
            for j, (count, share) in enumerate(line):
                assert count == ((rows.labels == i) & (answers == j)).sum()
                assert share == pytest.approx(count / max(n, 1), abs=6e-4)


def test_of_very_many_tags_those_with_the_most_errors_are_in_the_matrix():
    tags = [f"tag {i:03}" for i in range(MAX_MATRIX_TAGS + 9)]
    predictions = predictions_of(400, tags, skill=2.5)
    (matrix,) = matrices(shown_clips(predictions["ensemble"]))
    assert (len(matrix.tags), matrix.n_left_out) == (MAX_MATRIX_TAGS, 9)
    assert [tags[number] for number, _ in matrix.tags] == [name for _, name in matrix.tags]


def test_errors_by_tag_add_up_to_the_tags_of_the_clips():
    ensemble = predictions_of(50, TAGS, is_multi_label=True, skill=2.0)["ensemble"]
    (errors,) = tag_errors(shown_clips(ensemble))
    assert ensemble.answers is not None
    for number, tag, missed, alarms, right in errors.rows:
        assert tag == TAGS[number]
        assert missed + right == ensemble.targets[:, number].sum()
        assert alarms + right == ensemble.answers.by_tag[:, number].sum()
    most = [row[2] + row[3] for row in errors.rows]
    assert most == sorted(most, reverse=True)


def test_no_name_can_end_the_script():
    text = script(data_of(predictions_of(8, HOSTILE)))
    assert "<" not in text
    assert json.loads(text.removeprefix("window.EARMARK = ").removesuffix(";\n"))["tags"] == HOSTILE


def test_without_a_labelled_clip_there_is_no_row():
    ensemble = predictions_of(8, TAGS)["ensemble"]
    ensemble = ensemble.take(np.zeros(8, dtype=bool))
    shown = shown_clips(ensemble)
    assert (shown.sets, shown.excerpts) == ({}, [])
    assert clip_data(shown, {"ensemble": ensemble}, NO_AUDIT, {})["rows"] == []
