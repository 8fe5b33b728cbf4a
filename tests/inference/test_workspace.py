"""The taggers of a workspace: what is refused, and what is claimed of their probabilities."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.errors import UserError
from earmark.evaluation.predictions import ENSEMBLE
from earmark.inference.workspace import (
    ensemble_rules,
    load_ensemble,
    load_student,
    student_rules,
)
from earmark.layout import Layout
from earmark.records import read_json, write_json
from earmark.sound.unusable import UnusableAudio
from tests.inference.workspaces import (
    JUDGED,
    RATE,
    RUNTIME,
    TAGS,
    ensemble_metadata,
    fitted_segments,
    make_workspace,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    write_json(layout.plan, {"members": {}, "folds": ["0", "1"]})
    write_json(layout.ensemble / "ensemble.json", ensemble_metadata())
    return layout


def judged(confidence: float) -> dict:
    """What was measured of 80 clips of which 0.7 are right; the error is the difference."""
    return {**JUDGED, "confidence": confidence, "ece": abs(confidence - 0.7)}


def test_the_claim_of_calibration_is_what_was_measured(layout):
    line = ensemble_rules(layout).clip.calibration
    assert line.startswith("on 80 validation clips, calibrated within chance (")
    assert line.endswith("the mean over folds, shown here, is not measured")
    measured = {"temperature": 0.5, "test": {**judged(0.9), "n_clips": 160}}
    write_json(layout.metrics / "calibration.json", measured)
    line = ensemble_rules(layout).clip.calibration
    assert line.startswith("on 160 test clips, overconfident by 0.200 (")
    of_a_past_run = measured | {"temperature": 1.9}
    write_json(layout.metrics / "calibration.json", of_a_past_run)
    assert "validation" in ensemble_rules(layout).clip.calibration


def test_clips_and_segments_have_an_estimator_of_their_own(layout):
    assert ensemble_rules(layout).segment is None
    write_json(layout.timeline / "timeline.json", fitted_segments())
    rules = ensemble_rules(layout)
    assert (rules.clip.temperature, rules.segment.temperature) == (0.5, 0.6)
    assert (rules.clip.rejection_threshold, rules.segment.rejection_threshold) == (0.0, 0.3)
    assert (rules.windows.window_seconds, rules.windows.hop_seconds) == (0.5, 0.25)
    assert rules.segment.calibration.startswith("on segments of 80 validation clips, calibrated")


def test_members_without_weight_are_left_out(layout):
    rules = ensemble_rules(layout)
    assert rules.members == {"first": ["0", "1"], "second": ["0", "1"]}
    assert rules.weights == {"first": 0.75, "second": 0.25}


def test_an_ensemble_that_is_not_there_or_too_old_is_refused(tmp_path):
    layout = Layout(tmp_path)
    with pytest.raises(UserError, match="no trained ensemble here; run `dvc repro`"):
        load_ensemble(RUNTIME, layout)
    write_json(layout.ensemble / "ensemble.json", {"tags": TAGS})
    with pytest.raises(UserError, match="made by an older earmark"):
        load_ensemble(RUNTIME, layout)


def test_a_part_of_the_ensemble_says_that_it_was_not_measured(layout):
    write_json(layout.timeline / "timeline.json", fitted_segments())
    rules = ensemble_rules(layout)
    part = rules.part(["second"], ["1"])
    assert (part.name, part.members, part.weights) == (
        "second",
        {"second": ["1"]},
        {"second": 0.25},
    )
    assert part.clip.calibration.startswith("not measured of this part of the ensemble, whose")
    assert (part.clip.temperature, part.segment.temperature) == pytest.approx((1.2, 0.6 * 2.4))
    assert rules.part(["second"]).clip.temperature == pytest.approx(1.2 * 0.5)
    assert rules.part([], ["0"]).clip.temperature == rules.clip.temperature
    assert rules.part(["first", "second"]) is rules
    with pytest.raises(UserError, match="member third: there is none; there are first, second"):
        rules.part(["third"])
    with pytest.raises(UserError, match="fold 7: there is none"):
        rules.part([], ["7"])


@pytest.fixture
def taught(tmp_path: Path) -> Layout:
    """A workspace with a student, of temperature 2 where the ensemble has 0.5."""
    layout = make_workspace(tmp_path)
    folder = layout.model("first", "0")
    answering = {
        "aggregation": "mean",
        "is_multi_label": False,
        "temperature": 2.0,
        "preparation": ensemble_metadata()["preparation"],
    }
    student = layout.model("student", "all")
    student.mkdir(parents=True)
    (student / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    description = {**read_json(folder / "model.json"), "answering": answering}
    write_json(student / "model.json", description)
    return layout


def test_the_student_answers_at_its_own_temperature(taught):
    rules = student_rules(taught)
    assert rules.members == {"student": ["all"]}
    assert rules.clip.temperature == 2.0
    assert rules.segment.temperature == pytest.approx(0.6 * 2.0 / 0.5)
    assert rules.segment.calibration.startswith("of the student's segments, not measured")
    assert load_student(RUNTIME, taught).tags == TAGS


def test_a_student_reads_short_recordings_together_and_answers_as_for_each_alone(taught, tmp_path):
    student, rng = load_student(RUNTIME, taught), np.random.default_rng(3)
    paths: list[Path] = []
    for i in range(19):
        paths.append(tmp_path / f"{i}.wav")
        soundfile.write(paths[-1], rng.normal(0, 0.1, RATE * (1 + i % 4) // 2), RATE)
    paths[7].write_bytes(b"no sound")
    shapes = []
    network = student.networks["student"]["all"][0].network
    network.register_forward_pre_hook(lambda _, given: shapes.append(len(given[0])))
    together = list(student.tag_each(paths))
    n_calls = len(shapes)
    assert n_calls < 8, "crops of many clips go through it at once"
    for path, answer in zip(paths, together, strict=True):
        if path == paths[7]:
            assert isinstance(answer, UnusableAudio)
            continue
        alone = student.tag(path)
        assert (answer.clip, answer.seconds, answer.n_crops) == (
            *(alone.clip, alone.seconds),
            alone.n_crops,
        )
        assert answer.tags[0] == alone.tags[0]
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_the_ensemble_reads_each_recording_alone_to_the_bit(tmp_path):
    layout = make_workspace(tmp_path)
    means = dict.fromkeys(("first", "second", "unused"), "mean")
    fitted = {name: {"mean": {"temperature": 0.8}} for name in means}
    metadata = ensemble_metadata(aggregation=means, aggregations=fitted)
    write_json(layout.ensemble / "ensemble.json", metadata)
    ensemble = load_ensemble(RUNTIME, layout)
    calls = []
    network = ensemble.networks["first"]["0"][0].network
    network.register_forward_pre_hook(lambda *_: calls.append(1))
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path in paths:
        samples = np.random.default_rng(len(path.name)).normal(0, 0.1, RATE)
        soundfile.write(path, samples, RATE)
    together = list(ensemble.tag_each(paths))
    assert len(calls) == len(paths)
    assert together == [ensemble.tag(path) for path in paths]


def test_what_is_claimed_of_the_students_probabilities_was_measured_of_this_student(taught):
    assert "not measured" in student_rules(taught).clip.calibration
    scores = {"student": {"temperature": 2.0, "calibration": judged(0.9)}, ENSEMBLE: {}}
    write_json(taught.metrics / "scores.json", scores)
    line = student_rules(taught).clip.calibration
    assert line.startswith("of the student, on 80 test clips, overconfident by")
    scores["student"]["temperature"] = 1.0  # of a past run
    write_json(taught.metrics / "scores.json", scores)
    assert "not measured" in student_rules(taught).clip.calibration


def test_a_student_that_is_not_there_says_how_to_have_one(tmp_path):
    with pytest.raises(UserError, match=r"no trained student here; give params\.yaml one"):
        load_student(RUNTIME, Layout(tmp_path))
