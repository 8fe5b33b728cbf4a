"""The user's corrections reach the split, move no other clip, and are reported."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from earmark.corpora.clips import clips_table
from earmark.corpora.corrections import apply_corrections, problems_of, read_corrections
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params.reading import load_params
from earmark.records import read_json, read_table, write_table
from stages import split
from tests.source_graph import ROOT


def clips_of(n: int = 24) -> pd.DataFrame:
    names = [f"{i:02}.wav" for i in range(n)]
    labels = [["bark", "cello", "drum"][i % 3] for i in range(n)]
    splits = ["test" if i >= n - 3 else "train" for i in range(n)]
    columns = {"clip": names, "path": names, "label": labels, "split": splits, "verified": False}
    return clips_table(columns).assign(quarantined=False, equal_to="")


def write(path: Path, *rows: str, header: str = "clip,suggested,decision,label") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def run_split(tmp_path: Path, corrections: str = "none.csv") -> tuple[pd.DataFrame, dict[str, Any]]:
    layout = Layout(tmp_path)
    write_table(layout.clips, clips_of())
    write(tmp_path / "none.csv")
    params = load_params(ROOT / "params.yaml")
    cv = params.cv.model_copy(update={"scheme": "stratified", "k": 3})
    corpus = params.corpus.model_copy(update={"label_corrections": corrections})
    params = params.model_copy(update={"cv": cv, "corpus": corpus})
    split.run(params, layout)
    return read_table(layout.folds), read_json(layout.metrics / "split.json")


def test_corrections_change_drop_and_verify_and_move_no_other_clip(tmp_path):
    before, summary = run_split(tmp_path)
    assert "label_corrections" not in summary
    changed = ["00.wav,drum,change,", "01.wav,bark,change,drum"]
    others = ["02.wav,bark,drop,", "03.wav,drum,Keep,", "04.wav,bark,,"]
    path = write(tmp_path / "mine.csv", *changed, *others)
    after, summary = run_split(tmp_path, corrections="mine.csv")
    label = after.set_index("clip")["label"]
    assert (label["00.wav"], label["01.wav"], label["03.wav"]) == ("drum", "drum", "bark")
    dropped = after.set_index("clip").loc["02.wav"]
    assert dropped["split"] == "dropped"
    assert sorted(dropped[["fold_0", "fold_1", "fold_2"]]) == ["", "", "dropped"]
    assert set(after.loc[after["verified"], "clip"]) == {"00.wav", "01.wav", "03.wav"}
    folds = [name for name in before if str(name).startswith("fold_")]
    rest = (before["clip"] != "02.wav").to_numpy()
    pd.testing.assert_frame_equal(after[rest][["clip", *folds]], before[rest][["clip", *folds]])
    assert summary["label_corrections"] | {"note": ""} == {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "kept": 1,
        "changed": 2,
        "dropped": 1,
        "validation_clips_changed_or_dropped": 3,
        "note": "",
    }
    assert "3 of 21 validation clips" in summary["label_corrections"]["note"]


def test_a_file_without_decisions_changes_nothing(tmp_path):
    before, _ = run_split(tmp_path)
    write(tmp_path / "mine.csv", "00.wav,drum,,", "01.wav,bark,,drum")
    after, summary = run_split(tmp_path, corrections="mine.csv")
    pd.testing.assert_frame_equal(after, before)
    assert "label_corrections" not in summary


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("xx.wav,drum,drop,", "clip xx.wav: not in the corpus; delete the row"),
        ("00.wav,drum,remove,", "clip 00.wav: unknown decision 'remove'; write keep, change, drop"),
        ("00.wav,drum,change,horn", "clip 00.wav: unknown tag horn; write a tag of the corpus"),
        (
            "00.wav,,change,",
            "clip 00.wav: the decision is change, but the new label is empty; fill in",
        ),
        (
            "23.wav,bark,change,",
            "clip 23.wav: a test clip, which must stay as it is so that scores compare; delete",
        ),
    ],
)
def test_each_error_is_one_line_that_names_the_clip_and_the_fix(tmp_path, row, problem):
    corrections = read_corrections(write(tmp_path / "mine.csv", row))
    (line,) = problems_of(corrections, clips_of())
    assert line.startswith(f"corpus.label_corrections: {problem}")
    with pytest.raises(UserError, match=r"corpus\.label_corrections"):
        run_split(tmp_path, corrections="mine.csv")


def test_a_clip_that_is_decided_twice_is_refused(tmp_path):
    corrections = read_corrections(
        write(tmp_path / "mine.csv", "00.wav,drum,keep,", "00.wav,drum,drop,")
    )
    (line,) = problems_of(corrections, clips_of())
    assert line == "corpus.label_corrections: clip 00.wav: decided 2 times; keep one row"


def test_a_file_that_cannot_be_used_says_why(tmp_path):
    with pytest.raises(UserError, match="does not exist; correct the path, or set it to profiles"):
        read_corrections(tmp_path / "lost.csv")
    with pytest.raises(UserError, match="no column decision; start from data/audit/label_issues"):
        read_corrections(write(tmp_path / "mine.csv", "00.wav,x", header="clip,label"))


def test_a_class_cannot_be_dropped_out_of_a_fold(tmp_path):
    drums = [f"{i:02}.wav,,drop," for i in range(2, 21, 3)]
    write(tmp_path / "mine.csv", *drums)
    with pytest.raises(UserError, match=r"fold 0 would train on no clip of drum"):
        run_split(tmp_path, corrections="mine.csv")


@pytest.mark.parametrize("label", ["bark;", ";", "bark;bark", "bark;drum"])
def test_a_change_to_several_tags_is_refused_where_clips_have_one(tmp_path, label):
    corrections = read_corrections(write(tmp_path / "mine.csv", f"00.wav,,change,{label}"))
    (line,) = problems_of(corrections, clips_of())
    assert line.startswith(f"corpus.label_corrections: clip 00.wav: label {label!r} has ")


def test_a_change_may_give_several_tags_where_others_have_them(tmp_path):
    path = write(tmp_path / "mine.csv", "00.wav,,change,bark;drum")
    clips = clips_of()
    clips.loc[1, "label"] = "bark;drum"
    folds = clips[["clip", "split", "label", "verified"]].assign(fold_0="train")
    folds.loc[3:6, "fold_0"] = "validation"
    edited, _ = apply_corrections(folds, clips, path)
    assert edited["label"].iloc[0] == "bark;drum"


def test_names_that_the_audit_made_neutral_are_understood(tmp_path):
    table = pd.DataFrame(
        {"clip": ["=1.wav", "-.wav"], "suggested": ["@x", "-"], "decision": ["change", "keep"]}
    )
    write_table(tmp_path / "label_issues.csv", table.assign(label=""))
    assert "'=1.wav,'@x" in (tmp_path / "label_issues.csv").read_text()
    corrections = read_corrections(tmp_path / "label_issues.csv")
    assert corrections.to_numpy().tolist() == [["=1.wav", "change", "@x"], ["-.wav", "keep", ""]]


def test_a_table_saved_by_a_spreadsheet_that_separates_by_semicolons_is_read(tmp_path):
    text = "\ufeffclip;suggested;decision;label\r\n00.wav;drum;CHANGE;\r\n;;;\r\n"
    (tmp_path / "mine.csv").write_text(text, newline="")
    assert read_corrections(tmp_path / "mine.csv").to_numpy().tolist() == [
        ["00.wav", "change", "drum"]
    ]


@pytest.mark.parametrize(
    "row", ["x{}.wav,drum,drop,", "{:02}.wav,drum,remove{},", "{:02}.wav,,change,horn{}"]
)
def test_equal_faults_are_one_line_with_a_count(tmp_path, row):
    rows = [row.format(n, n) for n in range(20)]
    (line,) = problems_of(read_corrections(write(tmp_path / "mine.csv", *rows)), clips_of())
    assert line.startswith("corpus.label_corrections: clips ")
    assert "and 17 more: " in line
