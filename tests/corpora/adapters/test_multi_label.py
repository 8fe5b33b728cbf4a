"""MagnaTagATune and DCASE 2017 task 4: several tags a clip, and parts that the owners made."""

import logging
import shutil

import pytest

from earmark.corpora.adapters import find, magnatagatune
from earmark.errors import UserError
from tests.corpora import corpus_trees


@pytest.fixture
def music(tmp_path):
    corpus_trees.magnatagatune(tmp_path)
    return tmp_path


def test_clips_have_the_fifty_most_frequent_tags_and_those_without_are_counted(music, caplog):
    with caplog.at_level(logging.INFO):
        clips = find("magnatagatune").read_clips(music, "")
    assert "1 of 10 clips have none of the 50 most frequent tags and are left out" in caplog.text
    tags = clips["label"].str.split(";")
    names = set(tags.explode())
    assert "rare" not in names
    assert len(names) == 50
    assert "slow" not in names  # in 4 clips, no_voice in 5
    assert {"no_voice", "guitar"} <= names
    assert str(clips.set_index("clip").loc["10", "label"]).split(";")[:2] == ["common0", "common1"]


def test_directories_are_the_splits_and_segments_of_a_track_share_a_source(music):
    clips = find("magnatagatune").read_clips(music, "")
    directory = clips["path"].str[0]
    assert dict(zip(directory, clips["split"], strict=True)) == {
        **dict.fromkeys("0bc", "train"),
        **dict.fromkeys("df", "test"),
    }
    assert clips.loc[directory == "c", "fold"].tolist() == [0, 0]
    assert clips.loc[directory.isin(["0", "b"]), "fold"].tolist() == [1] * 4
    assert clips.loc[directory == "b", "source"].tolist() == ["band_1-album-01-a-song"] * 2
    assert clips["source"].nunique() == 5


def test_mp3_files_may_lie_in_a_folder_of_their_own(music):
    for directory in "0bcdf":
        (music / "mp3").mkdir(exist_ok=True)
        shutil.move(music / directory, music / "mp3" / directory)
    clips = find("magnatagatune").read_clips(music, "")
    assert all((music / path).is_file() for path in clips["path"])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"mp3_path"', '"file"', "no column mp3_path; fetch it again"),
        ("b/band_1-album-01-a-song-0-29", "g/x-0-29", "clip 10: mp3_path 'g/x-0-29.mp3' is in no"),
        ('"0"\t"1"\t"0"', '"0"\t"2"\t"0"', "a mark is not 0 or 1"),
    ],
)
def test_a_table_that_is_not_the_published_one_is_refused(music, old, new, problem):
    table = music / "annotations_final.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"annotations_final\.csv: .*{problem}"):
        find("magnatagatune").read_clips(music, "")


def test_directories_are_hexadecimal_digits():
    parts = magnatagatune.TRAINING + magnatagatune.VALIDATION + magnatagatune.TEST
    assert parts == "0123456789abcdef"


@pytest.fixture
def traffic(tmp_path):
    corpus_trees.dcase2017_task4(tmp_path)
    return tmp_path


def test_the_rows_of_a_file_are_one_clip_and_commas_stay_in_a_tag(traffic):
    clips = find("dcase2017_task4").read_clips(traffic, "")
    labels = clips.set_index("clip")["label"]
    assert len(clips) == labels.index.nunique() == 12
    assert labels["train-0_vid_30.000_40.000.wav"] == "Air_horn,_truck_horn"
    assert labels["train-1_vid_30.000_40.000.wav"] == "Air_horn,_truck_horn;Train"
    assert labels["train-3_vid_30.000_40.000.wav"] == "Train"


def test_the_three_sets_train_validate_and_test(traffic):
    clips = find("dcase2017_task4").read_clips(traffic, "")
    assert clips["split"].tolist() == ["train"] * 8 + ["test"] * 4
    assert clips["fold"].iloc[:8].tolist() == [1] * 4 + [0] * 4
    assert clips["source"].iloc[4] == "testi-0_vid"


def test_in_development_the_testing_set_tests_and_the_evaluation_set_is_not_needed(traffic):
    (traffic / "groundtruth_release" / "groundtruth_weak_label_evaluation_set.csv").unlink()
    clips = find("dcase2017_task4_development").read_clips(traffic, "")
    assert clips["split"].tolist() == ["train"] * 4 + ["test"] * 4
    assert clips["fold"].isna().all()
    with pytest.raises(UserError, match=r"has no groundtruth_weak_label_evaluation_set\.csv"):
        find("dcase2017_task4").read_clips(traffic, "")


def test_audio_is_found_in_any_folder_and_format_with_or_without_its_prefix(traffic):
    one, other = "train-0_vid_30.000_40.000", "train-1_vid_30.000_40.000"
    folder = traffic / "audio" / "training"
    (folder / f"Y{one}.wav").rename(traffic / f"{one}.wav")
    (folder / f"Y{other}.wav").unlink()
    corpus_trees.record(traffic, f"flac/Y{other}.flac")
    paths = find("dcase2017_task4").read_clips(traffic, "").set_index("clip")["path"]
    assert paths[f"{one}.wav"] == f"{one}.wav"
    assert paths[f"{other}.wav"] == f"flac/Y{other}.flac"
    (traffic / f"{one}.wav").unlink()  # a video that is gone keeps its row, to be quarantined
    paths = find("dcase2017_task4").read_clips(traffic, "").set_index("clip")["path"]
    assert paths[f"{one}.wav"] == f"audio/Y{one}.wav"


def test_a_row_without_a_label_is_named(traffic):
    table = traffic / "groundtruth_release" / "groundtruth_weak_label_testing_set.csv"
    table.write_text("a_0.000_10.000.wav\t0.000\t10.000\tTrain\nb_0.000_10.000.wav\n")
    with pytest.raises(
        UserError, match=r"testing_set\.csv: clip b_0\.000_10\.000\.wav: no label in"
    ):
        find("dcase2017_task4").read_clips(traffic, "")
