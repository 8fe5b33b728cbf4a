"""What a round of self-verification decides, and how its decisions are compared with the truth."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from earmark.audit.label_decisions import (
    decide,
    decide_round,
    metrics,
    rounds_table,
    share_wrong,
    summary_of,
)
from earmark.corpora.label_rounds import COLUMNS
from earmark.layout import Layout
from earmark.params import LabelRounds, Params
from earmark.records import write_table
from earmark.store import StoreWriter

TAGS = ["bark", "cough", "flute"]
N_VERIFIED = 90  # right and answered with 0.7


def options(**changes: float) -> LabelRounds:
    values = {"correct_above": 0.8, "correct_precision": 0.5, "doubt_weight": 0.25} | changes
    return LabelRounds(feature="logmel", model="baseline", **values)


def answers(*unverified: tuple[str, list[float]]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Clips, probabilities and labels: verified ones of every tag, then those given."""
    labels = [i % 3 for i in range(N_VERIFIED)] + [TAGS.index(tag) for tag, _ in unverified]
    sure = np.full((3, 3), 0.15) + 0.55 * np.eye(3)
    rows = [sure[i % 3] for i in range(N_VERIFIED)] + [np.array(p) for _, p in unverified]
    clips = pd.DataFrame({"clip": [f"c{i:03}" for i in range(len(labels))]})
    clips["verified"] = np.arange(len(labels)) < N_VERIFIED
    return clips, np.array(rows), np.array(labels)


def decisions_about(*unverified: tuple[str, list[float]], **changes: float) -> pd.DataFrame:
    clips, probabilities, labels = answers(*unverified)
    return decide(clips, probabilities, labels, TAGS, options(**changes), round_="i")


def test_the_tag_that_reaches_its_threshold_decides() -> None:
    table = decisions_about(
        ("bark", [0.80, 0.10, 0.10]),
        *[("bark", [0.05, 0.90, 0.05])] * 3,
        *[("bark", [0.10, 0.15, 0.75])] * 8,
        ("bark", [0.40, 0.35, 0.25]),
    )
    expected = ["accept", *["correct"] * 3, *["doubt"] * 8, "leave"]
    assert list(table["decision"]) == expected
    assert table.columns.tolist() == list(COLUMNS)
    assert table["suggested"].tolist() == ["cough", *["cough"] * 3, *["flute"] * 8, "cough"]
    assert table["weight"].tolist() == [1, 1, 1, 1, *[0.25] * 8, 1]
    assert table["p_label"].tolist()[:2] == [0.8, 0.05]
    assert set(table["label"]) == {"bark"}  # the corpus' own


def test_nothing_is_decided_about_verified_labels() -> None:
    assert list(decisions_about(("bark", [0.8, 0.1, 0.1]))["clip"]) == [f"c{N_VERIFIED:03}"]


def test_thresholds_are_those_of_each_class() -> None:
    # The mean of its own clips is 0.7 for every tag, but for flutes, which the network knows less.
    clips, probabilities, labels = answers(("bark", [0.30, 0.20, 0.50]), ("bark", [0.5, 0.3, 0.2]))
    probabilities[2:N_VERIFIED:3] = [0.35, 0.25, 0.40]
    table = decide(clips, probabilities, labels, TAGS, options(), round_="i")
    # 0.50 is enough to speak against the label, yet one such clip is no more than errors are.
    assert table["suggested"].tolist() == ["flute", "cough"]
    many = answers(*[("bark", [0.30, 0.20, 0.50])] * 9)
    many[1][2:N_VERIFIED:3] = [0.35, 0.25, 0.40]
    table = decide(*many, TAGS, options(), round_="i")
    assert set(table["decision"]) == {"doubt"}


def test_a_network_that_errs_as_often_on_verified_clips_corrects_and_doubts_nothing() -> None:
    wrong = [("bark", [0.02, 0.96, 0.02])] * 9
    assert set(decisions_about(*wrong)["decision"]) == {"correct"}
    clips, probabilities, labels = answers(*wrong, *[("cough", [0.1, 0.8, 0.1])] * 81)
    rows = range(0, 27, 3)  # as many verified barks that it hears as coughs
    probabilities[rows] = [0.02, 0.96, 0.02]
    table = decide(clips, probabilities, labels, TAGS, options(), round_="i")
    assert set(table["decision"][:9]) == {"leave"}
    assert set(table["decision"][9:]) == {"accept"}


