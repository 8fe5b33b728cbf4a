"""What the members say is joined by their rules; no clip without sound or label goes astray."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.ensemble.combining import weighted_geometric_mean, weighted_mean_of_logits
from earmark.ensemble.members import Clips, join_members, read_members
from earmark.errors import UserError
from earmark.store import StoreWriter

TAGS = ["cat", "dog", "owl"]
PLAN = {"members": {"sure": "logmel", "even": "wave16k"}, "folds": ["0", "1"]}


def table() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Six training clips in two folds, and two test clips of which t2 is quarantined."""
    names = [*"abcdef", "t1", "t2"]
    clips = pd.DataFrame(
        {
            "clip": names,
            "label": ["cat", "cat", "cat", "dog", "dog", "owl", "cat", ""],
            "split": ["train"] * 6 + ["test"] * 2,
            "verified": True,
            "usage": [""] * 6 + ["Public", "Ignored"],
            "quarantined": [False] * 7 + [True],
            "source": ["s1", "s1", "", "s2", "", "", "", ""],
            "equal_to": [""] * 5 + ["e", "", ""],
        }
    )
    folds = clips.loc[~clips["quarantined"], ["clip", "split", "label", "verified"]]
    first = ["validation"] * 3 + ["train"] * 3 + ["test"]
    second = ["train"] * 3 + ["validation"] * 2 + ["", "test"]  # f is unused in fold 1
    return clips, folds.assign(fold_0=first, fold_1=second)


def rows_of(fold_names: list[str]) -> Clips:
    clips, folds = table()
    return Clips.select(folds, clips, fold_names, TAGS)


def write(folder: Path, aggregation: str, said: dict[str, list[list[float]]]) -> None:
    metadata = {"tags": TAGS, "aggregation": aggregation}
    with StoreWriter(folder, row_shape=(3,), dtype="float32", metadata=metadata) as store:
        for clip, crops in said.items():
            store.append(np.array(crops, np.float32), clip=clip)


UNSURE, SURE, SURER = [0.5, 0.25, 0.25], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]
CROPS = [UNSURE, SURE, SURER]


@pytest.fixture
def predictions(tmp_path) -> Path:
    for member, aggregation in (("sure", "confident_crop"), ("even", "mean")):
        write(tmp_path / member / "0", aggregation, dict.fromkeys("abc", CROPS) | {"t1": [UNSURE]})
        write(tmp_path / member / "1", aggregation, dict.fromkeys("de", CROPS[:1]) | {"t1": [SURE]})
    return tmp_path


def test_rows_are_held_out_clips_by_fold_and_then_the_test_clips():
    rows = rows_of(["0", "1"])
    assert list(rows.table["clip"]) == ["a", "b", "c", "d", "e", "t1", "t2"]
    assert list(rows.table["fold"]) == ["0", "0", "0", "1", "1", "", ""]
    assert list(rows.table["part"]) == ["0", "0", "0", "1", "1", "", ""]
    assert rows.targets[:-1].argmax(axis=1).tolist() == [0, 0, 0, 1, 1, 0]
    assert rows.targets.sum(axis=1).tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert not rows.is_multi_label
    assert rows.is_test.tolist() == [False] * 5 + [True] * 2
    np.testing.assert_allclose(rows.prior, [3 / 6, 2 / 6, 1 / 6])


def test_crops_are_joined_by_the_rule_of_the_member(predictions):
    rows = rows_of(["0", "1"])
    members = read_members(predictions, PLAN, rows, confidence=0.7)
    assert list(members) == ["even", "sure"]
    np.testing.assert_array_equal(members["sure"][0], SURE)  # the first that is sure enough
    np.testing.assert_array_equal(members["sure"][3], UNSURE)  # none is: the surest of one
    np.testing.assert_allclose(members["even"][0], np.mean(CROPS, axis=0))
    surest = read_members(predictions, PLAN, rows, confidence=0.8)
    np.testing.assert_array_equal(surest["sure"][0], SURER)


def test_a_test_clip_is_the_mean_over_the_folds(predictions):
    members = read_members(predictions, PLAN, rows_of(["0", "1"]), confidence=0.7)
    for said in members.values():
        np.testing.assert_allclose(said[5], np.mean([UNSURE, SURE], axis=0))


def test_a_quarantined_test_clip_gets_the_class_prior_of_every_member(predictions):
    rows = rows_of(["0", "1"])
    members = read_members(predictions, PLAN, rows, confidence=0.7)
    for said in members.values():
        np.testing.assert_array_equal(said[6], rows.prior)
    joined = join_members(members, rows, "equal")
    np.testing.assert_allclose(joined.probabilities[6], rows.prior)


