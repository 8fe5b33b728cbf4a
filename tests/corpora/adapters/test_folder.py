"""Class folders and csv files of a user's own, and how each goes wrong."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earmark.corpora.adapters import folder
from earmark.corpora.clips import COLUMNS, SCHEMA
from earmark.errors import UserError
from earmark.labels import is_multi_label
from tests.corpora.corpus_trees import touch


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


def test_a_folder_that_is_missing_or_has_no_class_folders_is_refused(tmp_path):
    touch(tmp_path, "a.wav", "texts/readme.txt")
    with pytest.raises(UserError, match=r"has no class folder with audio in it; set it .*\.wav"):
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
        ["a.wav", "a.wav", "dog", "", "s1", 3, True, "train", "", "CC0", None, None],
        ["b.wav", "b.wav", "cat", "", "", None, False, "train", "", "", None, None],
        ["c.wav", "c.wav", "", "", "s2", 2, True, "test", "Ignored", "CC BY", None, None],
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


def test_several_tags_are_separated_by_a_semicolon_each_once_and_without_spaces(tmp_path):
    clips = write(tmp_path, "path,label\na.wav,big  dog; cat ;big dog;\nb.wav,cat\n")
    assert list(clips["label"]) == ["big_dog;cat", "cat"]
    assert is_multi_label(clips["label"])


def test_aux_labels_have_their_own_column(tmp_path):
    clips = write(tmp_path, "path,label,aux_label\na.wav,human,big laugh\nb.wav,music,oboe\n")
    assert list(clips["aux_label"]) == ["big_laugh", "oboe"]


def test_excerpts_of_a_recording_are_clips_of_one_source(tmp_path):
    clips = write(
        tmp_path,
        "path,label,start_seconds,end_seconds\n"
        "a.wav,dog,,1.5\na.wav,cat,1.5,2\na.wav,cat,2,\nb.wav,dog,,\n",
    )
    assert list(clips["clip"]) == ["a.wav@0-1.5", "a.wav@1.5-2", "a.wav@2-", "b.wav"]
    assert list(clips["source"]) == ["a.wav", "a.wav", "a.wav", ""]
    np.testing.assert_array_equal(clips["start_seconds"], [np.nan, 1.5, 2.0, np.nan])
    np.testing.assert_array_equal(clips["end_seconds"], [1.5, 2.0, np.nan, np.nan])
    SCHEMA.validate(clips)


def test_the_source_that_a_csv_names_for_an_excerpt_is_kept(tmp_path):
    text = "path,label,source,end_seconds\na.wav,dog,tape 3,1\na.wav,cat,,2\n"
    assert list(write(tmp_path, text)["source"]) == ["tape 3", "a.wav"]
