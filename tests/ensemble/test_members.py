"""What the members predict is combined; no clip without sound or label goes astray."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earmark.ensemble.combining import weighted_geometric_mean, weighted_mean_of_logits
from earmark.ensemble.members import combine_members, read_members, select_clips
from earmark.errors import UserError
from earmark.evaluation.predictions import Predictions
from earmark.labels import Task
from earmark.params import AggregationKey
from earmark.store import StoreWriter

TAGS = ["cat", "dog", "owl"]
PLAN = {"members": {"confident": "logmel", "even": "wave16k"}, "folds": ["0", "1"]}
PRIOR = [3 / 6, 2 / 6, 1 / 6]


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


def selected(fold_names: list[str]) -> pd.DataFrame:
    clips, folds = table()
    return select_clips(folds, clips, fold_names)


CropsOf = dict[str, list[list[float]]]


def write(folder: Path, aggregation: AggregationKey, **stored: CropsOf) -> None:
    """Store predictions: random or cover -> clip -> crops."""
    metadata = {"tags": TAGS, "aggregation": aggregation}
    with StoreWriter(folder, row_shape=(3,), dtype="float32", metadata=metadata) as store:
        for kind, crops_of in stored.items():
            for clip, crops in crops_of.items():
                store.append(np.array(crops, np.float32), clip=clip, crops=kind)


UNCONFIDENT, CONFIDENT, CERTAIN = [0.5, 0.25, 0.25], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]
CROPS = [UNCONFIDENT, CONFIDENT, CERTAIN]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Stored predictions of both members by both folds."""
    members: tuple[tuple[str, AggregationKey, str], ...] = (
        ("confident", "confident_crop", "random"),
        ("even", "mean", "cover"),
    )
    for member, aggregation, crops in members:
        first = dict.fromkeys("abc", CROPS) | {"t1": [UNCONFIDENT]}
        write(tmp_path / member / "0", aggregation, **{crops: first})
        second = dict.fromkeys("de", CROPS[:1]) | {"t1": [CONFIDENT]}
        write(tmp_path / member / "1", aggregation, **{crops: second})
    return tmp_path


def read(
    folder: Path, *, confidence: float = 0.7, fold_mean: str = "arithmetic"
) -> dict[str, Predictions]:
    clips, folds = table()
    selected = select_clips(folds, clips, ["0", "1"])
    read = read_members(folder, PLAN, selected, folds, confidence=confidence, fold_mean=fold_mean)
    return {name: member.predictions for name, member in read.items()}


def test_the_rows_are_validation_clips_by_fold_and_then_the_test_clips():
    clips = selected(["0", "1"])
    assert list(clips["clip"]) == ["a", "b", "c", "d", "e", "t1", "t2"]
    assert list(clips["split"]) == ["validation"] * 5 + ["test"] * 2
    assert list(clips["fold"]) == ["0", "0", "0", "1", "1", "", ""]
    assert list(clips["cross_fit_group"]) == ["0", "0", "0", "1", "1", "", ""]


def test_dropped_clips_are_predicted_and_the_given_label_stays_beside_the_corrected(folder):
    clips, folds = table()
    assert "given_label" not in select_clips(folds, clips, ["0", "1"])
    folds.loc[folds["clip"] == "a", "label"] = "owl"
    folds.loc[folds["clip"] == "d", ["split", "fold_0", "fold_1"]] = ["dropped", "", "dropped"]
    rows = select_clips(folds, clips, ["0", "1"])
    assert list(rows["clip"]) == ["a", "b", "c", "e", "d", "t1", "t2"]
    assert list(rows["split"][3:5]) == ["validation", "dropped"]
    assert (rows["label"][0], rows["given_label"][0]) == ("owl", "cat")
    even = read_members(folder, PLAN, rows, folds, confidence=0.7)["even"].predictions
    np.testing.assert_array_equal(even.probabilities[4], UNCONFIDENT)
    assert list(even.validation.clips["clip"]) == ["a", "b", "c", "e"]
    assert even.as_given is not None
    assert list(even.as_given.clips["clip"]) == ["a", "b", "c", "e", "d"]
    assert list(even.as_given.labels) == [0, 0, 0, 1, 1]


