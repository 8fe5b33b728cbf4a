"""Recordings without labels become rows and answers; clips of the corpus among them never do."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.corpora.unlabelled import unlabelled_recordings
from earmark.features import build
from earmark.features.extraction import extract
from earmark.inference import unlabelled
from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.unlabelled import (
    Sound,
    Summary,
    made,
    recorded,
    work_key,
    write_unlabelled,
)
from earmark.inference.workspace import load_ensemble
from earmark.records import read_table
from earmark.sound.made_clips import make, plan_made_clips
from earmark.sound.trimmed_clips import TrimmedClips, write_trimmed
from earmark.store import Store, StoreWriter
from tests.inference.workspaces import RATE, RUNTIME, TAGS, make_workspace, sound

LOGMEL = {"n_fft": 512, "hop_length": 256, "n_mels": 32, "f_min_hz": 0.0, "f_max_hz": 8000.0}
FEATURE = build("logmel", LOGMEL, sample_rate=RATE)


@pytest.fixture
def tagger(tmp_path: Path) -> RecordingTagger:
    tagger = load_ensemble(RUNTIME, make_workspace(tmp_path / "workspace"))
    softened = replace(tagger.rules.clip, temperature=20.0)  # else an answer is sure of one tag
    return replace(tagger, rules=replace(tagger.rules, clip=softened))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five recordings, three of them further down."""
    folder = tmp_path / "field"
    (folder / "a" / "b").mkdir(parents=True)
    for i, name in enumerate(("0.wav", "1.wav", "a/2.wav", "a/b/3.wav", "a/b/4.wav")):
        sound(folder / name, seconds=0.5 + 0.1 * i, key=i)
    return folder


def written(
    tmp_path: Path,
    folder: Path,
    tagger: RecordingTagger,
    *,
    made: Sequence[Sound] = (),
    known: Any = None,
    out: str = "out",
) -> Summary:
    return write_unlabelled(
        tmp_path / out,
        [*recorded(folder, unlabelled_recordings(folder)), *made],
        tagger,
        FEATURE,
        known=known or {},
        work=tmp_path / f"work of {out}",
    )


def test_each_has_the_rows_and_the_calibrated_answer_of_predict(tmp_path, folder, tagger):
    assert str(written(tmp_path, folder, tagger)) == "5 recordings for the student"
    store, answers = Store.open(tmp_path / "out"), read_table(tmp_path / "out/answers.parquet")
    assert list(store.index["clip"]) == [
        *("/0.wav", "/1.wav", "/a/2.wav", "/a/b/3.wav", "/a/b/4.wav")
    ]
    assert list(answers) == TAGS
    for i, name in enumerate(store.index["clip"]):
        path = folder / name[1:]
        prediction = tagger.tag(path)
        by_tag = dict(zip(prediction.tags, prediction.probabilities, strict=True))
        assert answers.iloc[i].to_dict() == pytest.approx(by_tag)
        heard = tagger.hear(path)
        assert np.array_equal(store.rows(i), extract(heard.waveform, FEATURE))


def test_what_sounds_as_a_clip_of_the_corpus_or_another_recording_is_left_out_and_told(
    tmp_path, folder, tagger
):
    samples, _ = soundfile.read(folder / "1.wav", dtype="float64")
    soundfile.write(folder / "z copy.flac", samples, RATE)
    (folder / "bad.wav").write_bytes(b"no sound")
    of_test_clip = tagger.hear(folder / "a/2.wav", with_digest=True).sha256
    summary = written(tmp_path, folder, tagger, known={of_test_clip: "test.wav"})
    assert summary == Summary(n_kept=4, n_made=0, n_of_corpus=1, n_copies=1, n_unusable=1)
    assert str(summary) == (
        "4 recordings for the student; left out: 1 clip of the corpus, 1 copy of others, 1 unusable"
    )
    left_out = dict(read_table(tmp_path / "out/left_out.parquet").to_numpy())
    assert left_out["/a/2.wav"] == "a clip of the corpus: test.wav"
    assert left_out["/z copy.flac"] == "a copy of: /1.wav"
    assert left_out["/bad.wav"] == "unreadable"
    kept = list(Store.open(tmp_path / "out").index["clip"])
    assert not set(kept) & set(left_out)
    assert len(read_table(tmp_path / "out/answers.parquet")) == len(kept)


