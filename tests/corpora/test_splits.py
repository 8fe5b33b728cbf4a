"""Which clips train and which validate in each fold."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.corpora.folds import assign_folds
from earmark.corpora.splits import folds_table, inner_split, split_training_clips, usable_clips
from earmark.errors import UserError
from earmark.params import CrossValidation, Scheme
from tests.corpora.clip_tables import clips_of, splits_of


def test_every_clip_validates_in_one_fold_and_trains_in_the_others():
    clips = clips_of(["a", "b", "c"] * 5)
    table = splits_of(clips)
    assert list(table) == ["0", "1", "2"]
    assert ((table == "validation").sum(axis=1) == 1).all()
    assert ((table == "train").sum(axis=1) == 2).all()
    folds = assign_folds(clips, scheme="stratified", k=3, seed=0)
    assert (table["1"] == "validation").equals(folds == 1)


def cross_validation(scheme: Scheme, *, k: int, drop_test_copies: bool = True) -> CrossValidation:
    flags = {"verified_validation_only": False, "drop_test_copies": drop_test_copies}
    return CrossValidation(scheme=scheme, k=k, inner_share=0.1, **flags)


def split_officially(folds: list[str], **columns: Any) -> pd.DataFrame:
    clips = clips_of(["a", "b"] * 6, fold=[10, 10, 1, 1, 2, 2] * 2)
    clips = clips.assign(split="train", quarantined=False, equal_to="", **columns)
    cv = cross_validation("official", k=3)
    return split_training_clips(clips, cv, folds=folds, seed=0)


def test_official_folds_have_the_names_of_the_table():
    table = split_officially(["10", "1"])
    assert list(table) == ["1", "2", "10"]  # all, in the order of their numbers
    assert (table["10"] == "validation").tolist() == [True, True, False, False, False, False] * 2


def test_folds_that_the_corpus_does_not_have_are_refused_with_its_own():
    problem = r"^params.yaml: folds: 0, 3: no such fold; choose from 1, 2, 10$"
    with pytest.raises(UserError, match=problem):
        split_officially(["0", "1", "2", "3"])


@pytest.mark.parametrize("drop_test_copies", [True, False])
def test_training_clips_with_the_sound_of_a_test_clip_are_left_out_if_wanted(drop_test_copies):
    clips = clips_of("abababab").assign(
        split=["train", "train", "test", "train", "train", "test", "train", "train"],
        # 0 is equal to the test clip 2, and so is 3; 5, a test clip, to the training clip 4; 7 to 6
        equal_to=["", "", "00000.wav", "00000.wav", "", "00004.wav", "", "00006.wav"],
        quarantined=False,
    )
    cv = cross_validation("stratified", k=2, drop_test_copies=drop_test_copies)
    dropped = [0, 3, 4] if drop_test_copies else []
    assert list(usable_clips(clips, cv).index) == [row for row in range(8) if row not in dropped]
    if drop_test_copies:
        with pytest.raises(UserError, match="class a: all of its clips are in quarantine or equal"):
            split_training_clips(clips[clips["clip"] != "00006.wav"], cv, folds=["0"], seed=0)


def test_unverified_clips_train_but_do_not_validate():
    clips = clips_of(["a", "b"] * 12, verified=np.arange(24) % 3 > 0)
    all_clips, verified = splits_of(clips), splits_of(clips, verified_validation_only=True)
    validates = all_clips == "validation"
    is_verified = clips["verified"].to_numpy()[:, np.newaxis]
    assert (verified[validates & is_verified] == "validation").sum().sum() == 16
    assert (verified[validates & ~is_verified] == "").sum().sum() == 8
    assert (verified == "train").equals(all_clips == "train")


def test_a_fold_without_a_verified_clip_says_what_to_set():
    clips = clips_of(["a", "b"] * 6, verified=False)
    with pytest.raises(ValueError, match=r"fold 0 has no clip .* verified_validation_only: false"):
        splits_of(clips, verified_validation_only=True)


def first_last(clips: pd.DataFrame, **options: Any) -> pd.DataFrame:
    return splits_of(clips, scheme="first_last", **options)


def test_the_folds_first_and_last_are_those_of_xu():
    table = first_last(clips_of(["a", "b", "c"] * 3157 + ["a", "b"]))
    assert len(table) == 9473
    first, last = (table["first"] == "train"), (table["last"] == "train")
    assert (first.sum(), last.sum()) == (8000, 8000)
    assert first[:8000].all()
    assert last[1473:].all()
    assert (table == "validation").sum().tolist() == [1473, 1473]


def test_a_source_across_the_cut_does_not_validate():
    clips = clips_of(["a", "b"] * 5, source=["s", "", "", "", "", "", "", "", "", "s"])
    table = first_last(clips, first_share=0.6)
    assert table["first"].tolist() == ["train"] * 6 + ["validation"] * 3 + [""]
    assert table["last"].tolist() == ["", *["validation"] * 3, *["train"] * 6]


def test_a_table_sorted_by_class_is_refused_by_first_last():
    with pytest.raises(ValueError, match="fold first trains on no clip of c"):
        first_last(clips_of(["a"] * 5 + ["b"] * 5 + ["c"] * 2), first_share=0.8)
    with pytest.raises(ValueError, match="first_share must be between 0 and 1, got 1"):
        first_last(clips_of(["a"] * 5), first_share=1)


@pytest.mark.parametrize("verified_validation_only", [False, True])
def test_a_class_of_one_source_cannot_validate(verified_validation_only):
    labels = ["a"] * 9 + ["b"] * 6
    clips = clips_of(labels, source=[""] * 9 + ["s"] * 6, verified=np.array(labels) == "a")
    with pytest.raises(ValueError, match=r"trains on no clip of b.*leave the source empty"):
        splits_of(clips, verified_validation_only=verified_validation_only)


def test_a_class_of_few_sources_is_warned_of(caplog):
    clips = clips_of(["a"] * 9 + ["b"] * 6, source=[""] * 9 + ["s", "t"] * 3)
    with caplog.at_level(logging.WARNING):
        splits_of(clips)
    assert "class b has 2 sources for 3 folds" in caplog.text


def test_an_official_fold_that_trains_on_no_clip_of_a_tag_is_warned_of(caplog):
    """It may be one that is never run, such as that of a validation set."""
    clips = clips_of(["a;b", "a", "a", "a"], fold=[0, 0, 1, 1])
    splits_of(clips, scheme="official", k=2)
    assert "official fold 0 trains on no clip of b" in caplog.text


def test_the_inner_split_holds_out_whole_sources_and_leaves_a_clip_of_each_class() -> None:
    sources = [*(f"s{i // 4}" for i in range(40)), None]
    clips = clips_of(["cat", "dog"] * 20 + ["owl"], source=sources)
    is_inner = inner_split(clips, 0.2, seed=0)
    assert 6 <= is_inner.sum() <= 10
    held_out, trained_on = clips[is_inner], clips[~is_inner]
    assert not set(held_out["source"]) & set(trained_on["source"].dropna())
    assert set(held_out["label"]) == {"cat", "dog"}
    assert "owl" in set(trained_on["label"])  # the only one is not held out


def test_each_fold_has_an_inner_split_of_its_training_clips_alone() -> None:
    clips = clips_of(["cat", "dog"] * 15).assign(split="train", aux_label="", equal_to="")
    table = folds_table(clips, splits_of(clips), inner_share=0.25, seed=0)
    for fold in range(3):
        is_inner = table[f"inner_{fold}"]
        assert set(table.loc[is_inner, f"fold_{fold}"]) == {"train"}
        assert is_inner.sum() in (4, 5, 6)