def test_members_share_clips_targets_and_task(folder):
    for name, one in read(folder).items():
        assert one.name == name
        assert one.task == Task(TAGS, is_multi_label=False, aux_labels=[])
        assert one.targets[:-1].argmax(axis=1).tolist() == [0, 0, 0, 1, 1, 0]
        assert one.targets.sum(axis=1).tolist() == [1, 1, 1, 1, 1, 1, 0]


def test_crops_are_aggregated_as_the_member_says(folder):
    members = read(folder)
    assert list(members) == ["confident", "even"]
    confident = members["confident"].probabilities
    np.testing.assert_array_equal(confident[0], CONFIDENT)  # the first of them that is
    np.testing.assert_array_equal(confident[3], UNCONFIDENT)  # none is: the only one
    np.testing.assert_allclose(members["even"].probabilities[0], np.mean(CROPS, axis=0))
    stricter = read(folder, confidence=0.8)["confident"]
    np.testing.assert_array_equal(stricter.probabilities[0], CERTAIN)


def test_a_mean_and_the_confident_crop_of_the_same_crops_are_compared(folder):
    clips, folds = table()
    selected = select_clips(folds, clips, ["0", "1"])
    members = read_members(folder, PLAN, selected, folds, confidence=0.7)
    for name, mean in (("confident", "mean_of_random_crops"), ("even", "mean")):
        compared = members[name].compared
        assert set(compared) == {mean, "confident_crop"}
        assert compared[mean]["n_crops"] == (3 * 3 + 2 * 1) / 5  # all that are stored
        assert compared["confident_crop"]["n_crops"] == (3 * 2 + 2 * 1) / 5  # the second is one
        assert members[name].notes == []
    assert members["confident"].aggregation == "confident_crop"
    assert members["even"].aggregation == "mean"


def test_the_aggregation_that_is_best_out_of_fold_is_taken_and_noted(tmp_path):
    right = {clip: [0.7, 0.2, 0.1] for clip in "abc"} | {clip: [0.2, 0.7, 0.1] for clip in "de"}
    wrong = [0.0, 0.1, 0.9]  # the confident crop is, each time
    crops = {clip: [values, wrong, values, values] for clip, values in right.items()}
    for member in PLAN["members"]:
        for fold, names in (("0", "abc"), ("1", "de")):
            of_fold = {clip: crops[clip] for clip in names} | {"t1": [UNCONFIDENT, CERTAIN]}
            cover: CropsOf = {clip: [wrong, wrong] for clip in [*names, "t1"]}
            write(tmp_path / member / fold, "best_out_of_fold", random=of_fold, cover=cover)
    clips, folds = table()
    rows = select_clips(folds, clips, ["0", "1"])
    even = read_members(tmp_path, PLAN, rows, folds, confidence=0.8)["even"]
    assert even.aggregation == "mean_of_random_crops"
    assert even.compared["mean_of_random_crops"]["accuracy"] == 1
    assert even.compared["confident_crop"]["accuracy"] == 0
    assert even.compared["mean"]["accuracy"] == 0
    assert {name: entry["n_crops"] for name, entry in even.compared.items()} == {
        "mean": 2,
        "mean_of_random_crops": 4,
        "confident_crop": 2,
    }
    probabilities = even.predictions.probabilities
    np.testing.assert_allclose(probabilities[0], np.mean(crops["a"], axis=0), rtol=1e-6)
    np.testing.assert_allclose(probabilities[5], np.mean([UNCONFIDENT, CERTAIN], axis=0))
    (note,) = even.notes
    assert note.startswith("even: best_out_of_fold is mean_of_random_crops, by the log loss")


