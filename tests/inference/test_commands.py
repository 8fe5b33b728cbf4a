"""`predict` and `export` as a user types them: outputs, exit codes, and what is refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from earmark.__main__ import main
from earmark.inference import batch
from tests.inference.workspaces import make_workspace, sound
from tests.processes import wait_until
from tests.source_graph import ROOT


@pytest.fixture
def tagger(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exported tagger; the working directory has three recordings, one of which is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    sound(tmp_path / "in" / "a.wav", key=1)
    (tmp_path / "in" / "broken.wav").write_text("no sound")
    sound(tmp_path / "in" / "c.WAV", key=2, rate=44_100)
    return exported


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["earmark", *map(str, arguments)])
    monkeypatch.setattr("earmark.processes.set_up_process", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
    return code if isinstance(code, int) else int(code is not None)


def test_answers_go_into_a_table_and_failures_into_another(tagger, monkeypatch, capfd):
    assert run(monkeypatch, "predict", tagger, "in", "-o", "tags.csv", "--top", 2) == 3
    table = pd.read_csv("tags.csv")
    assert table["file"].tolist() == ["in/a.wav"] * 2 + ["in/c.WAV"] * 2
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["end_seconds"].tolist() == [2.0] * 4
    errors = pd.read_csv("tags.csv.errors.csv")
    assert errors["file"].tolist() == ["in/broken.wav"]
    assert errors["reason"].tolist() == ["unreadable"]
    assert sorted(path.name for path in Path().iterdir()) == [
        "in",
        "tags.csv",
        "tags.csv.errors.csv",
        "tags.csv.settings.json",
    ]
    errors = capfd.readouterr().err
    assert "probabilities: on 80 validation clips" in errors
    assert "1 of the recordings could not be used" in errors


def test_a_table_can_be_made_again_from_its_settings(tagger, monkeypatch):
    options = ("--timeline", "--window", 0.5, "--hop", 0.5, "--top", 1, "--threshold", 0.3)
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "-o", "1.jsonl", *options) == 0
    settings = "1.jsonl.settings.json"
    assert (
        run(monkeypatch, "predict", tagger, "in/a.wav", "-o", "2.jsonl", "--settings", settings)
        == 0
    )
    assert Path("1.jsonl").read_text() == Path("2.jsonl").read_text() != ""
    rows = [json.loads(line) for line in Path("2.jsonl").read_text().splitlines()]
    assert {row["end_seconds"] - row["start_seconds"] for row in rows} == {0.5}
    assert min(row["probability"] for row in rows) >= 0.3


def test_ones_own_thresholds_are_read_and_unknown_tags_refused(tagger, monkeypatch, capfd):
    Path("t.csv").write_text("\ufefftag;threshold\r\nbark;0\r\nbell;1\r\n")
    options = ("--thresholds", "t.csv", "--top", 4)
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "-o", "x.parquet", *options) == 0
    assert pd.read_parquet("x.parquet")["tag"].tolist() == ["bark"]
    Path("t.csv").write_text("tag,threshold\nmoo,0\n")
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "-o", "y.csv", *options) == 2
    assert "'moo' is no tag of this tagger" in capfd.readouterr().err


WRONG_SETTINGS: dict[str, list[object]] = {
    "top": ["x", 0, 2.5, True, None],
    "threshold": ["a", 2, -0.1],
    "thresholds": [[1], {"bark": "x"}, {"bark": 7}],
    "window_seconds": ["3", True],
    "timeline": ["no", None],
}


@pytest.mark.parametrize("key", WRONG_SETTINGS)
def test_settings_that_somebody_edited_are_refused_by_their_key(key, tagger, monkeypatch, capfd):
    for value in WRONG_SETTINGS[key]:
        Path("s.json").write_text(json.dumps({"table": 1, key: value}))
        assert run(monkeypatch, "predict", tagger, "in", "--settings", "s.json") == 2
        assert f"--settings s.json: {key} cannot be " in capfd.readouterr().err


WRONG_THRESHOLDS = {
    "tag,threshold\nbark,x": "the threshold of 'bark' is 'x'; give a number from 0 to 1",
    "tag,threshold\nbark,nan\n": "the threshold of 'bark' is 'nan'",
    "tag,threshold\nbark,7\n": "the threshold of 'bark' is '7'",
    "tag;threshold\nbark;0,5\n": "the threshold of 'bark' is '0,5'; give a number from 0 to 1",
    "tag,threshold\nbark,0\nbark,1\n": "'bark' has two thresholds; delete one",
    "name,threshold\nbark,1\n": "no column tag",
    "tag,threshold\n": "has no row",
    "": "is empty",
}


@pytest.mark.parametrize("text", WRONG_THRESHOLDS)
def test_thresholds_that_are_none_are_wrong_use(text, tagger, monkeypatch, capfd):
    Path("t.csv").write_text(text)
    assert run(monkeypatch, "predict", tagger, "in", "--thresholds", "t.csv") == 2
    error = capfd.readouterr().err
    assert WRONG_THRESHOLDS[text] in error
    assert "restore" not in error
    assert run(monkeypatch, "predict", tagger, "in", "--thresholds", "no.csv") == 2
    assert "no.csv: does not exist; correct --thresholds" in capfd.readouterr().err


def test_a_recording_without_a_tag_above_the_threshold_is_said_to_be_unknown(
    tagger, monkeypatch, capfd
):
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "--threshold", 1) == 0
    assert capfd.readouterr().out == "in/a.wav: unknown\n"


def test_settings_of_another_tagger_are_said_to_be_so(tagger, monkeypatch, capfd):
    Path("s.json").write_text(json.dumps({"table": 1, "top": 1, "tagger": "another"}))
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "--settings", "s.json") == 0
    assert "--settings s.json: of another tagger" in capfd.readouterr().err
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "-o", "x.csv") == 0
    settings = ("--settings", "x.csv.settings.json")
    assert run(monkeypatch, "predict", tagger, "in/a.wav", *settings) == 0
    assert "another tagger" not in capfd.readouterr().err


def test_labels_go_into_a_folder_one_file_a_recording(tagger, monkeypatch):
    sound(Path("a.wav"), key=3)
    options = ("--timeline", "--merge", "--threshold", 0, "--format")
    files = ("in/a.wav", "a.wav")
    assert run(monkeypatch, "predict", tagger, *files, "-o", "labels", *options, "audacity") == 0
    assert sorted(path.name for path in Path("labels").iterdir()) == ["a-2.txt", "a.txt"]
    assert Path("labels/a.txt").read_text().count("\t") >= 2
    assert run(monkeypatch, "predict", tagger, *files, "-o", "raven", *options, "raven") == 0
    assert Path("raven/a.txt").read_text().startswith("Selection\tView")


def test_a_label_file_that_is_there_is_not_overwritten(tagger, monkeypatch, capfd):
    Path("labels").mkdir()
    Path("labels/c.txt").write_text("mine")
    command = ("predict", tagger, "in/a.wav", "in/c.WAV", "--format", "audacity", "-o", "labels")
    assert run(monkeypatch, *command) == 2
    assert "labels/c.txt: is there; name another folder" in capfd.readouterr().err
    assert [path.name for path in Path("labels").iterdir()] == ["c.txt"]
    assert Path("labels/c.txt").read_text() == "mine"
    assert run(monkeypatch, *command, "--overwrite") == 0
    assert Path("labels/c.txt").read_text() != "mine"


def test_a_broken_off_run_goes_on_under_another_spelling_of_its_paths(tagger, monkeypatch):
    command = ("predict", tagger, "--format", "raven", "-o", "labels")
    write, interrupted = batch._write, [KeyboardInterrupt]
    monkeypatch.setattr(batch, "_write", lambda *_: (_ for _ in ()).throw(*interrupted))
    assert run(monkeypatch, *command, "in/a.wav") == 130
    monkeypatch.setattr(batch, "_write", write)
    assert run(monkeypatch, *command, Path("in/a.wav").absolute()) == 0
    assert [path.name for path in Path("labels").iterdir()] == ["a.txt"]


def test_failures_of_another_table_stay_and_may_have_any_name(tagger, monkeypatch):
    broken = Path(os.fsdecode(b"in/br\xff.wav"))
    broken.write_text("no sound")
    assert run(monkeypatch, "predict", tagger, "in", "-o", "tags.csv") == 3
    errors = pd.read_csv("tags.csv.errors.csv")
    assert sorted(errors["file"]) == ["in/br\\xff.wav", "in/broken.wav"]
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "-o", "tags.jsonl") == 0
    assert Path("tags.csv.errors.csv").exists()
    assert run(monkeypatch, "embed", tagger, "in", "-o", "e") == 3
    assert pd.read_csv("e/errors.csv")["file"].tolist() == errors["file"].tolist()


WRONG = {
    "no recording": (["{tagger}"], "is a tagger; name recordings or folders after it"),
    "tagger last": (["in", "{tagger}"], "is a tagger; name one tagger, before all recordings"),
    "no tagger": (["in"], "no params.yaml in"),
    "empty folder": (["{tagger}", "empty"], "there is no recording to tag"),
    "form": (["{tagger}", "in", "-o", "x.txt"], "let the name end in .csv, .jsonl, .parquet"),
    "exists": (["{tagger}", "in", "-o", "there.csv"], "is there; name another file"),
    "no folder": (["{tagger}", "in", "-o", "no/x.csv"], "no is missing; make it"),
    "format": (["{tagger}", "in", "--format", "x"], "there are audacity and raven"),
    "format alone": (["{tagger}", "in", "--format", "raven"], "name a folder for the labels"),
    "labels here": (["{tagger}", "in", "--format", "raven", "-o", "."], "by its name"),
    "window alone": (["{tagger}", "in", "--window", "2"], "--window: is of a timeline"),
    "merge alone": (["{tagger}", "in", "--merge"], "--merge: is of a timeline"),
    "student": (["{tagger}", "in", "--student"], "an exported tagger is what it is"),
    "settings": (["{tagger}", "in", "--settings", "there.csv"], "cannot be read"),
    "option": (["{tagger}", "in", "--tops", "2"], "No such option"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_ends_with_2_in_one_line_before_any_network_is_read(
    name, tagger, monkeypatch, capfd
):
    Path("empty").mkdir()
    Path("there.csv").write_text("mine")
    monkeypatch.setattr("earmark.taggers.tagger.Tagger.load", None)
    arguments, message = WRONG[name]
    given = [one.format(tagger=tagger) for one in arguments]
    assert run(monkeypatch, "predict", *given) == 2
    error = capfd.readouterr().err
    assert message in error.replace("\n", " ")
    assert "Traceback" not in error
    assert Path("there.csv").read_text() == "mine"


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_at_the_next_recording(tagger, monkeypatch, capfd):
    for i in range(40):
        sound(Path(f"in/{i:02}.wav"), key=i, seconds=1.0)
    command = [sys.executable, "-m", "earmark", "predict", str(tagger), "in", "-o", "tags.csv"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    journal = Path("tags.csv.journal")
    assert wait_until(lambda: journal.exists() and journal.read_text().count("\n") > 3, seconds=60)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    if Path("tags.csv").exists():
        pytest.skip("it was done before it could be killed")
    n_done = journal.read_text().count("\n") - 1
    tagged, answers_of = [], batch.answers_of

    def counted(tagger, paths, settings):
        tagged.extend(paths)
        return answers_of(tagger, paths, settings)

    monkeypatch.setattr(batch, "answers_of", counted)
    assert run(monkeypatch, "predict", tagger, "in", "-o", "tags.csv") == 3
    assert len(tagged) == 43 - n_done
    assert pd.read_csv("tags.csv")["file"].nunique() == 42
    assert not journal.exists()
    assert f"{n_done} of 43 recordings are done already" in capfd.readouterr().err
    assert run(monkeypatch, "predict", tagger, "in", "-o", "whole.csv") == 3
    assert sorted(Path("tags.csv").read_text().splitlines()) == sorted(
        Path("whole.csv").read_text().splitlines()
    )


def test_segments_are_printed_with_their_times(tagger, monkeypatch, capfd):
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "--timeline", "--top", 1) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("in/a.wav 0:00.0 to 0:00.5: ")
    assert len(lines) == 7
    assert run(monkeypatch, "predict", tagger, "in/a.wav", "--json") == 0
    assert json.loads(capfd.readouterr().out)["clip"] == "in/a.wav"


def test_export_writes_what_predict_reads(tmp_path, monkeypatch, capfd):
    layout = make_workspace(tmp_path / "work")
    monkeypatch.chdir(layout.root)
    assert run(monkeypatch, "export", "-o", tmp_path / "t", "--members", "second") == 0
    assert "t: 2 networks" in capfd.readouterr().out
    path = sound(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "predict", "t", path) == 0
    assert "not measured of this part" in capfd.readouterr().err
    assert run(monkeypatch, "export", "-o", tmp_path / "u") == 2
    assert "run this in the folder of dvc.yaml" in capfd.readouterr().err
