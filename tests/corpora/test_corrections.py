"""The user's decisions reach the split, move nobody else, and are owned up to."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from earmark.corpora.clips import clips_table
from earmark.corpora.corrections import apply_corrections, problems_of, read_corrections
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params.reading import load_params
from earmark.store import read_json, read_table, write_table
from stages import split

ROOT = Path(__file__).resolve().parents[2]


def clips_of(n: int = 24) -> pd.DataFrame:
    names = [f"{i:02}.wav" for i in range(n)]
    labels = [["bark", "cello", "drum"][i % 3] for i in range(n)]
    splits = ["test" if i >= n - 3 else "train" for i in range(n)]
    columns = {"clip": names, "path": names, "label": labels, "split": splits, "verified": False}
    return clips_table(columns).assign(quarantined=False, equal_to="")


def write(path: Path, *rows: str, header: str = "clip,suggested,decision,label") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def run_split(tmp_path: Path, edits: str = "none.csv") -> tuple[pd.DataFrame, dict]:
    layout = Layout(tmp_path)
    write_table(layout.clips, clips_of())
    write(tmp_path / "none.csv")
    params = load_params(ROOT / "params.yaml")
    cv = params.cv.model_copy(update={"scheme": "stratified", "k": 3})
    corpus = params.corpus.model_copy(update={"edits": edits})
    params = params.model_copy(update={"cv": cv, "corpus": corpus})
    split.run(params, layout)
    return read_table(layout.folds), read_json(layout.metrics / "split.json")


def test_edits_change_drop_and_verify_and_move_no_other_clip(tmp_path):
    before, facts = run_split(tmp_path)
    assert "edits" not in facts
    changed = ["00.wav,drum,change,", "01.wav,bark,change,drum"]
    others = ["02.wav,bark,drop,", "03.wav,drum,Keep,", "04.wav,bark,,"]
    path = write(tmp_path / "mine.csv", *changed, *others)
    after, facts = run_split(tmp_path, edits="mine.csv")
    label = after.set_index("clip")["label"]
    assert (label["00.wav"], label["01.wav"], label["03.wav"]) == ("drum", "drum", "bark")
    assert "02.wav" not in label
    assert set(after.loc[after["verified"], "clip"]) == {"00.wav", "01.wav", "03.wav"}
    roles = [name for name in before if name.startswith("fold_")]
    left = before[before["clip"] != "02.wav"].reset_index(drop=True)
    pd.testing.assert_frame_equal(after[["clip", *roles]], left[["clip", *roles]])
    assert facts["edits"] | {"note": ""} == {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "kept": 1,
        "changed": 2,
        "dropped": 1,
        "held_out_clips_changed_or_dropped": 3,
        "note": "",
    }
    assert "3 of 21 held-out clips" in facts["edits"]["note"]


def test_a_file_without_decisions_changes_nothing(tmp_path):
    before, _ = run_split(tmp_path)
    write(tmp_path / "mine.csv", "00.wav,drum,,", "01.wav,bark,,drum")
    after, facts = run_split(tmp_path, edits="mine.csv")
    pd.testing.assert_frame_equal(after, before)
    assert "edits" not in facts


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("xx.wav,drum,drop,", "clip xx.wav: not in the corpus; delete the row"),
        ("00.wav,drum,remove,", "clip 00.wav: unknown decision 'remove'; write keep, change, drop"),
        ("00.wav,drum,change,horn", "clip 00.wav: unknown tag horn; give a tag of the corpus"),
        ("00.wav,,change,", "clip 00.wav: change to what? fill the column label"),
        ("23.wav,bark,change,", "clip 23.wav: a test clip; delete the row"),
    ],
)
def test_each_error_is_one_line_that_names_clip_and_mend(tmp_path, row, problem):
    edits = read_corrections(write(tmp_path / "mine.csv", row))
    (found,) = problems_of(edits, clips_of())
    assert found.startswith(f"corpus.label_corrections: {problem}")
    with pytest.raises(UserError, match=r"corpus\.edits"):
        run_split(tmp_path, edits="mine.csv")


def test_a_clip_that_is_decided_twice_is_refused(tmp_path):
    edits = read_corrections(write(tmp_path / "mine.csv", "00.wav,drum,keep,", "00.wav,drum,drop,"))
    (found,) = problems_of(edits, clips_of())
    assert found == "corpus.label_corrections: clip 00.wav: decided 2 times; keep one row"


def test_a_file_that_cannot_be_used_says_why(tmp_path):
    with pytest.raises(UserError, match="is not there; correct the path, or clear it"):
        read_corrections(tmp_path / "lost.csv")
    with pytest.raises(UserError, match="no column decision; begin from data/audit/label_issues"):
        read_corrections(write(tmp_path / "mine.csv", "00.wav,x", header="clip,label"))


def test_a_class_cannot_be_dropped_out_of_a_fold(tmp_path):
    drums = [f"{i:02}.wav,,drop," for i in range(2, 21, 3)]
    write(tmp_path / "mine.csv", *drums)
    with pytest.raises(UserError, match=r"fold 0 would train on no clip of drum"):
        run_split(tmp_path, edits="mine.csv")


@pytest.mark.parametrize("label", ["bark;", ";", "bark;bark", "bark;drum"])
def test_a_change_leaves_a_corpus_of_one_tag_a_clip_what_it_is(tmp_path, label):
    edits = read_corrections(write(tmp_path / "mine.csv", f"00.wav,,change,{label}"))
    (found,) = problems_of(edits, clips_of())
    assert found.startswith(f"corpus.label_corrections: clip 00.wav: label {label!r} has ")


def test_a_change_may_give_several_tags_where_others_have_them(tmp_path):
    path = write(tmp_path / "mine.csv", "00.wav,,change,bark;drum")
    clips = clips_of()
    clips.loc[1, "label"] = "bark;drum"
    folds = clips[["clip", "split", "label", "verified"]].assign(fold_0="train")
    folds.loc[3:6, "fold_0"] = "validation"
    edited, _ = apply_corrections(folds, clips, path)
    assert edited["label"].iloc[0] == "bark;drum"
