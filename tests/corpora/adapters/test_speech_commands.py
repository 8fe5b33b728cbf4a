"""Speech Commands: its three variants, its subsets, and the excerpts that are silence."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earmark.corpora.adapters import find
from earmark.corpora.adapters.speech_commands import COMMANDS, NEW_IN_V2, OTHER_WORDS, silence_clips
from earmark.errors import UserError
from tests.corpora import corpus_trees


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    corpus_trees.speech(root)
    return root


def read(root: Path, n_classes: int) -> pd.DataFrame:
    return find(f"speech_commands_{n_classes}").read_clips(root, "")


def test_the_variants_have_their_classes(root):
    twelve, thirty_one, thirty_five = (set(read(root, n)["label"]) for n in (12, 31, 35))
    assert twelve == {*COMMANDS, "silence", "unknown"}
    assert thirty_one == {*COMMANDS, *OTHER_WORDS, "silence"}
    assert thirty_five == {*COMMANDS, *OTHER_WORDS, *NEW_IN_V2}
    assert (len(twelve), len(thirty_one), len(thirty_five)) == (12, 31, 35)


def test_unknown_and_silence_are_a_tenth_of_the_commands_in_every_subset(root):
    """20 clips of commands and 50 of other words in each subset: 2 of them are `unknown`."""
    clips = read(root, 12)
    subset = clips["fold"].astype("object").where(clips["split"] == "train", "test")
    for label in ("unknown", "silence"):
        assert subset[clips["label"] == label].value_counts().to_dict() == {0: 2, 1: 2, "test": 2}
    assert clips["label"].isin(COMMANDS).sum() == 60
    words = set(clips.loc[clips["label"] == "unknown", "path"].str.split("/").str[0])
    assert words <= {*OTHER_WORDS, *NEW_IN_V2}
    assert len(words) > 1
    assert clips.equals(read(root, 12))


def test_the_lists_name_validation_and_test_clips_and_the_name_its_speaker(root):
    clips = read(root, 35).set_index("clip")
    validation, test, train = (
        clips.loc[f"yes/{part}1_nohash_1.wav"] for part in ("vali", "test", "trai")
    )
    assert (validation["fold"], validation["split"]) == (0, "train")
    assert (train["fold"], train["split"]) == (1, "train")
    assert test["split"] == "test"
    assert [row["source"] for row in (validation, test, train)] == ["vali1", "test1", "trai1"]
    assert clips.loc[clips["split"] == "test", "fold"].isna().all()
    assert (clips["split"] == "test").sum() == 2 * 35


@pytest.mark.parametrize("n_classes", [12, 31])
def test_silence_has_as_many_clips_as_a_word_in_every_subset(root, n_classes):
    clips = read(root, n_classes)
    silence = clips[clips["label"] == "silence"]
    assert (silence["split"] == "test").sum() == 2
    assert silence["fold"].value_counts().to_dict() == {0: 2, 1: 2}
    assert (silence["end_seconds"] - silence["start_seconds"] == 1.0).all()
    assert silence["source"].str.startswith("_background_noise_/noise").all()


def test_excerpts_of_different_subsets_never_overlap_and_all_noises_are_used(root):
    counts = {"training": 40, "validation": 12, "testing": 11}
    clips = silence_clips(root, counts)
    assert clips["clip"].is_unique
    assert len(clips) == 63
    subset = clips["fold"].astype("object").where(clips["split"] == "train", "test")
    assert subset.value_counts().to_dict() == {1: 40, 0: 12, "test": 11}
    for (_, one), (_, other) in combinations(clips.assign(subset=subset).iterrows(), 2):
        if one["path"] == other["path"] and one["subset"] != other["subset"]:
            gap = max(one["start_seconds"], other["start_seconds"])
            assert gap >= min(one["end_seconds"], other["end_seconds"])
    assert (clips.groupby(subset)["path"].nunique() == 3).all()
    seconds = {f"_background_noise_/noise{n}.wav": 11.0 + n for n in range(3)}
    assert (clips["end_seconds"] <= clips["path"].map(seconds)).all()
    assert clips["start_seconds"].min() == 0


def test_excerpts_lie_evenly_and_are_the_same_every_time(root):
    clips = silence_clips(root, {"training": 100, "validation": 0, "testing": 0})
    assert clips.equals(silence_clips(root, {"training": 100, "validation": 0, "testing": 0}))
    for _, of_noise in clips.groupby("path"):
        steps = np.diff(of_noise["start_seconds"])
        assert steps.max() - steps.min() <= 0.0011  # a start is a whole millisecond


def test_the_corpus_of_30_words_has_two_of_the_variants(root, tmp_path):
    first = tmp_path / "v1"
    shutil.copytree(root, first, ignore=shutil.ignore_patterns(*NEW_IN_V2))
    assert set(read(first, 31)["label"]) == set(read(root, 31)["label"])
    assert set(read(first, 12)["label"]) == set(read(root, 12)["label"])
    with pytest.raises(UserError, match=r"has no folder backward, follow.*words of the 35 classes"):
        read(first, 35)


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        ("validation_list.txt", "has no validation_list.txt, which names the validation clips"),
        ("_background_noise_", "has no folder _background_noise_ with wav files"),
        ("marvin", "has no folder marvin, words of the 31 classes"),
    ],
)
def test_what_is_missing_is_named(root, tmp_path, lost, problem):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(lost))
    with pytest.raises(UserError, match=problem):
        read(copy, 31)


def test_lists_of_another_corpus_and_noises_too_short_are_refused(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    for noise in sorted((copy / "_background_noise_").glob("*.wav")):
        noise.unlink()
    corpus_trees.record(copy, "_background_noise_/short.wav", seconds=2.0)
    with pytest.raises(UserError, match=r"no noise is 10 s long, so 10% of it holds no"):
        read(copy, 12)
    (copy / "_background_noise_" / "short.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"short\.wav: cannot be read"):
        read(copy, 12)
    corpus_trees.write_lines(copy / "testing_list.txt", "yes/other_nohash_0.wav")
    with pytest.raises(UserError, match=r"testing_list\.txt: names no clip that exists"):
        read(copy, 12)
