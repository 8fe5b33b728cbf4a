"""Labels go into the corpus, and nothing else of it changes."""

import os
from pathlib import Path

import pandas as pd
import pytest

from earmark.corpora.adapters import find
from earmark.errors import UserError, WrongUse
from earmark.labelling.adding import Corpus, add_labels

ROWS = ["a.wav,dog,1,s1", "b c.wav,cat,0,s2", '"d,e.wav",dog,1,']


def corpus(root: Path, table: str = "clips.csv") -> Corpus:
    clips = find("folder").read_clips(root, table)
    return Corpus(root, root / table if table else None, clips)


def filled(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["path,label,suggested,rank", *rows]) + "\n")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus with a table; new.wav and =x.wav are not in it."""
    root = tmp_path / "corpus"
    root.mkdir()
    for name in ("a.wav", "b c.wav", "d,e.wav", "new.wav", "=x.wav"):
        (root / name).write_text(name)
    (root / "clips.csv").write_text("\n".join(["path,label,verified,source", *ROWS]) + "\n")
    return root


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    root = tmp_path / "classes"
    for name in ("1 - Dog/a.wav", "cat/b.wav", "loose.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_rows_are_added_and_those_that_are_there_stay_to_the_byte(root, tmp_path):
    before = (root / "clips.csv").read_bytes()
    csv = filled(tmp_path, "new.wav,cat,dog,1", "'=x.wav,dog,dog,2", "a.wav,,dog,3")
    lines = add_labels(csv, corpus(root))
    assert lines[0].endswith("2 clips added (0 copied into the corpus)")
    assert (root / "clips.csv").read_bytes() == before + b"new.wav,cat,1,\n=x.wav,dog,1,\n"
    clips = corpus(root).clips.set_index("clip")
    assert clips.loc["=x.wav", "label"] == "dog"
    assert clips.loc["new.wav", "verified"]
    after = (root / "clips.csv").read_bytes()
    assert add_labels(csv, corpus(root))[1:] == ["2 were there already"]
    assert (root / "clips.csv").read_bytes() == after


def test_a_table_keeps_its_separator_its_ends_of_lines_and_its_columns(root, tmp_path):
    text = "Label;Note;Path\r\ndog;x;a.wav\r\ncat;;b c.wav"
    (root / "clips.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    add_labels(filled(tmp_path, "new.wav,dog,,"), corpus(root))
    data = (root / "clips.csv").read_bytes()
    assert data == b"\xef\xbb\xbf" + text.encode() + b"\r\ndog;;new.wav\r\n"
    assert corpus(root).clips["label"].tolist() == ["dog", "cat", "dog"]


def test_a_table_that_shares_its_bytes_with_a_cache_is_not_written_through(root, tmp_path):
    os.link(root / "clips.csv", tmp_path / "cache")
    before = (tmp_path / "cache").read_bytes()
    (root / "clips.csv").chmod(0o444)
    add_labels(filled(tmp_path, "new.wav,dog,,"), corpus(root))
    assert (tmp_path / "cache").read_bytes() == before
    assert len(corpus(root).clips) == 4


def test_a_recording_from_elsewhere_is_copied_once(root, tmp_path):
    for name, text in (("x/a.wav", "another a"), ("y/a.wav", "a third"), ("x/q.wav", "q")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    csv = filled(tmp_path, *(f"{tmp_path}/{name},cat,," for name in ("x/a.wav", "y/a.wav")))
    assert "2 copied" in add_labels(csv, corpus(root))[0]
    assert (root / "added/a.wav").read_text() == "another a"
    assert (root / "added/a-2.wav").read_text() == "a third"
    assert (tmp_path / "x/a.wav").exists(), "nothing is moved"
    assert corpus(root).clips["path"].tolist()[3:] == ["added/a.wav", "added/a-2.wav"]
    again = filled(tmp_path, f"{tmp_path}/x/a.wav,cat,,")
    assert add_labels(again, corpus(root))[1:] == ["1 were there already"]
    other = filled(tmp_path, f"{tmp_path}/x/a.wav,dog,,")
    with pytest.raises(UserError, match="is labelled cat in the corpus already"):
        add_labels(other, corpus(root))
    # A copy whose row a kill prevented is not copied again.
    (root / "added/q.wav").write_text("q")
    assert "0 copied" in add_labels(filled(tmp_path, f"{tmp_path}/x/q.wav,dog,,"), corpus(root))[0]


def test_class_folders_get_a_copy_in_the_folder_of_the_tag(classes, tmp_path):
    (tmp_path / "out.wav").write_text("out")
    csv = filled(tmp_path, "loose.wav,cat,,", f"{tmp_path}/out.wav,1_-_Dog,,", "cat/b.wav,cat,,")
    lines = add_labels(csv, corpus(classes, ""))
    assert lines == [
        f"{classes}: 2 clips added (2 copied into the corpus)",
        "1 were there already",
    ]
    assert (classes / "cat/loose.wav").read_text() == "loose.wav"
    assert (classes / "1 - Dog/out.wav").read_text() == "out"
    assert sorted(path.name for path in classes.iterdir()) == ["1 - Dog", "cat", "loose.wav"]
    assert sorted(set(corpus(classes, "").clips["label"])) == ["1_-_Dog", "cat"]
    with pytest.raises(UserError, match="unknown tag dgo"):
        add_labels(filled(tmp_path, f"{tmp_path}/out.wav,dgo,,"), corpus(classes, ""))


WRONG = {
    "tag": ("new.wav,dgo,,", "unknown tag dgo; the corpus has cat, dog"),
    "several": ("new.wav,dog;cat,,", "several tags, but clips of this corpus have one"),
    "path": ("gone.wav,dog,,", "path gone.wav: no recording there"),
    "no sound": ("clips.csv,dog,,", "path clips.csv: no recording there"),
    "other label": ("a.wav,cat,,", "path a.wav: is labelled dog in the corpus already"),
    "test": ("t.wav,dog,,", "path t.wav: a test clip, which stays as it is"),
    "twice": ("new.wav,dog,,\nnew.wav,cat,,", "rows 3, 4: the same path"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_added_is_named_and_nothing_is(name, root, tmp_path):
    (root / "t.wav").write_text("t")
    table = "\n".join(["path,label,split", "a.wav,dog,", "b c.wav,cat,", "t.wav,,test"])
    (root / "clips.csv").write_text(table + "\n")
    rows, message = WRONG[name]
    with pytest.raises(UserError) as refused:
        add_labels(filled(tmp_path, "=x.wav,dog,,", rows), corpus(root))
    assert any(message in problem for problem in refused.value.problems), refused.value.problems
    assert all("\n" not in problem for problem in refused.value.problems)
    assert (root / "clips.csv").read_text() == table + "\n"


def test_nothing_chosen_is_told(root, tmp_path):
    with pytest.raises(WrongUse, match="no label is filled in"):
        add_labels(filled(tmp_path, "new.wav,,dog,1"), corpus(root))


def test_official_folds_are_asked_for(root, tmp_path):
    (root / "clips.csv").write_text("path,label,fold\na.wav,dog,1\nb c.wav,cat,2\n")
    csv = filled(tmp_path, "new.wav,dog,,")
    with pytest.raises(WrongUse, match=r"--fold \(there are 1, 2\)"):
        add_labels(csv, corpus(root))
    add_labels(csv, corpus(root), fold=2)
    assert (root / "clips.csv").read_text().endswith("\nnew.wav,dog,2\n")
    (root / "clips.csv").write_text("path,label\na.wav,dog\nb c.wav,cat\n")
    with pytest.raises(WrongUse, match="--fold 2: this corpus has no official folds"):
        add_labels(csv, corpus(root), fold=2)


def test_several_tags_are_added_where_the_corpus_has_several(root, tmp_path):
    (root / "clips.csv").write_text("path,label\na.wav,dog;cat\nb c.wav,cat\n")
    add_labels(filled(tmp_path, "new.wav,cat; dog;cat,,"), corpus(root))
    assert pd.read_csv(root / "clips.csv")["label"].tolist() == ["dog;cat", "cat", "cat;dog"]