def several(rows: Clips, n_members: int = 3, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    size = len(rows.table)
    return {f"m{i}": rng.dirichlet(np.ones(len(TAGS)), size) for i in range(n_members)}


def test_given_and_equal_weights_are_the_weighted_geometric_mean():
    rows = rows_of(["0", "1"])
    members = several(rows)
    given = {"m0": 1.0, "m1": 3.0, "m2": 0.0}
    joined = join_members(members, rows, given)
    assert joined.weights == {"m0": 0.25, "m1": 0.75, "m2": 0.0}
    expected = weighted_geometric_mean(members, given)
    np.testing.assert_array_equal(joined.probabilities, expected)
    equal = join_members(members, rows, "equal")
    assert equal.weights == dict.fromkeys(members, 1 / 3)
    product = np.prod([members[name] for name in members], axis=0) ** (1 / 3)
    product /= product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(equal.probabilities, product)


def test_learned_weights_prefer_the_member_that_knows():
    rows = rows_of(["0", "1"])
    members = several(rows)
    members["m1"] = (
        np.where(rows.targets.any(axis=1, keepdims=True), rows.targets, [1, 0, 0]) * 0.9 + 0.1 / 3
    )
    joined = join_members(members, rows, "learned")
    assert joined.weights["m1"] > 0.8
    assert sum(joined.weights.values()) == pytest.approx(1)
    assert joined.notes == []


def test_held_out_clips_are_joined_with_weights_that_other_folds_taught():
    rows = rows_of(["0", "1"])
    members = several(rows)
    before = join_members(members, rows, "learned").probabilities
    # another label in fold 0 may move fold 1 and the test clips, but never fold 0 itself
    targets = rows.targets.copy()
    targets[:3] = [0, 0, 1]
    after = join_members(members, replace(rows, targets=targets), "learned").probabilities
    np.testing.assert_array_equal(after[:3], before[:3])
    assert not np.allclose(after[3:5], before[3:5])
    assert not np.allclose(after[5:], before[5:])


def test_with_one_fold_its_clips_are_scored_with_equal_weights_and_a_note_says_so():
    rows = rows_of(["0"])
    members = several(rows)
    joined = join_members(members, rows, "learned")
    (note,) = joined.notes
    assert "one fold" in note
    assert "equal weights" in note
    held_out = ~rows.is_test
    equal = join_members(members, rows, "equal").probabilities
    np.testing.assert_array_equal(joined.probabilities[held_out], equal[held_out])
    learned = weighted_geometric_mean(members, joined.weights)
    np.testing.assert_array_equal(joined.probabilities[rows.is_test], learned[rows.is_test])


@pytest.mark.parametrize("weights", ["learned", "equal", {"m0": 1.0, "m1": 2.0, "m2": 0.5}])
@pytest.mark.parametrize("folds", [["0", "1"], ["0"]])
def test_the_order_of_the_members_does_not_matter(weights, folds):
    rows = rows_of(folds)
    members = several(rows)
    one = join_members(members, rows, weights)
    other = join_members(dict(reversed(members.items())), rows, weights)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert one.weights == other.weights


def test_one_member_speaks_alone():
    rows = rows_of(["0", "1"])
    members = several(rows, n_members=1)
    joined = join_members(members, rows, "learned")
    assert joined.weights == {"m0": 1.0}
    np.testing.assert_allclose(joined.probabilities, members["m0"])


def test_nothing_held_out_leaves_nothing_to_learn_from():
    rows = rows_of(["0", "1"])
    only_test = replace(rows, table=rows.table[rows.is_test], targets=rows.targets[rows.is_test])
    with pytest.raises(UserError, match=r"ensemble\.weights: no held-out clip .* set equal"):
        join_members(several(only_test), only_test, "learned")


def test_labels_are_those_after_the_users_edits_and_other_facts_the_corpus_own():
    clips, folds = table()
    folds.loc[folds["clip"] == "b", ["label", "verified"]] = ["owl", False]
    rows = Clips.select(folds, clips, ["0", "1"], TAGS)
    assert list(rows.table["label"]) == ["cat", "owl", "cat", "dog", "dog", "cat", ""]
    assert rows.targets[1].tolist() == [0, 0, 1]
    assert rows.table["verified"].all()
    np.testing.assert_allclose(rows.prior, [2 / 6, 2 / 6, 2 / 6])


def test_recordings_and_equal_clips_share_a_source_and_others_have_none():
    source = rows_of(["0", "1"]).table["source"]
    assert source[0] == source[1] != ""
    assert source[2] == ""
    assert source[3] != ""
    assert source[4] not in ("", source[3])  # e and f have the same samples
    assert list(source[5:]) == ["", ""]


def test_a_lone_fold_is_dealt_into_two_parts_that_keep_recordings_whole():
    clips, folds = table()
    clips["source"] = ["s1", "s1", "", "", "", "", "", ""]
    folds["fold_0"] = ["validation"] * 6 + ["test"]
    part = Clips.select(folds, clips, ["0"], TAGS).table["part"]
    assert part[0] == part[1]
    assert set(part[:6]) == {"half 0", "half 1"}
    assert list(part[6:]) == ["", ""]


def several_tags() -> Clips:
    clips, folds = table()
    for corpus in (clips, folds):
        corpus.loc[corpus["clip"] == "a", "label"] = "cat;owl"
    return Clips.select(folds, clips, ["0", "1"], TAGS)


def test_one_clip_with_two_tags_makes_every_tag_a_question_of_its_own():
    rows = several_tags()
    assert rows.is_multi_label
    assert rows.targets[0].tolist() == [1, 0, 1]
    np.testing.assert_allclose(rows.prior, [3 / 6, 2 / 6, 2 / 6])
    members = several(rows)
    joined = join_members(members, rows, "equal")
    expected = weighted_mean_of_logits(members, dict.fromkeys(members, 1.0))
    np.testing.assert_array_equal(joined.probabilities, expected)
    learned = join_members(members, rows, "learned")
    assert sum(learned.weights.values()) == pytest.approx(1)