def test_a_test_clip_is_the_mean_over_the_folds(folder):
    for one in read(folder).values():
        np.testing.assert_allclose(one.probabilities[5], np.mean([UNCONFIDENT, CONFIDENT], axis=0))


def test_a_test_clip_is_the_geometric_mean_over_the_folds_if_asked(folder):
    expected = np.sqrt(np.multiply(UNCONFIDENT, CONFIDENT))
    for one in read(folder, fold_mean="geometric").values():
        np.testing.assert_allclose(one.probabilities[5], expected / expected.sum(), atol=1e-5)
        np.testing.assert_array_equal(one.probabilities[3], UNCONFIDENT)  # of one network


def test_a_quarantined_test_clip_gets_the_class_prior_of_every_member(folder):
    members = read(folder)
    for one in members.values():
        np.testing.assert_allclose(one.probabilities[6], PRIOR)
    ensemble = combine_members(members, "equal").predictions
    np.testing.assert_allclose(ensemble.probabilities[6], PRIOR)


def predicted(
    clips: pd.DataFrame, n_members: int = 3, *, is_multi_label: bool = False
) -> dict[str, Predictions]:
    rng, task = np.random.default_rng(0), Task(TAGS, is_multi_label, [])
    names = [f"m{i}" for i in range(n_members)]
    size = len(clips)
    return {n: Predictions.of(n, task, clips, rng.dirichlet(np.ones(3), size)) for n in names}


def probabilities_of(members: dict[str, Predictions]) -> dict[str, np.ndarray]:
    return {name: one.probabilities for name, one in members.items()}


def test_given_and_equal_weights_are_the_weighted_geometric_mean():
    members = predicted(selected(["0", "1"]))
    given = {"m0": 1.0, "m1": 3.0, "m2": 0.0}
    combined = combine_members(members, given)
    assert combined.weights == {"m0": 0.25, "m1": 0.75, "m2": 0.0}
    assert combined.predictions.name == "ensemble"
    expected = weighted_geometric_mean(probabilities_of(members), given)
    np.testing.assert_array_equal(combined.predictions.probabilities, expected)
    equal = combine_members(members, "equal")
    assert equal.weights == dict.fromkeys(members, 1 / 3)
    product = np.prod(list(probabilities_of(members).values()), axis=0) ** (1 / 3)
    product /= product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(equal.predictions.probabilities, product)


def test_learned_weights_prefer_the_member_that_knows():
    members = predicted(selected(["0", "1"]))
    targets = members["m1"].targets
    known = np.where(targets.any(axis=1, keepdims=True), targets, [1, 0, 0]) * 0.9 + 0.1 / 3
    members["m1"] = replace(members["m1"], probabilities=known)
    combined = combine_members(members, "learned")
    assert combined.weights["m1"] > 0.8
    assert sum(combined.weights.values()) == pytest.approx(1)
    assert combined.notes == []


def test_validation_clips_are_combined_with_weights_learned_on_other_folds():
    members = predicted(selected(["0", "1"]))
    before = combine_members(members, "learned").predictions.probabilities
    # another label in fold 0 may move fold 1 and the test clips, but never fold 0 itself
    targets = members["m0"].targets.copy()
    targets[:3] = [0, 0, 1]
    altered = {name: replace(one, targets=targets) for name, one in members.items()}
    after = combine_members(altered, "learned").predictions.probabilities
    np.testing.assert_array_equal(after[:3], before[:3])
    assert not np.allclose(after[3:5], before[3:5])
    assert not np.allclose(after[5:], before[5:])


def test_with_one_fold_its_clips_are_scored_with_equal_weights_and_a_note_says_so():
    members = predicted(selected(["0"]))
    predictions, weights, notes = combine_members(members, "learned")
    (note,) = notes
    assert "one fold" in note
    assert "equal weights" in note
    is_test = (predictions.clips["split"] == "test").to_numpy()
    equal = combine_members(members, "equal").predictions.probabilities
    np.testing.assert_array_equal(predictions.probabilities[~is_test], equal[~is_test])
    learned = weighted_geometric_mean(probabilities_of(members), weights)
    np.testing.assert_array_equal(predictions.probabilities[is_test], learned[is_test])


