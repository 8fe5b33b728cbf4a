"""Tables that users write: each fault ends in one line, or in a warning."""

# ruff: noqa: E501 (a fault is a line)

import logging
import os
from pathlib import Path

import pandas as pd
import pytest

from earmark.corpora.adapters import folder
from earmark.corpora.clip_checks import problems_of
from earmark.errors import UserError
from earmark.params import CrossValidation, Scheme
from tests.corpora.corpus_trees import touch

NAMES = ["a.wav", "b.wav", "c.wav", "d.wav"]
ROWS = [f"{name},{'dog' if name < 'c' else 'cat'}" for name in NAMES]
MANY = 1000
PLAIN = "path,label\n" + "\n".join(ROWS) + "\n"
FORMS = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path, *NAMES, "sub/E.wav", "caf\u00e9.wav")
    return tmp_path


def with_cells(column: str, *cells: str) -> str:
    rows = [f"{row},{cell}" for row, cell in zip(ROWS, cells, strict=True)]
    return "\n".join([f"path,label,{column}", *rows])


def with_rows(*rows: str, header: str = "path,label") -> str:
    padding = "," * header.count(",")
    return "\n".join([header, *(row + padding[row.count(",") :] for row in (*ROWS, *rows)), ""])


def faults(root: Path, text: str | bytes, scheme: Scheme = "stratified") -> list[str]:
    """What `validate` and the stage decode say of a table, without the folder's name."""
    table = root / "labels.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    cv = CrossValidation(
        scheme=scheme,
        k=2,
        inner_share=0.1,
        verified_validation_only=False,
        drop_test_copies=True,
    )
    try:
        clips = folder.read_clips(root, table.name)
    except UserError as error:
        problems = list(error.problems)
    else:
        problems = problems_of(clips, root=root, cv=cv, folds=["1", "2"])
    return [problem.replace(f"{table}: ", "").removeprefix("corpus: ") for problem in problems]


