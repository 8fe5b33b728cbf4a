"""FSDKaggle2018 as published on Zenodo, and as laid out by Kaggle."""

from pathlib import Path

import pytest

from earmark.corpora.adapters import fsdkaggle2018
from earmark.corpora.clips import SCHEMA
from earmark.errors import UserError

ZENODO = (
    "FSDKaggle2018.meta/train_post_competition.csv",
    "FSDKaggle2018.meta/test_post_competition_scoring_clips.csv",
    "FSDKaggle2018.audio_train",
    "FSDKaggle2018.audio_test",
)
KAGGLE = ("train.csv", "test_post_competition.csv", "audio_train", "audio_test")
TRAIN = """fname,label,manually_verified,freesound_id,license
00044347.wav,Hi-hat,0,28739,Attribution
001ca53d.wav,Saxophone,1,358827,Creative Commons 0
"""
TEST = """fname,label,usage,freesound_id,license
00326aa9.wav,Oboe,Private,355125,Attribution
0038a046.wav,Bass_drum,Public,90621,Attribution
00063640.wav,None,Ignored,88926,Attribution
"""


def lay_out(root: Path, layout: tuple[str, str, str, str]) -> None:
    for name, text in zip(layout, (TRAIN, TEST), strict=False):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize("layout", [ZENODO, KAGGLE], ids=["zenodo", "kaggle"])
def test_both_layouts_of_fsdkaggle2018_give_the_same_table_but_for_folders(tmp_path, layout):
    lay_out(tmp_path, layout)
    clips = fsdkaggle2018.read_clips(tmp_path, "")
    audio_train, audio_test = layout[2:]
    rows = (
        clips[["clip", "label", "source", "verified", "split", "usage", "licence"]]
        .to_numpy()
        .tolist()
    )
    assert rows == [
        ["00044347.wav", "Hi-hat", "28739", False, "train", "", "Attribution"],
        ["001ca53d.wav", "Saxophone", "358827", True, "train", "", "Creative Commons 0"],
        ["00326aa9.wav", "Oboe", "355125", True, "test", "Private", "Attribution"],
        ["0038a046.wav", "Bass_drum", "90621", True, "test", "Public", "Attribution"],
    ]  # and not 00063640.wav, one of the 7,800 that Kaggle ignored
    assert clips["path"].iloc[0] == f"{audio_train}/00044347.wav"
    assert clips["path"].iloc[3] == f"{audio_test}/0038a046.wav"
    assert clips["fold"].isna().all()
    SCHEMA.validate(clips)


def test_kaggles_training_half_alone_is_a_corpus(tmp_path):
    lay_out(tmp_path, KAGGLE)
    (tmp_path / "test_post_competition.csv").unlink()
    assert list(fsdkaggle2018.read_clips(tmp_path, "")["split"]) == ["train", "train"]


def test_fsdkaggle2018_elsewhere_or_with_a_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no FSDKaggle2018\.meta.* or train\.csv"):
        fsdkaggle2018.read_clips(tmp_path, "")
    lay_out(tmp_path, ZENODO)
    with pytest.raises(UserError, match=r"corpus\.table: .*set it to ''"):
        fsdkaggle2018.read_clips(tmp_path, "labels.csv")
    (tmp_path / ZENODO[1]).unlink()
    with pytest.raises(
        UserError, match=r"test_post_competition_scoring_clips\.csv: does not exist"
    ):
        fsdkaggle2018.read_clips(tmp_path, "")


def test_a_label_with_a_space_is_one_tag(tmp_path):
    lay_out(tmp_path, ZENODO)
    table = tmp_path / ZENODO[0]
    table.write_text(TRAIN.replace("Saxophone", "Tenor sax"))
    assert "Tenor_sax" in set(fsdkaggle2018.read_clips(tmp_path, "")["label"])