@pytest.mark.parametrize("weights", ["learned", "equal", {"m0": 1.0, "m1": 2.0, "m2": 0.5}])
@pytest.mark.parametrize("folds", [["0", "1"], ["0"]])
def test_the_order_of_the_members_does_not_matter(weights, folds):
    members = predicted(selected(folds))
    one = combine_members(members, weights)
    other = combine_members(dict(reversed(members.items())), weights)
    np.testing.assert_array_equal(one.predictions.probabilities, other.predictions.probabilities)
    assert one.weights == other.weights


def test_a_lone_member_is_the_ensemble():
    members = predicted(selected(["0", "1"]), n_members=1)
    combined = combine_members(members, "learned")
    assert combined.weights == {"m0": 1.0}
    np.testing.assert_allclose(combined.predictions.probabilities, members["m0"].probabilities)


def test_without_validation_clips_there_is_nothing_to_learn_from():
    clips = selected(["0", "1"])
    with pytest.raises(UserError, match=r"ensemble\.weights: no validation clip .* set equal"):
        combine_members(predicted(clips[clips["split"] == "test"]), "learned")


def test_labels_are_those_after_the_label_corrections_and_all_else_is_the_corpus_own(folder):
    clips, folds = table()
    is_b = folds["clip"] == "b"
    folds.loc[is_b, "label"], folds.loc[is_b, "verified"] = "owl", False
    rows = select_clips(folds, clips, ["0", "1"])
    assert list(rows["label"]) == ["cat", "owl", "cat", "dog", "dog", "cat", ""]
    assert rows["verified"].all()
    member = read_members(folder, PLAN, rows, folds, confidence=0.7)["confident"].predictions
    assert member.targets[1].tolist() == [0, 0, 1]
    np.testing.assert_allclose(member.probabilities[6], [2 / 6, 2 / 6, 2 / 6])


def test_recordings_and_equal_clips_share_a_source_and_others_have_none():
    source = selected(["0", "1"])["source"]
    assert source[0] == source[1] != ""
    assert source[2] == ""
    assert source[3] != ""
    assert source[4] not in ("", source[3])  # e and f have the same samples
    assert list(source[5:]) == ["", ""]


def test_a_lone_fold_is_dealt_into_two_groups_that_keep_recordings_whole():
    clips, folds = table()
    clips["source"] = ["s1", "s1", "", "", "", "", "", ""]
    folds["fold_0"] = ["validation"] * 6 + ["test"]
    group = select_clips(folds, clips, ["0"])["cross_fit_group"]
    assert group[0] == group[1]
    assert set(group[:6]) == {"half 0", "half 1"}
    assert list(group[6:]) == ["", ""]


def test_one_clip_with_two_tags_makes_every_tag_a_question_of_its_own(folder):
    clips, folds = table()
    for corpus in (clips, folds):
        corpus.loc[corpus["clip"] == "a", "label"] = "cat;owl"
    rows = select_clips(folds, clips, ["0", "1"])
    member = read_members(folder, PLAN, rows, folds, confidence=0.7)["confident"].predictions
    assert member.task.is_multi_label
    assert member.targets[0].tolist() == [1, 0, 1]
    np.testing.assert_allclose(member.probabilities[6], [3 / 6, 2 / 6, 2 / 6])
    members = predicted(rows, is_multi_label=True)
    combined = combine_members(members, "equal").predictions
    expected = weighted_mean_of_logits(probabilities_of(members), dict.fromkeys(members, 1.0))
    np.testing.assert_array_equal(combined.probabilities, expected)
    learned = combine_members(members, "learned")
    assert sum(learned.weights.values()) == pytest.approx(1)