REFUSED = {
    "no path column": ("file,label\na,dog\n", "no column path; the first row has file, label"),
    "column misspelt": ("path,labels\na,dog\n", "no column label; .*; rename labels to label"),
    "empty": ("", "is empty; the first row names the columns"),
    "blank lines": ("\n \n\n", "is empty; the first row names the columns"),
    "header only": ("path,label\n", "no clip found under .*; check corpus.root and corpus.table"),
    "open quote": ('path,label\na,b\n"a.wav,dog\nc,d\n', r"row 3 \(line 3\): a quotation mark is"),
    "open and shut": ('path,label\na,"cat\nb,dog\nc,dog"\n', "row 2: label has a line break; .*quot"),
    "huge cell": (f"path,label\n{'x' * 200_000},dog\n", r"row 2 \(line 2\): .* far too long; corr"),
    "long cell": (f"path,label\n{'x' * 5000},dog\n", "row 2: path is longer than 4096 char"),
    "long tag": (with_rows(*(f"{n},{'x' * 300}" for n in ("sub/E.wav", "caf\u00e9.wav"))), "clips sub/E.wav, .*: a tag in 'x+...' has over"),
    "row too long": ("path,label\na.wav,dog\nb.wav,cat, big\n", "row 3: more cells than the first"),
    "all too long": ("path,label\na,dog,x\nb,cat,y\n", "rows 2, 3: more cells than the first row"),
    "one name twice": ("path,label,label\na,b,c\n", "columns 2 and 3 have one name, 'label'; ren"),
    "by case": ("path, PATH,label\na,b,c\n", "columns 1 and 2 have one name, 'path'; rename"),
    "Latin-1": ("path,label\na.wav,b\u00e4r\n".encode("latin-1"), "line 2: is not in UTF-8; save"),
    "UTF-16": ("path,label\na,dog\n".encode("utf-16"), "is in UTF-16, not a csv in UTF-8; save"),
    "zeros": (b"path,label\na\0,dog\n", "is not text, not a csv in UTF-8; save it"),
    "xlsx": (b"PK\x03\x04" + os.urandom(99), r"is a workbook \(xlsx, ods\) .*; save it as csv"),
    "xls": (b"\xd0\xcf\x11\xe0" + os.urandom(99), "is a workbook of an old Excel .*; save it as"),
    "recording": (b"RIFF" + os.urandom(99), "is a recording, not a csv; save it as csv"),
    "path empty": (with_rows(",dog"), "row 6: no path; fill it in, or delete the row"),
    "fold 1.5": (with_cells("fold", "1", "1", "1.5", "2"), r"row 4 \(clip c.wav\): fold is '1.5', n"),
    "fold -1": (with_cells("fold", "-1", "1", "-1", "1"), r"rows 2, 4 \(clips a.wav, c.wav\): fold"),
    "fold 1e300": (with_cells("fold", "1", "1e300", "1", "1"), r"row 3 \(clip b.wav\): fold is '1e3"),
    "verified": (with_cells("verified", "1", "", "y", "0"), r"row 3 .*: verified is ''; write 1 or"),
    "split": (with_cells("split", "Train", "tset", "", ""), r"row 3 .*'tset'; did you mean test\?"),
    "split val": (with_cells("split", "val", "", "", ""), "row 2 .*'val'; write train or test"),
    "usage": (with_cells("usage", "", "", "", "pubic"), r"row 5 .*'pubic'; did you mean Public\?"),
    "nan and -1": (with_cells("start_seconds", "-1", "nan", "", ""), "rows 2, 3 .*start_seconds is '-1' or 'nan'; wr"),
    "many values": (with_cells("fold", "x", "y", "z", ""), "rows 2, 3, 4 .*fold is such as 'x', not a"),
    "excerpt 1 ms": (with_cells("end_seconds", "0.001", "", "", ""), r"clip a.wav@0-0.001: shorter than 0\.01 s; widen start_s"),
    "no header": ("\n".join(ROWS), r"no column path, label; .*; the first row is data, so add a row path,label above it"),
    "end soon": (with_cells("end_seconds", "soon", "", "", ""), "row 2 .*end_seconds is 'soon'; w"),
    "end inf": (with_cells("end_seconds", "inf", "", "", ""), "row 2 .*end_seconds is 'inf'; write"),
    "start -1": (with_cells("start_seconds", "-1", "", "", ""), "row 2 .*is '-1'; write seconds suc"),
    "1,5": (with_cells("start_seconds", '"1,5"', "", "", ""), "row 2 .*'1,5'; write seconds such as"),
    "escape": (with_rows("sub/E.wav,\x1b[2Jdog"), r"row 6: label has the hidden character U\+001B"),
    "direction": (with_rows("sub/E.wav,d\u202eog"), r"row 6: label has the hidden character U\+202E"),
    "zero width": (with_rows("sub/E.wav,dog\u200b"), r"row 6: label has the hidden character U\+200B"),
    "path escape": (with_rows("\x1b.wav,dog"), r"row 6: path has the hidden character U\+001B; del"),
    "path line": (with_rows('"a\nb.wav",dog'), "row 6: path has a line break"),
    "source bell": (with_cells("source", "\x07", "", "", ""), r"row 2: source has the .* U\+0007"),
    "case": (with_rows("sub/E.wav,Dog", "caf\u00e9.wav,Dog"), "classes 'Dog' and 'dog' differ only in"),
    "form": (
        "path,label\n" + "\n".join(f"{n},{FORMS[n < 'c']}" for n in NAMES),
        r"classes 'cafe\\u0301' and 'caf\\xe9' differ only in case or Unicode form; write one",
    ),
    "full width": (
        with_rows("sub/E.wav,\uff44\uff4f\uff47", "caf\u00e9.wav,\uff44\uff4f\uff47"),
        r"classes 'dog' and '\\uff44\\uff4f\\uff47' differ only",
    ),
    "twice": (with_rows("a.wav,dog"), "clip a.wav: in the table 2 times; names must be unique"),
    "./": (with_rows("./a.wav,dog"), "clip ./a.wav: the same part of the same file as clip a.wav"),
    "1 and 1.0": (
        with_rows("a.wav,dog,1,2", "a.wav,cat,1.0,2.0", header="path,label,start_seconds,end_seconds"),
        "clip a.wav@1.0-2.0: the same part of the same file as clip a.wav@1-2; delete all but",
    ),
    "absolute": (with_rows("/x/e.wav,dog"), "clip /x/e.wav: path /x/e.wav leaves the corpus root"),
    "above": (with_rows("s/../../e.wav,dog"), "clip s/../../e.wav: path .* leaves the corpus root"),
    "address": (with_rows("https://x/e.wav,dog"), "clip https://x/e.wav: .* is no path below .*; write"),
    "drive": (with_rows(r"C:\e.wav,dog"), r"clip C:\\e.wav: .* is no path below .*; write paths"),
    "backslash": (with_rows(r"sub\E.wav,dog"), r"clip sub\\E.wav: no file .*; write 'sub/E.wav' for"),
    "other case": (with_rows("SUB/e.WAV,dog"), "clip SUB/e.WAV: no file .*; write 'sub/E.wav' for"),
    "no suffix": (with_rows("sub/E,dog"), "clip sub/E: no file .*; write 'sub/E.wav' for 'sub/E'"),
    "path too long": (with_rows(f"{'x' * 300}.wav,dog", "sub/E,dog"), "clip sub/E: no file has"),
    "one clip": (with_rows("sub/E.wav,owl"), r"class owl \(1\): fewer clips than 2 folds; add clips"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_a_bad_table_is_refused_in_one_line(root, fault):
    text, expected = REFUSED[fault]
    (problem,) = faults(root, text)
    assert pd.Series([problem]).str.match(expected).all(), problem
    assert "\n" not in problem


def test_every_bad_column_is_reported_at_once(root):
    header = "path,label,split,usage,fold,verified,start_seconds,end_seconds"
    lines = faults(root, f"{header}\na.wav,dog,x,x,x,x,x,x\n")
    assert [line.split(": ")[1].split()[0] for line in lines] == [
        *("usage", "split", "fold", "verified", "start_seconds", "end_seconds")
    ]


def test_a_misspelt_column_is_named_once(root, caplog):
    with caplog.at_level(logging.INFO):
        faults(root, with_cells("folds", *"1212"))
    assert caplog.text.count("folds") == 1


def test_a_single_official_fold_is_told_what_it_needs(root):
    (problem,) = faults(root, with_cells("fold", *"1111"), "official")
    assert problem == (
        "all training clips are in the official fold 1; put some clips into a second fold, "
        "or set cv.scheme to stratified"
    )


def test_a_file_with_spaces_around_its_name_must_be_renamed(root):
    touch(root, " lead.wav")
    (problem,) = faults(root, with_rows('" lead.wav",dog'))
    assert problem.endswith("but ' lead.wav' has spaces around its name; rename it without them")


def test_a_fold_column_that_is_partly_empty_is_refused_or_warned_of(root, caplog):
    text = with_cells("fold", "1", "2", "1", "")
    (problem,) = faults(root, text, "official")
    assert problem == "clip d.wav: no fold; fill in the column fold, or set cv.scheme to stratified"
    caplog.clear()
    assert faults(root, text) == []
    assert (
        "labels.csv: column fold is empty for 1 of 4 training clips, such as d.wav" in caplog.text
    )


WARNED = {
    "source gaps": (with_cells("source", "s", "", "", ""), "column source is empty for 3 of 4"),
    "source case": (with_cells("source", "s", "S", "t", "u"), "sources 'S' and 's' differ only in"),
    "near name": (with_cells("folds", *"1212"), "column folds is not used; did you mean fold?"),
    "begun name": (with_cells("end", *"1212"), "column end is not used; did you mean end_seconds?"),
    "begin": (with_cells("begin_seconds", *"1212"), "column begin_seconds is not used; did you mean start_seconds?"),
    "unknown": (PLAIN.replace("dog", "unknown"), "class unknown: `predict` also answers so"),
    "short rows": ("path,label,fold\na.wav,dog,\nb.wav,dog\nc.wav,cat,\nd.wav,cat", "rows 3, 5: fewer"),
    "overlap": (
        with_rows("sub/E.wav,dog,,2", "sub/E.wav,cat,1", header="path,label,start_seconds,end_seconds"),
        "1 pair of excerpts, such as sub/E.wav@0-2 and sub/E.wav@1-, overlap, but have other labels",
    ),
    "aux case": (with_cells("aux_label", *"AaBC"), "aux_labels 'A' and 'a' differ only in case"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WARNED)
def test_a_doubtful_table_is_read_with_a_warning(root, fault, caplog):
    text, expected = WARNED[fault]
    with caplog.at_level(logging.WARNING):
        assert faults(root, text) == []
    assert expected in caplog.text


SOUND = {
    "marked": "\ufeff" + PLAIN,
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "Windows": PLAIN.replace("\n", "\r\n"),
    "old Mac": PLAIN.replace("\n", "\r"),
    "blank rows": PLAIN.replace("\n", "\n\n,,\n"),
    "no last line end": PLAIN.rstrip(),
    "commas at the end": PLAIN.replace("\n", ",\n"),
    "an index": "\n".join(f"{i or ''},{row}" for i, row in enumerate(PLAIN.splitlines())),
    "hidden in a heading": PLAIN.replace("label", "\u200bLabel\u00a0"),
    "quotes": PLAIN.replace("a.wav", '"a.wav"').replace("path", '"path"'),
    "a line break elsewhere": with_cells("notes", '"one\ntwo"', "", "", ""),
}


@pytest.mark.parametrize("form", SOUND)
def test_every_usual_form_of_a_csv_gives_the_same_clips(root, form):
    assert faults(root, SOUND[form]) == []
    clips = folder.read_clips(root, "labels.csv")
    assert list(clips["path"]) == NAMES
    assert list(clips["label"]) == ["dog", "dog", "cat", "cat"]
    assert list(clips.index) == [0, 1, 2, 3]


@pytest.mark.parametrize("label", ["NA", "null", "nan", "None", "1", "1.0", "True", "-", "=cmd()"])
def test_a_label_that_looks_like_something_else_is_kept(root, label):
    text = PLAIN.replace("dog", label)
    assert faults(root, text) == []
    assert folder.read_clips(root, "labels.csv")["label"].iloc[0] == label


EQUAL_FAULTS = {
    "no path": [",dog"] * MANY,
    "no label": [f"{i}.wav," for i in range(MANY)],
    "twice": [f"{i // 2}.wav,dog" for i in range(2 * MANY)],
    "absolute": [f"/{i}.wav,dog" for i in range(MANY)],
    "hidden": [f"{i}\x01.wav,dog" for i in range(MANY)],
    "small classes": [f"{i}.wav,c{i}" for i in range(MANY)],
    "too long": [f"{i}.wav,dog,,,,,,x" for i in range(MANY)],
    "split": [f"{i}.wav,dog,tset" for i in range(MANY)],
    "new classes": [f"{i}.wav,c{i},test" for i in range(MANY)],
    "several tags": [f"{i}.wav,dog;cat,test" for i in range(MANY)],
    "verified": [f"{i}.wav,dog,,maybe" for i in range(MANY)],
    "fold": [f"{i}.wav,dog,,,one" for i in range(MANY)],
    "reversed": [f"{i}.wav,dog,,,,2,1" for i in range(MANY)],
    "backslash": [rf"sub\E.wav,dog,,,,{i},{i + 1}" for i in range(MANY)],
}


@pytest.mark.parametrize("fault", EQUAL_FAULTS)
def test_equal_faults_are_one_line_with_a_count(root, fault):
    header = "path,label,split,verified,fold,start_seconds,end_seconds"
    cells = [row.split(",") for row in (*ROWS, *EQUAL_FAULTS[fault])]
    # A clip is verified unless its row says something.
    rows = [
        [*row, "", "", ""][:3] + (row[3:] if any(row[3:4]) else ["1", *row[4:]]) for row in cells
    ]
    (problem,) = faults(root, "\n".join([header, *map(",".join, rows)]))
    assert f"and {MANY - 3} more" in problem
    assert len(problem) < 400


def test_a_path_in_another_unicode_form_names_its_file(root):
    """A Mac's archive holds decomposed accents, and spreadsheets write composed ones."""
    assert faults(root, with_rows("cafe\u0301.wav,dog")) == []


def test_a_table_that_is_missing_or_a_folder_is_refused(root):
    with pytest.raises(UserError, match=r"no\.csv: does not exist; correct corpus\.table"):
        folder.read_clips(root, "no.csv")
    with pytest.raises(UserError, match=r"sub: is not a file; correct corpus\.table"):
        folder.read_clips(root, "sub")
