"""What is answered for a recording, given the probabilities of the ensemble."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from earmark.ensemble.combining import mean_over_folds
from earmark.errors import UserError
from earmark.inference import predict
from earmark.inference.predict import Ensemble, Prediction, load_ensemble
from earmark.layout import Layout
from earmark.params import Runtime
from earmark.sound.decoding import decode
from earmark.sound.unusable import UnusableAudio
from earmark.store import write_json
from tests.waveforms import tone

TAGS = ["bark", "bell", "cello"]
COMBINED = np.array([0.1, 0.64, 0.26])


def metadata(**changes) -> dict:
    usual = {
        "tags": TAGS,
        "is_multi_label": False,
        "temperature": 1.0,
        "preparation": {"rejection_threshold": 0.0},
    }
    return usual | changes


def predicted(**changes) -> Prediction:
    return Prediction.of(COMBINED, metadata(**changes), clip="a.wav", n_crops=3)


def test_the_likeliest_tag_is_the_answer():
    prediction = predicted()
    assert prediction.answer == ["bell"]
    assert prediction.tags == ["bell", "cello", "bark"]
    assert prediction.probabilities == pytest.approx([0.64, 0.26, 0.1])
    assert prediction.line(2) == "a.wav: bell 0.64  | cello 0.26"
    assert prediction.line(1) == "a.wav: bell 0.64"


def test_probabilities_are_tempered_and_their_order_stays():
    prediction = predicted(temperature=2.0)
    expected = np.sqrt([0.64, 0.26, 0.1]) / np.sqrt([0.64, 0.26, 0.1]).sum()
    assert prediction.probabilities == pytest.approx(expected)
    assert prediction.tags == ["bell", "cello", "bark"]


def judged(confidence: float, **changes) -> dict:
    """What was measured of 80 clips of which 0.7 are right; the error is the difference."""
    limits = {"ece_if_calibrated": 0.06, "ece_chance_limit": 0.09}
    values = {"ece": abs(confidence - 0.7), "confidence": confidence, "share_right": 0.7}
    return {"n_clips": 80, **values, **limits, **changes}


def test_the_claim_of_calibration_is_what_was_measured(tmp_path):
    layout = Layout(tmp_path)
    of_one = judged(0.75, n_folds=3, n_unlabelled=0)
    write_json(layout.ensemble / "ensemble.json", {"temperature": 2.0, "calibration": of_one})
    line = Ensemble(None, layout).calibration()
    assert line.startswith("on 80 validation clips, calibrated within chance (")
    assert "the mean over folds, shown here, is less confident" in line
    measured = {"temperature": 2.0, "test": judged(0.9, n_clips=160)}
    write_json(layout.metrics / "calibration.json", measured)
    line = Ensemble(None, layout).calibration()
    assert line.startswith("on 160 test clips, overconfident by 0.200 (")
    write_json(
        layout.metrics / "calibration.json", measured | {"temperature": 1.9}
    )  # of a past run
    assert "validation" in Ensemble(None, layout).calibration()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_an_unconfident_answer_is_unknown_by_its_calibrated_probability(temperature):
    prediction = predicted(temperature=temperature, preparation={"rejection_threshold": 0.6})
    is_confident = temperature == 1.0  # tempered by 2, 0.64 becomes 0.49
    assert prediction.answer == (["bell"] if is_confident else None)
    assert prediction.to_json(3)["answer"] == (["bell"] if is_confident else "unknown")
    assert prediction.line(1).startswith(
        "a.wav: bell 0.64" if is_confident else "a.wav: unknown  | bell 0.49"
    )


def several(thresholds: list[float], **changes) -> Prediction:
    by_tag = dict(zip(TAGS, thresholds, strict=True))
    return predicted(is_multi_label=True, thresholds=by_tag, **changes)


def test_every_tag_from_its_own_threshold_upwards_is_answered():
    prediction = several([0.1, 0.7, 0.2])
    assert prediction.answer == ["cello", "bark"]
    assert prediction.line(3) == "a.wav: cello 0.26  bark 0.10  | bell 0.64"
    assert several([0.5, 0.9, 0.5]).answer == []
    assert several([0.5, 0.9, 0.5]).line(1) == "a.wav: none  | bell 0.64"
    unknown = several([0.1, 0.7, 0.2], preparation={"rejection_threshold": 0.65})
    assert unknown.answer is None


def test_thresholds_are_of_the_calibrated_probabilities():
    tempered = 0.75 / (1 + 0.75)  # odds of 0.36 : 0.64, their square root is 0.6 : 0.8
    prediction = Prediction.of(
        np.array([0.36]),
        metadata(
            tags=["bark"],
            is_multi_label=True,
            temperature=2.0,
            thresholds={"bark": tempered - 1e-6},
        ),
        clip="",
        n_crops=1,
    )
    assert prediction.probabilities == pytest.approx([tempered])
    assert prediction.answer == ["bark"]


class _StopError(Exception):
    """What comes after the waveform does not matter."""


@pytest.mark.parametrize(("normalise", "peak"), [(True, 32_767), (False, 3_276)])
def test_a_recording_is_as_loud_as_the_clips_that_were_trained_on(
    tmp_path, monkeypatch, normalise, peak
):
    soundfile.write(tmp_path / "a.wav", tone(500, seconds=0.5, rate=16_000, level=0.1), 16_000)
    trim = {"top_db": 60.0, "min_seconds": 0.1, "normalise": normalise}
    peaks = []

    def stop(waveform, **_):
        peaks.append(int(np.abs(waveform).max()))
        raise _StopError

    monkeypatch.setattr(predict, "WaveformFeatures", stop)
    preparation = {"sample_rate": 16_000, "trim": trim}
    monkeypatch.setattr(Ensemble, "metadata", metadata(preparation=preparation))
    with pytest.raises(_StopError):
        Ensemble(runtime=None, layout=Layout(tmp_path)).tag(tmp_path / "a.wav")
    assert peaks == [pytest.approx(peak, abs=2)]


def test_json_holds_the_answer_and_the_likeliest_tags():
    assert predicted().to_json(2) == {
        "clip": "a.wav",
        "answer": ["bell"],
        "tags": {"bell": pytest.approx(0.64), "cello": pytest.approx(0.26)},
        "crops": 3,
    }


def test_an_ensemble_that_is_not_there_or_too_old_is_refused(tmp_path):
    layout = Layout(tmp_path)
    runtime = Runtime(
        threads=1,
        workers=1,
        device="cpu",
        precision="float32",
        channels_last=False,
        checkpoint_seconds=60,
    )
    with pytest.raises(UserError, match="no trained ensemble here; run `dvc repro`"):
        load_ensemble(runtime, layout)
    write_json(layout.ensemble / "ensemble.json", {"tags": TAGS})
    with pytest.raises(UserError, match="made by an older earmark"):
        load_ensemble(runtime, layout)


@pytest.mark.parametrize("fold_mean", ["arithmetic", "geometric"])
def test_the_networks_of_the_folds_are_joined_as_when_they_were_scored(
    monkeypatch, tmp_path, fold_mean
):
    by_fold = {"0": np.array([0.9, 0.05, 0.05]), "1": np.array([0.2, 0.4, 0.4])}
    monkeypatch.setattr(predict, "decode", lambda *_, **__: SimpleNamespace(waveform=None))
    monkeypatch.setattr(
        predict, "trim", lambda *_, **__: SimpleNamespace(waveform=np.zeros(9), sha256="")
    )
    monkeypatch.setattr(predict, "rows_read", lambda *_: None)
    monkeypatch.setattr(predict, "tag_clip", lambda tagger, *_, **__: (by_fold[tagger], 1))
    preparation = {"sample_rate": 44_100, "trim": {}, "rejection_threshold": 0.0}
    known = metadata(weights={"m": 1.0}, fold_mean=fold_mean, preparation=preparation)
    known["aggregation"] = {"m": "mean"}
    ensemble = predict.Ensemble(None, Layout(tmp_path))
    ensemble.__dict__.update(
        metadata=known, device=None, networks={"m": {fold: (fold, None) for fold in by_fold}}
    )
    prediction = ensemble.tag(tmp_path / "a.wav")
    rows = {fold: row[np.newaxis] for fold, row in by_fold.items()}
    scored = mean_over_folds(rows, fold_mean=fold_mean)[0]
    assert dict(zip(prediction.tags, prediction.probabilities, strict=True)) == pytest.approx(
        dict(zip(TAGS, scored, strict=True))
    )
    assert (scored[0] > 0.58) == (fold_mean == "geometric")


def test_recordings_of_a_folder_are_found_by_any_name_and_folders_are_none(tmp_path):
    latin = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "folder.wav" / "a.wav").touch()
    (tmp_path / "folder.wav" / "up").symlink_to("..")
    (tmp_path / latin).touch()
    found = predict.recordings([tmp_path])
    assert found == ([tmp_path / latin, tmp_path / "folder.wav" / "a.wav"], [])


def test_paths_that_name_no_recording_do_not_stop_the_others(tmp_path, monkeypatch):
    (tmp_path / "some" / "shut").mkdir(parents=True)
    (tmp_path / "some" / "a.wav").touch()
    (tmp_path / "empty").mkdir()
    scandir = os.scandir

    def refusing(path):  # a test that runs as root can read everything
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)
    long, address = tmp_path / ("x" * 300 + ".wav"), Path("https://example.com/a.wav")
    found, problems = predict.recordings([long, tmp_path / "empty", address, tmp_path / "some"])
    assert found == [long, tmp_path / "some" / "a.wav"]
    empty, at_example, shut = problems
    assert "no audio in it" in empty
    assert at_example.endswith("a.wav: is an address; download it first")
    assert shut.endswith("some/shut: cannot be read; run `chmod -R u+rX` on it")
    with pytest.raises(UnusableAudio) as caught:
        decode(long, sample_rate=16_000)
    line = predict.unusable_line(long, caught.value)
    assert line.startswith(f"{tmp_path}/xxx")
    assert line.count("x") < 70
    assert ": unreadable: File name too long; " in line


def student_in(layout, monkeypatch) -> predict.StudentTagger:
    """One that answers as COMBINED says."""
    monkeypatch.setattr(predict, "prepared", lambda *_: (None, "sha"))
    monkeypatch.setattr(predict, "rows_read", lambda *_: None)
    asked = predict.StudentTagger(None, layout)
    answering = {"aggregation": "mean", **metadata(temperature=2.0)}
    tagger = SimpleNamespace(tags=TAGS, metadata={"answering": answering})
    asked.__dict__.update(tagger=tagger, device=None)
    return asked


def test_the_student_alone_answers_at_its_own_temperature(monkeypatch, tmp_path):
    student = student_in(Layout(tmp_path), monkeypatch)
    keys = []

    def tag_clip(tagger, *_, member, fold, sha256, **__):
        keys.append((tagger, member, fold, sha256))
        return COMBINED, 4

    monkeypatch.setattr(predict, "tag_clip", tag_clip)
    prediction = student.tag(tmp_path / "a.wav")
    expected = np.sqrt([0.64, 0.26, 0.1]) / np.sqrt([0.64, 0.26, 0.1]).sum()
    assert prediction.probabilities == pytest.approx(expected)
    assert (prediction.answer, prediction.n_crops) == (["bell"], 4)
    assert keys == [(student.tagger, "student", "all", "sha")]


def test_what_is_claimed_of_the_students_probabilities_was_measured_of_this_student(
    monkeypatch, tmp_path
):
    layout = Layout(tmp_path)
    student = student_in(layout, monkeypatch)
    assert "not measured" in student.calibration()
    scores = {"student": {"temperature": 2.0, "calibration": judged(0.9)}}
    write_json(layout.metrics / "scores.json", scores)
    assert student.calibration().startswith("of the student, on 80 test clips, overconfident by")
    scores["student"]["temperature"] = 1.0  # of a past run
    write_json(layout.metrics / "scores.json", scores)
    assert "not measured" in student.calibration()


def test_a_student_that_is_not_there_says_how_to_have_one(tmp_path):
    with pytest.raises(UserError, match=r"no trained student here; give params\.yaml one"):
        predict.load_student(None, Layout(tmp_path))
