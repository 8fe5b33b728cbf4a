"""Every corpus comes out as one clips table, and whatever is wrong with it is said in one line."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from earmark.clips import COLUMNS, SCHEMA, check_clips, clips_table, problems_of
from earmark.corpora import folder, fsdkaggle2018
from earmark.errors import UserError
from earmark.params import CrossValidation


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(root: Path, text: str, *, encoding: str = "utf-8") -> pd.DataFrame:
    (root / "labels.csv").write_text(text, encoding=encoding)
    return folder.read_clips(root, "labels.csv")


def test_class_folders_name_clips_by_path_and_label_them_by_the_first_folder(tmp_path):
    names = ["cat/b.wav", "cat/a.flac", "dog/x/y/c.WAV", "big  dog/d.ogg"]
    touch(tmp_path, *names, "top.wav", "cat/notes.txt", "cat/._a.flac", ".trash/e.wav")
    clips = folder.read_clips(tmp_path, "")
    expected = {
        "big  dog/d.ogg": "big_dog",
        "cat/a.flac": "cat",
        "cat/b.wav": "cat",
        "dog/x/y/c.WAV": "dog",
    }
    assert dict(zip(clips["clip"], clips["label"], strict=True)) == expected
    assert list(clips["clip"]) == list(clips["path"]) == sorted(expected)
    SCHEMA.validate(clips)


def test_a_folder_without_class_folders_or_that_is_none_is_refused(tmp_path):
    touch(tmp_path, "a.wav", "texts/readme.txt")
    with pytest.raises(UserError, match=r"has no class folder with audio in it .*\.wav"):
        folder.read_clips(tmp_path, "")
    with pytest.raises(UserError, match=r"^corpus\.root: .*nowhere is not a folder; set it"):
        folder.read_clips(tmp_path / "nowhere", "")


def test_a_csv_gives_every_optional_column(tmp_path):
    clips = write(
        tmp_path,
        "label,path,fold,source,verified,split,usage,licence\n"
        "dog,a.wav,3,s1,1,train,,CC0\n"
        "cat,b.wav,,,no,,,\n"
        ",c.wav,2.0,s2,TRUE,test,Ignored,CC BY\n",
    )
    assert list(clips.columns) == COLUMNS
    rows = clips.astype(object).where(clips.notna(), None).to_numpy().tolist()
    assert rows == [
        ["a.wav", "a.wav", "dog", "s1", 3, True, "train", "", "CC0"],
        ["b.wav", "b.wav", "cat", "", None, False, "train", "", ""],
        ["c.wav", "c.wav", "", "s2", 2, True, "test", "Ignored", "CC BY"],
    ]
    SCHEMA.validate(clips)


def test_bom_odd_spaces_and_quoted_commas_are_read_as_meant(tmp_path):
    text = ' path , label\n"dogs, small/a.wav","big  dog "\n b.wav ,\tcat \n\n'
    clips = write(tmp_path, text, encoding="utf-8-sig")
    assert list(clips["path"]) == ["dogs, small/a.wav", "b.wav"]
    assert list(clips["label"]) == ["big_dog", "cat"]


def test_a_label_that_pandas_would_take_for_missing_is_kept(tmp_path):
    clips = write(tmp_path, "path,label\na.wav,NA\nb.wav,None\nc.wav,null\n")
    assert list(clips["label"]) == ["NA", "None", "null"]


def test_unknown_columns_are_left_out_and_named_in_the_log(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        clips = write(tmp_path, "path,label,mood\na.wav,dog,good\n")
    assert list(clips.columns) == COLUMNS
    assert "columns not used: mood" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na,dog\n", "no column path; it has file, label; rename or add it"),
        ("path;label\na;dog\n", "no column path, label; it has path;label"),
        ("", "no readable csv"),
        ('path,label\n"a.wav,dog\n', "no readable csv: .*EOF inside string"),
        ("path,label\na.wav,dog\nb.wav,cat, big\n", "no readable csv: .*line 3"),
        # pandas would take the paths for an index, and the labels for paths
        ("path,label\na.wav,dog,x\nb.wav,cat,y\n", "no readable csv"),
        ("path,label\na.wav,dog,\nb.wav,cat,\n", "no readable csv"),
        ("path, path,label\na,b,dog\n", "two columns have one name"),
        ("path,label\na.wav,dog;cat\n", "clip a.wav: several labels .dog;cat.; give it one"),
        ("path,label,fold\na.wav,dog,1.5\n", "clip a.wav: fold '1.5' is no whole number"),
        ("path,label,fold\na.wav,dog,one\n", "clip a.wav: fold 'one' is no whole number"),
        ("path,label,fold\na.wav,dog,1e300\n", "clip a.wav: fold '1e300' is no whole number"),
        ("path,label,verified\na.wav,dog,perhaps\n", "clip a.wav: verified is 'perhaps'; write"),
    ],
)
def test_a_csv_that_cannot_be_read_says_why_in_one_line(tmp_path, text, said):
    with pytest.raises(UserError, match=rf"labels\.csv: {said}") as caught:
        write(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_csv_that_is_not_utf_8_is_refused(tmp_path, encoding):
    with pytest.raises(UserError, match=r"labels\.csv: no readable csv: 'utf-8' codec"):
        write(tmp_path, "path,label\na.wav,bär\n", encoding=encoding)


def test_a_table_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"labels\.csv: not there; correct corpus\.table"):
        folder.read_clips(tmp_path, "labels.csv")
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(UserError, match="no readable csv"):
        folder.read_clips(tmp_path, "labels.csv")


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
    rows = clips.drop(columns=["fold", "path"]).to_numpy().tolist()
    assert rows == [
        ["00044347.wav", "Hi-hat", "28739", False, "train", "", "Attribution"],
        ["001ca53d.wav", "Saxophone", "358827", True, "train", "", "Creative Commons 0"],
        ["00326aa9.wav", "Oboe", "355125", True, "test", "Private", "Attribution"],
        ["0038a046.wav", "Bass_drum", "90621", True, "test", "Public", "Attribution"],
        ["00063640.wav", "", "88926", True, "test", "Ignored", "Attribution"],
    ]
    assert clips["path"].iloc[0] == f"{audio_train}/00044347.wav"
    assert clips["path"].iloc[4] == f"{audio_test}/00063640.wav"
    assert clips["fold"].isna().all()
    SCHEMA.validate(clips)


def test_kaggles_training_half_alone_is_a_corpus(tmp_path):
    lay_out(tmp_path, KAGGLE)
    (tmp_path / "test_post_competition.csv").unlink()
    assert list(fsdkaggle2018.read_clips(tmp_path, "")["split"]) == ["train", "train"]


def test_fsdkaggle2018_elsewhere_or_with_a_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has neither FSDKaggle2018\.meta.* or train\.csv"):
        fsdkaggle2018.read_clips(tmp_path, "")
    lay_out(tmp_path, ZENODO)
    with pytest.raises(UserError, match=r"corpus\.table: .*set it to ''"):
        fsdkaggle2018.read_clips(tmp_path, "labels.csv")
    (tmp_path / ZENODO[1]).unlink()
    with pytest.raises(UserError, match=r"test_post_competition_scoring_clips\.csv: not there"):
        fsdkaggle2018.read_clips(tmp_path, "")


def cv(scheme: str) -> CrossValidation:
    return CrossValidation(scheme=scheme, k=2, verified_validation_only=False)


def four(**columns: list) -> pd.DataFrame:
    names = ["a.wav", "b.wav", "c.wav", "d.wav"]
    return clips_table(
        {"clip": names, "path": names, "label": ["cat", "cat", "dog", "dog"], **columns}
    )


@pytest.fixture
def root(tmp_path) -> Path:
    touch(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav")
    return tmp_path


def test_a_sound_table_has_no_problem(root):
    assert problems_of(four(), root=root, cv=cv("stratified")) == []
    clips = four(fold=[1, 5, 1, 5])
    assert problems_of(clips, root=root, cv=cv("official")) == []
    check_clips(clips, root=root, cv=cv("official"))


@pytest.mark.parametrize(
    ("columns", "official", "said"),
    [
        ({"clip": ["a", "a", "c", "d"]}, False, ["clip a: named 2 times", "delete or rename"]),
        (
            {"path": ["../a.wav", "b.wav", "c.wav", "d.wav"]},
            False,
            ["clip a.wav: path ../a.wav leaves the corpus root", "corpus.root above them all"],
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
        ({"label": ["cat", "cat", "cat", "dog"]}, False, ["class dog: 1 clips for 2"]),
        (
            {"label": ["cat", "cat", "cat", "dog"], "split": ["train"] * 3 + ["test"]},
            False,
            ["class dog: in the test set alone", "add training clips"],
        ),
        ({"label": ["cat"] * 4}, False, ["at least 2 classes"]),
        ({"fold": [1, 2, 1, pd.NA]}, True, ["clip d.wav and 0 more: no fold", "stratified"]),
        ({"fold": [1, 2, 1, 3]}, True, ["official folds [1, 2, 3] are 3, cv.k is 2"]),
        ({"usage": ["", "", "", "public"]}, False, ["column usage", "'public'", "Public", "row 3"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_problem_of_a_table_is_one_line(root, columns, official, said):
    problems = problems_of(
        four(**columns), root=root, cv=cv("official" if official else "stratified")
    )
    if "test set alone" in said[0]:  # one class is left to train on, which is a second problem
        problems = [line for line in problems if "at least 2 classes" not in line]
    (problem,) = problems
    assert problem.startswith("corpus: ")
    assert [words for words in said if words not in problem] == [], problem


def test_a_training_clip_without_a_label_is_named_and_a_test_clip_may_lack_it(root):
    clips = four(label=["cat", "cat", "dog", "dog"], split=["train"] * 4)
    more = clips_table({"clip": ["e", "f"], "path": ["a.wav", "b.wav"], "split": ["train", "test"]})
    both = pd.concat([clips, more], ignore_index=True)
    (problem,) = problems_of(both, root=root, cv=cv("stratified"))
    assert problem == "corpus: clip e: no label; label it, or give it split test"


def test_a_test_clip_without_a_label_is_no_class_of_its_own(root):
    more = clips_table({"clip": ["e"], "path": ["a.wav"], "split": ["test"]})
    clips = pd.concat([four(), more], ignore_index=True)
    assert problems_of(clips, root=root, cv=cv("stratified")) == []


def test_an_empty_table_is_named_once(root):
    (problem,) = problems_of(four().iloc[:0], root=root, cv=cv("stratified"))
    assert "no clip found" in problem


def test_all_problems_of_a_table_are_raised_at_once(root):
    clips = four(clip=["a", "a", "c", "d"], label=["cat", "cat", "cat", ""])
    with pytest.raises(UserError) as caught:
        check_clips(clips, root=root, cv=cv("official"))
    assert len(caught.value.problems) == 4  # named twice, no label, one class, no folds
