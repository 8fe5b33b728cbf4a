"""ESC-50 and ESC-10: the csv layout and the class folders give one table."""

from pathlib import Path

import pytest

from earmark.corpora.adapters import esc, find
from earmark.errors import UserError
from tests.corpora import corpus_trees


@pytest.fixture(scope="module")
def csv_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("csv")
    corpus_trees.esc_csv(root)
    return root


@pytest.mark.parametrize("inside", ["", "audio"])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("esc10", corpus_trees.esc10_folders),
        ("esc10", corpus_trees.esc50_folders),
        ("esc50", corpus_trees.esc50_folders),
    ],
)
def test_class_folders_give_the_table_of_the_csv_apart_from_paths(
    csv_root, tmp_path, name, make, inside
):
    make(tmp_path / inside)
    from_csv, from_folders = (find(name).read_clips(r, "") for r in (csv_root, tmp_path))
    assert from_folders.drop(columns="path").equals(from_csv.drop(columns="path"))
    assert all((tmp_path / path).is_file() for path in from_folders["path"])
    assert all((csv_root / path).is_file() for path in from_csv["path"])


def test_fold_and_source_are_those_of_the_name(csv_root):
    clips = find("esc50").read_clips(csv_root, "").set_index("clip")
    assert len(clips) == 5 * 50 * 2
    row = clips.loc["3-3020-B-20"]
    assert (row["label"], row["fold"], row["source"]) == ("crying_baby", 3, "3020")
    assert row["path"] == "audio/3-3020-B-20.wav"


def test_the_subset_has_its_ten_tags_and_a_licence_of_its_own(csv_root):
    whole, subset = (find(name).read_clips(csv_root, "") for name in ("esc50", "esc10"))
    assert sorted(subset["label"].unique()) == sorted(esc.ESC10_CATEGORIES)
    assert set(subset["licence"]) == {find("esc10").licence} == {"CC BY 3.0"}
    by_clip = whole.set_index("clip")["licence"]
    assert set(by_clip[subset["clip"]]) == {"CC BY 3.0"}
    assert set(by_clip.drop(subset["clip"])) == {find("esc50").licence} == {"CC BY-NC 3.0"}


def test_fifty_distinct_categories_hold_the_ten():
    assert len(set(esc.CATEGORIES)) == len(esc.CATEGORIES) == 50
    assert len(set(esc.ESC10_CATEGORIES)) == 10
    assert set(esc.ESC10_CATEGORIES) <= set(esc.CATEGORIES)


def test_a_file_with_another_name_is_refused_and_other_folders_are_left_alone(tmp_path):
    corpus_trees.record(tmp_path, "001 - Dog bark/1-100032-A.ogg", "notes/1-1-A.ogg")
    corpus_trees.touch(tmp_path, "001 - Dog bark/._1-100032-A.ogg", "001 - Dog bark/info.txt")
    assert list(find("esc10").read_clips(tmp_path, "")["clip"]) == ["1-100032-A-0"]
    corpus_trees.record(tmp_path, "001 - Dog bark/bark.ogg")
    with pytest.raises(
        UserError, match=r"^001 - Dog bark/bark\.ogg: not a clip of ESC-50; name it"
    ):
        find("esc10").read_clips(tmp_path, "")


def test_a_csv_with_another_subset_is_refused(tmp_path):
    corpus_trees.write_lines(
        tmp_path / "meta" / "esc50.csv",
        "filename,fold,target,category,esc10,src_file,take",
        "1-2-A-5.wav,1,5,cat,True,2,A",
    )
    with pytest.raises(UserError, match="clip 1-2-A-5: esc10 does not fit its category"):
        find("esc50").read_clips(tmp_path, "")
