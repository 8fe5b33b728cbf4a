"""The metrics of a split count what it divides, and warn of it."""

import logging
from typing import Any

import pandas as pd
import pytest

from earmark.corpora.sources import merged_sources
from earmark.corpora.split_summary import summarise_split
from earmark.params import Scheme
from tests.corpora.clip_tables import clips_of, splits_of


def summary_of(
    clips: pd.DataFrame,
    *,
    equal_to: str | list[str],
    split: str | list[str] = "train",
    scheme: Scheme = "official",
    k: int = 2,
) -> dict[str, Any]:
    clips = clips.assign(equal_to=equal_to, split=split)
    train = clips[clips["split"] == "train"]
    merged = train.assign(source=merged_sources(train))
    table = splits_of(merged, scheme=scheme, k=k)
    return summarise_split(clips, table, scheme=scheme, n_test_copies=0)


def test_official_folds_that_divide_a_source_are_kept_counted_and_warned_of(caplog):
    clips = clips_of(
        ["a", "b"] * 4, source=["s", "", "t", "", "s", "", "t", ""], fold=[1, 1, 1, 1, 2, 2, 1, 2]
    )
    with caplog.at_level(logging.WARNING):
        summary = summary_of(clips, equal_to="")
    assert summary == {
        "scheme": "official",
        "folds_are_official": True,
        "folds": ["1", "2"],
        "train_clips": 8,
        "test_clips": 0,
        "sources_of_several_clips": 2,
        "sources_across_folds": 1,
        "equal_recordings_across_folds": 0,
        "sources_across_train_and_test": 0,
        "test_copies_dropped": 0,
    }
    assert "official folds divide 1 sources, such as that of clip 00000.wav" in caplog.text


def test_equal_recordings_across_official_folds_and_across_the_test_are_counted():
    clips = clips_of(
        ["a", "b"] * 4, source=["", "", "u", "", "", "", "", "u"], fold=[1, 1, 2, 2] * 2
    )
    equal = ["", "", "00000.wav", "00001.wav", "00000.wav", "", "00001.wav", ""]
    summary = summary_of(clips, equal_to=equal, split=["train"] * 6 + ["test"] * 2)
    assert summary["equal_recordings_across_folds"] == 2  # not 00004.wav, which is in the same fold
    assert summary["sources_across_folds"] == 2
    assert summary["sources_across_train_and_test"] == 2  # by an equal recording, and by u
    assert (summary["train_clips"], summary["test_clips"]) == (6, 2)


@pytest.mark.parametrize("scheme", ["stratified", "grouped", "first_last"])
def test_our_own_folds_divide_nothing(scheme, caplog):
    source = ["s", "", "t", "", "", "", "t", "", "s", "", "", ""] * 2
    clips = clips_of(["a", "b", "c"] * 8, source=source)
    equal = ["", "00000.wav"] + [""] * 22
    summary = summary_of(clips, scheme=scheme, k=3, equal_to=equal)
    assert summary["sources_across_folds"] == summary["equal_recordings_across_folds"] == 0
    assert not summary["folds_are_official"]
    assert "part" not in caplog.text