@pytest.fixture
def corpus(tmp_path: Path) -> TrimmedClips:
    """Three clips: two of a tone, and one that is silent but for its end."""
    decoded = tmp_path / "decoded"
    with StoreWriter(decoded, row_shape=(), dtype="int16", metadata={"sample_rate": RATE}) as out:
        for i in range(2):
            tone = np.sin(np.arange(RATE) * 0.1 * (1 + i)) * 9000
            out.append(tone.astype(np.int16), clip=f"{i}.wav")
        out.append(np.r_[np.zeros(RATE), 9000].astype(np.int16), clip="late.wav")
    store = Store.open(decoded)
    rows = [
        {"clip": clip, "split": "train", "trimmed_start": 0, "length": n, "peak": 9000}
        for clip, n in store.index[["clip", "length"]].to_numpy()
    ]
    folder = tmp_path / "trimmed"
    write_trimmed(folder, [{**row, "kept_whole": False, "sha256": ""} for row in rows], store)
    return TrimmedClips.open(folder, decoded)


def test_made_clips_are_tagged_as_recordings_are_and_say_what_they_are_made_of(
    tmp_path, folder, tagger, corpus
):
    plan = plan_made_clips(["0.wav", "1.wav"], copies=2, seed=3)
    summary = written(tmp_path, folder, tagger, made=made(plan, corpus, tmp_path))
    assert str(summary) == "5 recordings and 4 made clips for the student"
    assert str(summary._replace(n_kept=0)) == "4 made clips for the student"
    assert str(Summary(0, 0, 0, 0, 0)) == "0 recordings for the student"
    store, answers = Store.open(tmp_path / "out"), read_table(tmp_path / "out/answers.parquet")
    assert store.index["variant"].tolist() == [""] * 5 + ["made"] * 4
    for i, clip in enumerate(plan, start=5):
        assert store.index["clip"][i] == clip.name
        values = json.loads(store.index["drawn"][i])
        samples = make(corpus.waveform(int(clip.clip[0])), RATE, values)
        heard = tagger.hear(samples, RATE)
        assert np.array_equal(store.rows(i), extract(heard.waveform, FEATURE))
        prediction = tagger.tag(samples, RATE)
        by_tag = dict(zip(prediction.tags, prediction.probabilities, strict=True))
        assert answers.iloc[i].to_dict() == pytest.approx(by_tag)


def test_a_made_clip_that_is_silent_is_left_out(tmp_path, tagger, corpus, caplog):
    none = tmp_path / "none.txt"
    none.touch()
    (clip,) = plan_made_clips(["late.wav"], copies=1, seed=3)
    beginning = {**clip.values, "start": 0.0, "left": 0.5}
    silent = made([clip._replace(values=beginning)], corpus, tmp_path)
    assert written(tmp_path, none, tagger, made=silent) == Summary(0, 0, 0, 0, 1)
    left_out = read_table(tmp_path / "out/left_out.parquet")
    assert left_out["clip"].tolist() == ["//1 of late.wav"]
    assert "unlabelled: //1 of late.wav: silent" in caplog.text


def test_a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(
    tmp_path, folder, tagger, monkeypatch
):
    monkeypatch.setattr(unlabelled, "BLOCK", 2)
    written(tmp_path, folder, tagger, out="whole")
    asked: list[str] = []
    ask = RecordingTagger.ask

    def counted(self: RecordingTagger, heard: Any) -> Any:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(heard.name)
        return ask(self, heard)

    monkeypatch.setattr(RecordingTagger, "ask", counted)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, folder, tagger)
    assert not (tmp_path / "out").exists()
    asked.clear()
    asked.extend("" for _ in range(4))  # no interrupt any more
    written(tmp_path, folder, tagger)
    assert len(asked) == 4 + 3, "of five, the two of the first block are kept"
    for name in ("rows-000.npy", "index.parquet", "answers.parquet", "left_out.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_work_is_of_these_files_these_networks_and_this_feature(folder, tagger):
    def key(**changes: Any) -> dict[str, Any]:
        known = {"feature": {"type": "logmel"}, "made": [], "code": "a", **changes}
        return work_key(folder, unlabelled_recordings(folder), tagger, known)

    before = key()
    assert key() == before
    assert key(code="b") != before
    assert key(feature={"type": "mfcc"}) != before
    assert key(made=plan_made_clips(["a"], copies=1, seed=1)) != before
    sound(folder / "0.wav", seconds=0.7, key=9)
    assert key() != before


def test_a_file_in_the_place_of_the_folder_is_no_recordings(tmp_path, tagger):
    none = tmp_path / "none.txt"
    none.touch()
    assert written(tmp_path, none, tagger) == Summary(0, 0, 0, 0, 0)
    assert len(Store.open(tmp_path / "out")) == 0
    assert read_table(tmp_path / "out/answers.parquet").shape == (0, len(TAGS))
