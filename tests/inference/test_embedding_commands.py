"""`embed` and `search` as a user types them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earmark.inference import embedders
from earmark.inference.embedding_store import EmbeddingStore
from tests.inference.test_commands import run
from tests.inference.test_embedders import save
from tests.inference.workspaces import make_workspace, sound
from tests.processes import wait_until
from tests.source_graph import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; `in` has three recordings, one of which is none."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    sound(Path("in/a.wav"), key=1)
    Path("in/broken.wav").write_text("no sound")
    sound(Path("in/c.wav"), key=2, rate=44_100)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_recordings_go_into_a_folder_and_the_nearest_come_out(exported, monkeypatch, capfd):
    assert run(monkeypatch, "embed", exported, "in", "-o", "e") == 3
    assert pd.read_csv("e/errors.csv")["reason"].tolist() == ["unreadable"]
    store = EmbeddingStore.open(Path("e"))
    assert store.index["file"].unique().tolist() == ["in/a.wav", "in/c.wav"]
    assert len(store.values) == len(store.index) == 14
    capfd.readouterr()
    part = ("--start", 0.5, "--end", 1.0, "--top", 3)
    assert run(monkeypatch, "search", "e", "in/c.wav", *part, "--json", "-o", "n.csv") == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [rows[0][key] for key in ("file", "start_seconds", "end_seconds")] == [
        *("in/c.wav", 0.5, 1.0)
    ]
    assert rows[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert [row["similarity"] for row in rows] == sorted(r["similarity"] for r in rows)[::-1]
    assert pd.read_csv("n.csv").to_dict("records") == rows


@pytest.mark.usefixtures("folder")
def test_a_table_that_is_there_is_not_overwritten(exported, monkeypatch, capfd):
    assert run(monkeypatch, "embed", exported, "in/a.wav", "-o", "e") == 0
    Path("mine.csv").write_text("mine")
    for command in (("embed", exported, "in/a.wav"), ("search", "e", "in/a.wav")):
        assert run(monkeypatch, *command, "-o", "mine.csv") == 2
        assert "mine.csv: is there; name another file" in capfd.readouterr().err
        assert run(monkeypatch, *command, "-o", "no/x.csv") == 2
        assert "no is missing; make it" in capfd.readouterr().err
        assert Path("mine.csv").read_text() == "mine"
    assert run(monkeypatch, "search", "e", "in/a.wav", "-o", "mine.csv", "--overwrite") == 0
    assert len(pd.read_csv("mine.csv")) == 7


@pytest.mark.usefixtures("folder")
def test_a_damaged_description_of_embeddings_is_not_sent_to_restore(exported, monkeypatch, capfd):
    assert run(monkeypatch, "embed", exported, "in/a.wav", "-o", "e") == 0
    Path("e/embeddings.json").write_text("{")
    assert run(monkeypatch, "search", "e", "in/a.wav") == 1
    error = capfd.readouterr().err
    assert "delete the folder and embed again" in error
    assert "restore" not in error


def test_the_ensemble_of_a_workspace_embeds_as_its_bundle_does(
    folder, exported, monkeypatch, capfd
):
    layout = make_workspace(folder / "work")
    monkeypatch.chdir(layout.root)
    assert run(monkeypatch, "embed", "../in/a.wav", "-o", "e", "--member", "second") == 0
    assert run(monkeypatch, "search", "e", "../in/a.wav", "--top", 1) == 0
    assert "../in/a.wav 0." in capfd.readouterr().out
    # The bundle has the same network, wherever it lies.
    assert run(monkeypatch, "search", "e", "../in/a.wav", "--tagger", exported) == 0
    monkeypatch.setattr("earmark.inference.embedding_store.read_about", _with_other_weights)
    assert run(monkeypatch, "search", "e", "../in/a.wav") == 2
    error = capfd.readouterr().err
    assert "e: was made by another network (other weights); name its own by" in error


def _with_other_weights(folder: Path):
    about = json.loads((folder / "embeddings.json").read_text())
    about["identity"]["weights_sha256"] = "0" * 64
    return about


def test_published_weights_embed_and_are_found_again_where_they_moved(folder, monkeypatch, capfd):
    weights = save(folder, "mn")
    files = ("in/a.wav", "in/c.wav")
    assert run(monkeypatch, "embed", *files, "-o", "e", "--weights", weights, "--window", 1) == 0
    weights.rename(folder / "moved.st")
    assert run(monkeypatch, "search", "e", "in/a.wav") == 1
    assert "there is no such file" in capfd.readouterr().err
    assert run(monkeypatch, "search", "e", "in/a.wav", "--weights", "moved.st") == 0
    assert len(capfd.readouterr().out.splitlines()) == 4
    other = save(folder, "yamnet")
    assert run(monkeypatch, "search", "e", "in/a.wav", "--weights", other) == 2
    assert "was made by another network" in capfd.readouterr().err


def test_what_is_new_is_added_and_what_is_done_is_not_done_again(folder, monkeypatch, capfd):
    weights = save(folder, "mn")
    options = ("-o", "e", "--weights", weights)
    assert run(monkeypatch, "embed", "in/a.wav", *options) == 0
    before = np.load("e/embeddings.npy")
    decoded, decode = [], vars(embedders)["decode"]

    def counted(path, **rest):
        decoded.append(path.name)
        return decode(path, **rest)

    monkeypatch.setattr(embedders, "decode", counted)
    assert run(monkeypatch, "embed", "in", *options) == 3
    assert decoded == ["broken.wav", "c.wav"]
    assert "1 of 3 recordings are done already" in capfd.readouterr().err
    store = EmbeddingStore.open(Path("e"))
    np.testing.assert_array_equal(store.values[: len(before)], before)
    assert store.index["file"].unique().tolist() == ["in/a.wav", "in/c.wav"]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(folder, monkeypatch):
    weights = save(folder, "mn")
    for i in range(60):
        sound(Path(f"in/{i:02}.wav"), key=i, seconds=1.0)
    Path("in/broken.wav").unlink()
    command = [sys.executable, "-m", "earmark", "embed", "in", "-o", "e", "--weights", str(weights)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    files = Path("e/files.jsonl")
    assert wait_until(lambda: files.exists() and files.read_text().count("\n") > 3, seconds=60)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    if Path("e/index.parquet").exists():
        pytest.skip("it was done before it could be killed")
    n_done = files.read_text().count("\n") - 1
    assert run(monkeypatch, "embed", "in", "-o", "e", "--weights", weights) == 0
    assert run(monkeypatch, "embed", "in", "-o", "whole", "--weights", weights) == 0
    again, whole = EmbeddingStore.open(Path("e")), EmbeddingStore.open(Path("whole"))
    assert 3 <= n_done < 62
    np.testing.assert_array_equal(again.values, whole.values)
    pd.testing.assert_frame_equal(again.index, whole.index)


WRONG = {
    "tagger and weights": (["{tagger}", "in", "-o", "e", "--weights", "w"], "is a tagger already"),
    "member": (["in", "-o", "e", "--weights", "w", "--member", "x"], "--member: is of a tagger"),
    "pca": (["{tagger}", "in", "-o", "e", "--pca", "p"], "are for VGGish"),
    "no tagger": (["in", "-o", "e"], "no params.yaml in"),
    "no recording": (["{tagger}", "empty", "-o", "e"], "there is no recording to embed"),
    "window": (["{tagger}", "in", "-o", "e", "--window", "0"], "give a positive number"),
    "taken": (["{tagger}", "in", "-o", "in"], "holds no embeddings; name another"),
    "no folder": (["{tagger}", "in", "-o", "no/e"], "no is missing; make it"),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_ends_with_2_in_one_line(name, exported, monkeypatch, capfd):
    Path("empty").mkdir()
    arguments, message = WRONG[name]
    assert run(monkeypatch, "embed", *(one.format(tagger=exported) for one in arguments)) == 2
    error = capfd.readouterr().err
    assert message in error.replace("\n", " ")
    assert "Traceback" not in error


@pytest.mark.usefixtures("folder")
def test_a_search_that_cannot_be_is_refused(exported, monkeypatch, capfd):
    assert run(monkeypatch, "search", "in", "in/a.wav") == 2
    assert "no embeddings in it" in capfd.readouterr().err
    assert run(monkeypatch, "embed", exported, "in/a.wav", "-o", "e") == 0
    assert run(monkeypatch, "search", "e", "in/a.wav", "--start", 2, "--end", 1) == 2
    assert run(monkeypatch, "search", "e", "in/broken.wav") == 1
    error = capfd.readouterr().err
    assert "broken.wav: is a text" in error
    assert "Traceback" not in error
