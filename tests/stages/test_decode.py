"""Decode, trim and split on a small corpus of good and bad recordings."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from earmark.corpora.quarantine import COLUMNS as QUARANTINE_COLUMNS
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import parse_params, read_yaml
from earmark.records import read_json, read_table
from earmark.settings.profiles import overlay
from earmark.sound.samples import as_float, as_int16
from earmark.sound.trimmed_clips import TrimmedClips
from earmark.spool import Scratch
from earmark.store import Store
from stages import class_mixing, decode, split, trim
from tests import waveforms
from tests.source_graph import ROOT

RATE = 16000
BAD = {
    "cat/cut.wav": "truncated",
    "cat/empty.wav": "empty",
    "cat/gone.wav": "missing",
    "dog/nan.wav": "not_finite",
    "dog/silent.wav": "silent",
    "dog/text.wav": "unreadable",
}
GOOD = [f"{label}/{n}.wav" for label in ("cat", "dog") for n in range(4)]


def tone(seconds: float, hertz: float, *, rate: int = RATE) -> NDArray[Any]:
    return waveforms.tone(hertz, seconds=seconds, rate=rate)


def write_corpus(root: Path) -> None:
    for folder in ("cat", "dog"):
        (root / folder).mkdir(parents=True)
    silence = np.zeros(RATE // 5)
    for number, name in enumerate(GOOD):
        sound = np.concatenate([silence, tone(0.3, 200 + 50 * number), silence])
        soundfile.write(root / name, sound, RATE, subtype="PCM_16")
    copied, rate = soundfile.read(root / "dog" / "0.wav", dtype="int16")
    soundfile.write(root / "dog" / "copy.flac", copied, rate)
    both = tone(0.4, 300, rate=48000)
    soundfile.write(root / "cat" / "stereo.flac", np.stack([both, both / 2], axis=1), 48000)
    soundfile.write(root / "cat" / "short.wav", tone(0.05, 700), RATE)
    whole = (root / "cat" / "0.wav").read_bytes()
    (root / "cat" / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (root / "cat" / "empty.wav").touch()
    (root / "dog" / "text.wav").write_text("not a sound, whatever the name says\n" * 20)
    nan = np.array([0.1, np.nan, 0.2] * 500, np.float32)
    soundfile.write(root / "dog" / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(root / "dog" / "silent.wav", np.zeros(RATE), RATE)
    names = [*GOOD, "dog/copy.flac", "cat/stereo.flac", "cat/short.wav", *BAD]
    test = {"dog/3.wav", "cat/3.wav", "dog/silent.wav"}
    lines = [f"{name},{name[:3]},{'test' if name in test else 'train'}" for name in names]
    (root / "labels.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")


def params_of(root: str, **changes: dict[str, Any]) -> Params:
    raw = read_yaml(ROOT / "profiles" / "base.yaml")
    raw["corpus"]["label_corrections"] = str(ROOT / "profiles" / "no_corrections.csv")
    overlay(raw, read_yaml(ROOT / "profiles" / "demo.yaml"))
    small = {
        "corpus": {
            "adapter": "folder",
            "root": root,
            "table": "labels.csv",
            "max_quarantined": 0.5,
        },
        "decode": {"sample_rate": RATE, "shard_seconds": 2.0},
        "features": {"logmel128": {"f_max_hz": 8000.0}},
        "cv": {"k": 2},
        "folds": [0, 1],
    }
    overlay(raw, small)
    overlay(raw, changes)
    params, problems = parse_params(raw, "params.yaml")
    assert params is not None, problems
    return params


def run_all(root: Path, workers: int) -> Layout:
    layout = Layout(root)
    write_corpus(root / "recordings")
    params = params_of("recordings", runtime={"workers": workers})
    for stage in (decode, trim, split):
        stage.run(params, layout)
    return layout


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return run_all(tmp_path_factory.mktemp("done"), workers=1)


def test_the_quarantine_says_what_is_wrong_with_each_bad_file_and_how_to_fix_it(done):
    quarantine = read_table(done.decoded / "quarantine.parquet")
    assert list(quarantine.columns) == QUARANTINE_COLUMNS
    assert dict(zip(quarantine["clip"], quarantine["reason"], strict=True)) == BAD
    assert set(quarantine.loc[quarantine["split"] == "test", "clip"]) == {"dog/silent.wav"}
    for clip, message in zip(quarantine["clip"], quarantine["message"], strict=True):
        assert message.startswith(f"{Path(clip).name}: ")
        assert "; " in message


def test_the_metrics_count_what_happened(done):
    assert read_json(done.metrics / "decode.json") == {
        "clips": 17,
        "decoded": 11,
        "quarantined": 6,
        "quarantined_by_reason": dict.fromkeys(sorted(BAD.values()), 1),
        "equal_recordings": 1,
        "equal_in_train_and_test": 0,
    }


def test_the_clips_table_keeps_all_clips_and_flags_the_quarantined(done):
    clips = read_table(done.clips)
    assert set(clips.loc[clips["quarantined"], "clip"]) == set(BAD)
    assert len(clips) == 17


def test_decoded_clips_are_in_the_order_of_the_table_at_one_rate(done):
    store = Store.open(done.decoded)
    clips = read_table(done.clips)
    assert list(store.index["clip"]) == list(clips.loc[~clips["quarantined"], "clip"])
    assert list(store.index["split"]) == list(clips.loc[~clips["quarantined"], "split"])
    assert store.metadata["sample_rate"] == RATE
    seconds = [len(shard) / RATE for shard in store.shards]
    assert seconds == pytest.approx([2.1, 2.1, 2.1, 0.45])  # closed by the clip that fills it
    index = store.index.set_index("clip")
    assert index.loc["dog/copy.flac", "equal_to"] == "dog/0.wav"
    assert (index["equal_to"].drop("dog/copy.flac") == "").all()
    stereo = index.loc["cat/stereo.flac"]
    assert (stereo["native_sample_rate"], stereo["channels"]) == (48000, 2)
    assert stereo["seconds"] == pytest.approx(0.4, abs=1e-3)
    assert stereo["peak"] == pytest.approx(0.375, abs=0.01)  # the mean of 0.5 and 0.25
    position = list(store.index["clip"]).index("cat/0.wav")
    original = soundfile.read(done.root / "recordings" / "cat" / "0.wav", dtype="int16")[0]
    np.testing.assert_array_equal(store.rows(position), original)


def test_trimming_cuts_the_ends_alone_and_brings_the_peak_to_full_scale(done):
    decoded, trimmed = Store.open(done.decoded), TrimmedClips.open(done.trimmed, done.decoded)
    for column in ("clip", "split"):
        assert list(trimmed.index[column]) == list(decoded.index[column])
    entries = trimmed.index[["clip", "trimmed_start"]].itertuples(index=False, name=None)
    for position, (clip, start) in enumerate(entries):
        before, after = (
            w.astype(float) for w in (decoded.rows(position), trimmed.waveform(position))
        )
        assert np.abs(after).max() == 32767
        kept = before[start : start + len(after)]
        np.testing.assert_allclose(after, kept * 32767 / np.abs(before).max(), atol=0.51)
        if clip in GOOD:
            assert 0.3 <= len(after) / RATE < 0.6
            assert start > 0
        outside = [before[:start], before[start + len(after) :]]
        assert np.abs(np.concatenate(outside)).max(initial=0) < 40  # 60 dB under the peak


def test_a_clip_that_would_be_too_short_is_kept_whole_and_flagged(done):
    index = read_table(done.trimmed / "index.parquet").set_index("clip")
    assert list(index.index[index["kept_whole"]]) == ["cat/short.wav"]
    assert index.loc["cat/short.wav", "length"] == 0.05 * RATE


def test_folds_hold_every_usable_clip_and_no_quarantined_one(done):
    folds = read_table(done.folds).set_index("clip")
    clips = read_table(done.clips).set_index("clip")
    assert set(folds.index) == set(clips.index[~clips["quarantined"]])
    names = [name for name in folds.columns if name.startswith("fold_")]
    assert set(names) >= {"fold_0", "fold_1"}
    is_test = clips["split"][folds.index] == "test"
    assert (folds.loc[is_test, names] == "test").all(axis=None)
    training = folds.loc[~is_test, names]
    assert training.isin(["train", "validation"]).all(axis=None)
    assert ((training == "validation").sum(axis=1) == 1).all()


def test_one_and_two_workers_write_the_same_bytes(done, tmp_path):
    other = run_all(tmp_path, workers=2)
    files = [path for path in sorted(done.root.glob("[dm]*/**/*")) if path.is_file()]
    assert len(files) >= 12
    for path in files:
        twin = other.root / path.relative_to(done.root)
        assert twin.read_bytes() == path.read_bytes(), path.name


def test_too_many_bad_files_are_named_and_nothing_is_written(tmp_path):
    layout = Layout(tmp_path)
    write_corpus(tmp_path / "recordings")
    params = params_of("recordings", corpus={"max_quarantined": 0.3}, runtime={"workers": 1})
    with pytest.raises(UserError) as caught:
        decode.run(params, layout)
    head, *named = caught.value.problems
    listed = layout.home / "quarantine.csv"
    assert head.startswith("6 of 17 clips are unusable (1 truncated, 1 empty, ")
    assert f"over the limit 30.0%; fix the files that {listed} lists" in head
    assert sorted(line.split(":")[0] for line in named) == sorted(BAD)
    assert [path for path in tmp_path.glob("*/*") if path.parent.name != "recordings"] == [listed]


def test_the_list_of_unusable_files_is_whole_however_many_there_are(tmp_path):
    (tmp_path / "recordings").mkdir()
    names = [f"{n}.wav" for n in range(40)]
    for n, name in enumerate(names):
        if n < 4:
            soundfile.write(tmp_path / "recordings" / name, tone(0.2, 300 + n), RATE)
        else:
            (tmp_path / "recordings" / name).write_text("<!DOCTYPE html><title>404</title>")
    lines = [f"{name},{'cat' if n % 2 else 'dog'}" for n, name in enumerate(names)]
    with pytest.raises(UserError) as caught:
        decoded_from(tmp_path, ["path,label", *lines])
    head, *shown = caught.value.problems
    assert head.startswith("36 of 40 clips are unusable (36 unreadable), over the limit 50.0%")
    assert len(shown) == 11
    assert shown[0] == "4.wav: 4.wav: is a web page; fetch the recording again, or leave it out"
    assert shown[-1].startswith("and 26 more in ")
    listed = pd.read_csv(shown[-1].removeprefix("and 26 more in "))
    assert listed["clip"].tolist() == names[4:]
    assert list(listed.columns) == QUARANTINE_COLUMNS


def test_a_table_that_is_wrong_ends_the_stage_before_anything_is_decoded(tmp_path):
    write_corpus(tmp_path / "recordings")
    with pytest.raises(UserError, match=r"cat \(8\), dog \(6\): fewer clips than 9 folds; add"):
        decode.run(params_of("recordings", cv={"k": 9}), Layout(tmp_path))
    assert not (tmp_path / "data").exists()


def test_the_split_names_a_class_that_is_wholly_quarantined(done, tmp_path):
    clips = read_table(done.clips)
    gone = clips.assign(quarantined=clips["quarantined"] | (clips["label"] == "cat"))
    layout = Layout(tmp_path)
    layout.data.mkdir()
    pd.DataFrame(gone).to_parquet(layout.clips)
    with pytest.raises(UserError, match=r"class cat: all of its clips are in quarantine.*; fix"):
        split.run(params_of("recordings"), layout)


def test_equal_recordings_stay_in_one_fold_and_are_marked(done):
    clips = read_table(done.clips).set_index("clip")
    (pair,) = clips.index[clips["equal_to"] != ""]
    first = clips["equal_to"][pair]
    folds = read_table(done.folds).set_index("clip")
    columns = [name for name in folds.columns if name.startswith("fold_")]
    assert {pair, first} == {"dog/0.wav", "dog/copy.flac"}
    assert (folds.loc[pair, columns] == folds.loc[first, columns]).all()


def decoded_from(root: Path, lines: list[str], **changes: Any) -> Layout:
    """Decode a csv of recordings that the tests write beside it."""
    (root / "recordings" / "labels.csv").write_text("\n".join(lines) + "\n")
    layout = Layout(root)
    decode.run(params_of("recordings", runtime={"workers": 1}, **changes), layout)
    return layout


def test_excerpts_of_one_recording_are_clips_and_one_beyond_its_end_is_quarantined(tmp_path):
    (tmp_path / "recordings").mkdir()
    sound = np.concatenate([tone(1, 300), tone(1, 500), tone(1, 300)])
    for name in ("long.wav", "other.wav"):
        soundfile.write(tmp_path / "recordings" / name, sound, RATE, subtype="PCM_16")
    spans = ["0,1,cat", "1,2,dog", "2,,cat", "2.5,3.5,dog", "0,2,dog"]
    lines = ["path,start_seconds,end_seconds,label"]
    lines += [f"long.wav,{span}" for span in spans] + ["other.wav,1,2,dog", "other.wav,0,3,cat"]
    layout = decoded_from(tmp_path, lines)
    store = Store.open(layout.decoded)
    index = store.index.set_index("clip")
    whole = soundfile.read(tmp_path / "recordings" / "long.wav", dtype="int16")[0]
    np.testing.assert_array_equal(store.rows(1), whole[RATE : 2 * RATE])
    assert index["seconds"].tolist() == [1.0, 1.0, 1.0, 2.0, 1.0, 3.0]
    assert index.loc["other.wav@1-2", "equal_to"] == "long.wav@1-2"
    (bad,) = read_table(layout.decoded / "quarantine.parquet").itertuples()
    assert (bad.clip, bad.reason) == ("long.wav@2.5-3.5", "beyond_end")
    clips = read_table(layout.clips)
    assert clips["start_seconds"].tolist() == [0, 1, 2, 2.5, 0, 1, 0]


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_of_a_file_decode_it_once_in_whatever_order_they_stand(tmp_path, monkeypatch, workers):
    names = ["a.wav", "b.flac", "c.wav"]
    rows = [f"{name},{start},{start + 1},cat" for name in names for start in (0, 1, 0.5, 2)]
    rows += [f"{name},,,dog" for name in names]
    opened = tmp_path / "opened.txt"  # the workers are other processes
    whole = soundfile.SoundFile

    def counted(path, *args, **options):
        with opened.open("a") as file:
            file.write(f"{Path(os.fsdecode(path)).name}\n")
        return whole(path, *args, **options)

    def decoded(folder, rows):
        for name in names:
            path = folder / "recordings" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, waveforms.noise(3 * RATE, key=name), RATE)
        lines = ["path,start_seconds,end_seconds,label", *rows]
        (folder / "recordings" / "labels.csv").write_text("\n".join(lines) + "\n")
        layout = Layout(folder)
        with monkeypatch.context() as patch:
            patch.setattr(soundfile, "SoundFile", counted)
            decode.run(params_of("recordings", runtime={"workers": workers}), layout)
        assert not (layout.decoded / "scratch").exists()
        return Store.open(layout.decoded)

    ordered = decoded(tmp_path / "ordered", rows)
    opened.unlink()
    shuffled = decoded(
        tmp_path / "shuffled", [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    )
    assert sorted(opened.read_text().split()) == names
    clips = read_table(tmp_path / "shuffled" / "data" / "clips.parquet")["clip"]
    assert list(shuffled.index["clip"]) == list(clips) != list(ordered.index["clip"])
    for position, clip in enumerate(ordered.index["clip"]):
        twin = shuffled.rows(list(clips).index(clip))
        np.testing.assert_array_equal(twin, ordered.rows(position))


def test_clips_that_pass_between_processes_in_files_come_out_the_same(done, tmp_path, monkeypatch):
    whole = Scratch.__init__

    def small(self, folder, **options):
        whole(self, folder, **options | {"memory_bytes": 1000})

    monkeypatch.setattr(Scratch, "__init__", small)
    monkeypatch.setattr("earmark.spool._BLOCK_BYTES", 3000)
    other = run_all(tmp_path, workers=2)
    for path in (path for path in sorted(done.data.glob("**/*")) if path.is_file()):
        assert (other.root / path.relative_to(done.root)).read_bytes() == path.read_bytes(), path
    assert not list(other.data.glob("**/scratch"))


def test_several_tags_per_clip_and_aux_labels_reach_the_folds(tmp_path):
    names = [f"{n}.wav" for n in range(8)]
    (tmp_path / "recordings").mkdir()
    for number, name in enumerate(names):
        soundfile.write(tmp_path / "recordings" / name, tone(0.2, 200 + 50 * number), RATE)
    labels = ["cat;dog", "cat", "dog", "dog;cow"] * 2
    lines = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    layout = decoded_from(tmp_path, ["path,label", *lines])
    split.run(params_of("recordings"), layout)
    assert read_table(layout.folds)["label"].tolist() == labels
    aux_labels = ["path,label,aux_label"] + [
        f"{n},{'ab'[i % 2]},{'xyz'[i % 3]}" for i, n in enumerate(names)
    ]
    layout = decoded_from(tmp_path, aux_labels)
    split.run(params_of("recordings"), layout)
    assert read_table(layout.folds)["aux_label"].tolist() == [line[-1] for line in aux_labels[1:]]


def test_the_split_names_a_tag_that_is_wholly_quarantined(done, tmp_path):
    clips = read_table(done.clips)
    rare = clips["label"].where(~clips["clip"].isin(BAD), clips["label"] + ";rare")
    layout = Layout(tmp_path)
    layout.data.mkdir()
    clips.assign(label=rare).to_parquet(layout.clips)
    with pytest.raises(UserError, match=r"class rare: all of its clips are in quarantine.*; fix"):
        split.run(params_of("recordings"), layout)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_mixture_is_at_full_scale_only_where_clips_are(tmp_path, normalise):
    layout = Layout(tmp_path)
    write_corpus(layout.root / "recordings")
    changes = {"trim": {"normalise": normalise}, "class_mixing": {"same_class": {"copies": 1}}}
    params = params_of("recordings", **changes)
    for stage in (decode, trim, split, class_mixing):
        stage.run(params, layout)
    trimmed, mixed = (
        TrimmedClips.open(layout.trimmed, layout.decoded),
        Store.open(layout.class_mixed),
    )
    for clips in (map(trimmed.waveform, range(len(trimmed))), map(mixed.rows, range(len(mixed)))):
        peaks = [int(np.abs(waveform.astype(int)).max()) for waveform in clips]
        assert all(peak >= 32_766 for peak in peaks) == normalise


@pytest.mark.slow
def test_classes_are_filled_with_pitches_by_librosa(done, tmp_path):
    pitch_shift = librosa.effects.pitch_shift  # loaded here, once, and not by every worker
    shutil.copytree(done.data, tmp_path / "data")
    layout = Layout(tmp_path)
    class_mixing.run(params_of("recordings", class_mixing={"pitch_fill": {"up_to": 6}}), layout)
    trimmed = TrimmedClips.open(layout.trimmed, layout.decoded)
    filled = Store.open(layout.class_mixed)
    line_of = {clip: line for line, clip in enumerate(trimmed.index["clip"])}
    assert len(filled) == 3  # there are 5 cats and 4 dogs to train on
    for line, (clip, drawn) in enumerate(filled.index[["clip", "drawn"]].to_numpy()):
        waveform = as_float(trimmed.waveform(line_of[clip]))
        semitones = json.loads(drawn)["semitones"]
        shifted = pitch_shift(waveform, sr=RATE, n_steps=semitones)
        expected = as_int16(shifted / max(1, np.abs(shifted).max()))
        assert semitones == round(semitones) != 0
        assert np.abs(filled.rows(line) - expected.astype(int)).max() <= 1


def test_a_clip_too_long_to_mix_is_named_with_what_to_do(done, monkeypatch):
    monkeypatch.setattr(class_mixing, "LONGEST_SECONDS", 0.4)
    params = params_of("recordings", class_mixing={"same_class": {"copies": 1}})
    match = r"clip (cat|dog)/.*: .* long, and clips above .* cannot be mixed; give it start_seconds"
    with pytest.raises(UserError, match=match):
        class_mixing.run(params, done)
    assert not done.class_mixed.exists()


def test_the_metrics_summarise_the_split(done):
    assert read_json(done.metrics / "split.json") == {
        "scheme": "stratified",
        "folds_are_official": False,
        "folds": ["0", "1"],
        "train_clips": 9,
        "test_clips": 2,
        "sources_of_several_clips": 1,  # dog/0.wav and its copy
        "sources_across_folds": 0,
        "equal_recordings_across_folds": 0,
        "sources_across_train_and_test": 0,
        "test_copies_dropped": 0,
    }


def class_folders(root: Path) -> None:
    """Two classes of three recordings each, one name of which is not UTF-8, and odd files."""
    latin = os.fsdecode(b"caf\xe9")
    for n, name in enumerate(["cat/1", "cat/2", f"cat/{latin}", "dog/1", "dog/2", "dog/3 %s\n"]):
        path = root / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(os.fsencode(path), tone(0.2, 300 + 50 * n), RATE)
    os.mkfifo(root / "dog" / "pipe.wav")
    (root / "dog" / "gone.wav").symlink_to("nowhere")
    (root / "all").symlink_to(".")


@pytest.mark.parametrize("workers", [1, 2])
def test_pipes_circles_and_odd_names_in_class_folders_end_in_the_tables(tmp_path, workers):
    class_folders(tmp_path / "recordings")
    params = params_of("recordings", corpus={"table": ""}, runtime={"workers": workers})
    layout = Layout(tmp_path)
    decode.run(params, layout)
    names = ["cat/1.wav", "cat/2.wav", r"cat/caf\xe9.wav"]
    names += ["dog/1.wav", "dog/2.wav", r"dog/3 %s\x0a.wav"]
    assert Store.open(layout.decoded).index["clip"].tolist() == names
    quarantine = pd.read_csv(layout.home / "quarantine.csv").set_index("clip")
    assert quarantine["reason"].to_dict() == {
        "dog/gone.wav": "missing",
        "dog/pipe.wav": "unreadable",
    }
    assert quarantine.loc["dog/pipe.wav", "message"].startswith("pipe.wav: is a pipe")


def test_links_out_of_the_corpus_are_refused_unless_they_are_allowed(tmp_path):
    class_folders(tmp_path / "elsewhere")
    (tmp_path / "recordings").mkdir()
    for folder in ("cat", "dog"):
        (tmp_path / "recordings" / folder).symlink_to(tmp_path / "elsewhere" / folder)
    refused = params_of("recordings", corpus={"table": ""}, runtime={"workers": 1})
    with pytest.raises(UserError, match=r"clip cat/1.wav: a link .* corpus.links_outside: true"):
        decode.run(refused, Layout(tmp_path))
    assert not (tmp_path / "data").exists()
    corpus = {"table": "", "links_outside": True}
    decode.run(params_of("recordings", corpus=corpus, runtime={"workers": 1}), Layout(tmp_path))
    assert len(Store.open(Layout(tmp_path).decoded).index) == 6


def test_a_quiet_float_recording_is_kept_with_its_gain_and_trimmed_to_full_scale(tmp_path):
    (tmp_path / "recordings").mkdir()
    for n in range(4):
        level = 1e-5 if n == 0 else 0.5
        sound = waveforms.tone(300 + n, seconds=0.3, rate=RATE, level=level)
        soundfile.write(tmp_path / "recordings" / f"{n}.wav", sound, RATE, subtype="FLOAT")
    lines = ["path,label", *(f"{n}.wav,{'cat' if n % 2 else 'dog'}" for n in range(4))]
    layout = decoded_from(tmp_path, lines)
    index = Store.open(layout.decoded).index
    assert index["gain"].tolist() == [2.0**15, 1, 1, 1]
    assert index["peak"].tolist() == pytest.approx([1e-5, 0.5, 0.5, 0.5], rel=0.01)
    trim.run(params_of("recordings", runtime={"workers": 1}), layout)
    trimmed = TrimmedClips.open(layout.trimmed, layout.decoded)
    assert [int(np.abs(trimmed.waveform(n)).max()) for n in range(4)] == [32767] * 4


@pytest.mark.slow
def test_dvc_leaves_names_out_that_it_cannot_hash(tmp_path):
    for command in ("git init -q", "dvc init -q"):
        subprocess.run(command.split(), cwd=tmp_path, check=True, timeout=120)
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in (b"caf\xe9.wav", "caf\u00e9 \U0001f600.wav".encode(), b"new\nline.wav"):
        (folder / os.fsdecode(name)).write_bytes(b"RIFF")
    stages = "stages: {d: {cmd: touch done, deps: [recordings], outs: [done]}}"
    (tmp_path / "dvc.yaml").write_text(stages)
    subprocess.run(["dvc", "repro", "-q"], cwd=tmp_path, check=True, timeout=120)
    assert "nfiles: 2" in (tmp_path / "dvc.lock").read_text()
