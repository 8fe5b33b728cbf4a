"""Whatever is wrong with a clips table is one line, with its fix."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from earmark.corpora.clip_checks import check_clips, clip_counts, problems_of
from earmark.corpora.clips import clips_table
from earmark.errors import UserError
from earmark.params import CrossValidation, Scheme
from tests.corpora.corpus_trees import touch


def with_folds(scheme: Scheme, *folds: str) -> dict[str, Any]:
    flags = {"verified_validation_only": False, "drop_test_copies": True}
    cv = CrossValidation(scheme=scheme, k=2, inner_share=0.1, **flags)
    return {"cv": cv, "folds": folds}


def four(**columns: list[Any]) -> pd.DataFrame:
    names = ["a.wav", "b.wav", "c.wav", "d.wav"]
    return clips_table(
        {"clip": names, "path": names, "label": ["cat", "cat", "dog", "dog"], **columns}
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav")
    return tmp_path


def test_a_valid_table_has_no_problem(root):
    assert problems_of(four(), root=root, **with_folds("stratified")) == []
    clips = four(fold=[1, 5, 1, 5])
    assert problems_of(clips, root=root, **with_folds("official", "1", "5")) == []
    check_clips(clips, root=root, **with_folds("official", "1", "5"))


def test_a_fold_that_is_not_in_the_table_is_named_with_those_that_are(root):
    clips = four(fold=[1, 5, 1, 5])
    (problem,) = problems_of(clips, root=root, **with_folds("official", "0", "1", "2"))
    assert problem == "params.yaml: folds: 0, 2: no such fold; choose from 1, 5"


@pytest.mark.parametrize(
    ("columns", "official", "words"),
    [
        (
            {"clip": ["a", "a", "c", "d"]},
            False,
            ["clip a: in the table 2 times", "delete or rename"],
        ),
        (
            {"path": ["../a.wav", "b.wav", "c.wav", "d.wav"]},
            False,
            [
                "clip a.wav: path ../a.wav leaves the corpus root",
                "corpus.root to a folder above them all",
            ],
        ),
        (
            {"path": ["/a.wav", "b.wav", "c.wav", "d.wav"]},
            False,
            ["clip a.wav: path /a.wav leaves the corpus root"],
        ),
        (
            {"path": ["1", "2", "3", "4"]},
            False,
            ["none of the 4 files of the table exists", "/1)", "set corpus.root"],
        ),
        (
            {"label": ["cat", "cat", "cat", "dog"]},
            False,
            ["class dog (1): fewer clips than 2 folds"],
        ),
        (
            {"label": ["cat", "cat", "cat", "dog"], "split": ["train"] * 3 + ["test"]},
            False,
            ["class dog: only in the test set", "add training clips"],
        ),
        ({"label": ["cat"] * 4}, False, ["at least 2 classes"]),
        ({"fold": [1, 2, 1, pd.NA]}, True, ["clip d.wav: no fold", "stratified"]),
        (
            {"fold": [1, 2, 1, 3]},
            True,
            ["3 official folds, 1, 2, 3, but cv.k is 2; set cv.k to 3"],
        ),
        (
            {"usage": ["", "", "", "public"]},
            False,
            ["clip d.wav: column usage", "'public'", "Public"],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_problem_of_a_table_is_one_line(root, columns, official, words):
    problems = problems_of(
        four(**columns), root=root, **with_folds("official" if official else "stratified")
    )
    if (
        "only in the test set" in words[0]
    ):  # one class is left to train on, which is a second problem
        problems = [line for line in problems if "at least 2 classes" not in line]
    (problem,) = problems
    assert problem.startswith("corpus: ")
    assert [word for word in words if word not in problem] == [], problem


def test_a_training_clip_without_a_label_is_named_and_a_test_clip_may_lack_it(root):
    clips = four(label=["cat", "cat", "dog", "dog"], split=["train"] * 4)
    more = clips_table({"clip": ["e", "f"], "path": ["a.wav", "b.wav"], "split": ["train", "test"]})
    both = pd.concat([clips, more], ignore_index=True)
    (problem,) = problems_of(both, root=root, **with_folds("stratified"))
    assert problem == "corpus: clip e: no label; label it, or set its split to test"


def test_a_test_clip_without_a_label_is_no_class_of_its_own(root):
    more = clips_table({"clip": ["e"], "path": ["a.wav"], "split": ["test"]})
    clips = pd.concat([four(), more], ignore_index=True)
    assert problems_of(clips, root=root, **with_folds("stratified")) == []


def test_an_empty_table_is_named_once(root):
    (problem,) = problems_of(four().iloc[:0], root=root, **with_folds("stratified"))
    assert "no clip found" in problem


def test_all_problems_of_a_table_are_raised_at_once(root):
    clips = four(clip=["a", "a", "c", "d"], label=["cat", "cat", "cat", ""])
    with pytest.raises(UserError) as caught:
        check_clips(clips, root=root, **with_folds("official"))
    assert len(caught.value.problems) == 4  # named twice, no label, one class, no folds


def problems_with(root: Path, **columns: list[Any]) -> list[str]:
    return problems_of(four(**columns), root=root, **with_folds("stratified"))


SEVERAL = ["cat;dog", "cat", "dog", "dog"]


def test_several_tags_per_clip_are_valid_and_counted_by_tag(root):
    assert problems_with(root, label=SEVERAL) == []
    assert clip_counts(pd.Series([*SEVERAL, ""])).to_dict() == {"dog": 3, "cat": 2}


def test_a_tag_in_fewer_clips_than_folds_is_named_though_its_label_is_frequent(root):
    (problem,) = problems_with(root, label=["cat;rare", "cat;dog", "dog", "dog"])
    assert problem.startswith("corpus: class rare (1): fewer clips than 2 folds; add clips")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": ["cat;;dog", *SEVERAL[1:]]}, "clip a.wav: an empty tag in 'cat;;dog'"),
        ({"label": ["cat;dog;cat", *SEVERAL[1:]]}, "clip a.wav: a tag is twice in"),
        (
            {"label": ["big dog", "big dog", "dog", "dog"]},
            "clips a.wav, b.wav: a tag in 'big dog' has spaces",
        ),
        ({"start_seconds": [2.0, 0, 0, 0], "end_seconds": [1.5, 1, 1, 1]}, "clip a.wav: ends at"),
        (
            {"end_seconds": [1.0, 1, 1, 1], "start_seconds": [1.0, 0, 0, 0]},
            "clip a.wav: ends at 1 s",
        ),
        (
            {"aux_label": ["x", "y", "x", ""]},
            "clip d.wav: no aux_label, but other clips have one",
        ),
        (
            {"aux_label": ["x", "y", "x", "y;x"]},
            "clip d.wav: aux_label 'y;x'; write one tag",
        ),
        ({"aux_label": ["x"] * 4}, "every clip has the same aux_label; delete the column"),
    ],
)
def test_tags_aux_labels_and_excerpts_are_checked(root, columns, words):
    (problem,) = problems_with(root, **columns)
    assert problem.startswith("corpus: ")
    assert words in problem


def test_test_clips_may_have_several_tags_only_if_training_clips_have(root):
    more = clips_table({"clip": ["e"], "path": ["a.wav"], "split": ["test"], "label": ["cat;dog"]})
    one_tag = pd.concat([four(), more], ignore_index=True)
    (problem,) = problems_of(one_tag, root=root, **with_folds("stratified"))
    assert problem.startswith("corpus: clip e: several tags, but every training clip has one")
    several = pd.concat([four(label=SEVERAL), more], ignore_index=True)
    assert problems_of(several, root=root, **with_folds("stratified")) == []


def test_test_clips_need_no_aux_label_and_whole_recordings_no_times(root):
    more = clips_table({"clip": ["e"], "path": ["a.wav"], "split": ["test"], "label": ["cat"]})
    clips = pd.concat([four(aux_label=["x", "y", "x", "y"]), more], ignore_index=True)
    assert problems_of(clips, root=root, **with_folds("stratified")) == []


def test_an_excerpt_may_begin_or_end_with_its_recording(root):
    nan = float("nan")
    assert (
        problems_with(root, start_seconds=[1.0, nan, 0, nan], end_seconds=[nan, 1.0, 0.5, nan])
        == []
    )