def test_corrections_that_are_not_precise_enough_become_doubts() -> None:
    wrong = [("bark", [0.02, 0.96, 0.02])] * 9
    table = decisions_about(*wrong, correct_precision=1.0)
    assert set(table["decision"]) == {"doubt"}


def test_without_verified_clips_nothing_is_corrected() -> None:
    clips, probabilities, labels = answers(*[("bark", [0.02, 0.96, 0.02])] * 9)
    clips["verified"] = False
    table = decide(clips, probabilities, labels, TAGS, options(), round_="i")
    assert set(table["decision"]) == {"accept", "leave"}


@pytest.mark.parametrize(
    ("n_control", "n_chosen", "expected"), [(0, 50, 1 - 0.01 * 100 / 50), (48, 49, 0.0), (0, 0, 0)]
)
def test_the_share_of_wrong_labels_is_what_the_control_group_does_not_explain(
    n_control: int, n_chosen: int, expected: float
) -> None:
    verified = np.arange(198) < 98
    chosen = np.zeros(198, dtype=bool)
    chosen[:n_control] = chosen[98 : 98 + n_chosen] = True
    assert share_wrong(chosen, verified) == pytest.approx(expected)


def test_decisions_are_compared_with_the_truth() -> None:
    rows = [
        ("a", "bark", "accept", "cough", "bark"),
        ("b", "bark", "accept", "cough", "flute"),
        ("c", "bark", "correct", "flute", "flute"),
        ("d", "bark", "doubt", "cough", "flute"),
        ("e", "bark", "leave", "cough", "bark"),
    ]
    table = pd.DataFrame(rows, columns=["clip", "label", "decision", "suggested", "truth"])
    truth = dict(zip(table["clip"], table["truth"], strict=True))
    counts = {"accept": 2, "correct": 1, "doubt": 1, "leave": 1}
    assert summary_of(table, None) == counts
    assert summary_of(table, truth) == counts | {
        "accept_precision": 0.5,
        "accept_recall": 0.5,
        "correct_precision": 1.0,
        "correct_recall": 0.3333,
        "doubt_precision": 1.0,
    }
    assert summary_of(table[4:], truth)["correct_precision"] is None


def test_a_round_reads_the_answers_of_its_folds_and_the_audit_counts_them(tmp_path) -> None:
    layout = Layout(tmp_path)
    clips, probabilities, labels = answers(*[("bark", [0.05, 0.90, 0.05])] * 4)
    folds = clips.assign(label=[TAGS[i] for i in labels], split="train", fold_0="validation")
    write_table(layout.folds, folds[["clip", "split", "label", "verified", "fold_0"]])
    for fold in ("0", "1"):  # both answer all: their mean decides
        folder = layout.check("i", fold)
        metadata = {"tags": TAGS}
        with StoreWriter(folder, row_shape=(3,), dtype="float32", metadata=metadata) as out:
            for clip, row in zip(clips["clip"], probabilities, strict=True):
                out.append(row[np.newaxis].astype(np.float32), clip=clip)
    root = tmp_path / "corpus"
    root.joinpath("x.meta").mkdir(parents=True)
    truth = folds.assign(fname=folds["clip"])[["fname", "label"]]
    truth.loc[N_VERIFIED:, "label"] = "cough"
    truth.to_csv(root / "x.meta/truth.csv", index=False)
    corpus = SimpleNamespace(root="corpus", synthetic=True)
    params = SimpleNamespace(
        fold_names=["0", "1"], label_rounds=options(), rounds=["i"], corpus=corpus
    )
    decisions = decide_round(cast("Params", params), layout, "i")
    assert list(decisions["decision"]) == ["correct"] * 4
    write_table(layout.labels_before("ii"), decisions)
    table = rounds_table(cast("Params", params), layout)
    assert table.loc[0, ["round", "correct", "correct_precision"]].tolist() == ["i", 4, 1.0]
    assert metrics(table)["rounds"]["i"]["correct"] == 4
    params.rounds = []
    assert metrics(rounds_table(cast("Params", params), layout)) == {}
