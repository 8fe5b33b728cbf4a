"""The taggers of a workspace: the ensemble of the last `dvc repro`, and its student."""

import hashlib
import json
from dataclasses import replace
from typing import Any

from earmark.corpora.stored_tables import read_plan
from earmark.ensemble.rules import Estimator, Rules, Windows
from earmark.errors import UserError
from earmark.evaluation.calibration import verdict
from earmark.evaluation.predictions import ENSEMBLE, METADATA, read_metadata
from earmark.inference.recording_tagger import RecordingTagger
from earmark.layout import Layout
from earmark.params import Runtime
from earmark.params.roster import ALL, STUDENT
from earmark.records import read_json
from earmark.taggers.description import read_description
from earmark.wording import counted

_OLD = "was made by an older earmark; run `dvc repro`"


def load_ensemble(runtime: Runtime, layout: Layout) -> RecordingTagger:
    """The ensemble of the last `dvc repro`.

    Args:
        runtime: where and how precisely its networks compute.

    Raises:
        UserError: nothing was trained here yet.
    """
    if not (layout.ensemble / METADATA).exists():
        raise UserError("there is no trained ensemble here; run `dvc repro`, or `dvc pull`")
    return _tagger(ensemble_rules(layout), runtime, layout)


def load_student(runtime: Runtime, layout: Layout) -> RecordingTagger:
    """The student of the last `dvc repro`.

    Args:
        runtime: where and how precisely its network computes.

    Raises:
        UserError: none was trained here yet.
    """
    if not layout.model(STUDENT, ALL).is_dir():
        fix = "give params.yaml one (docs/training.md), then run `dvc repro`"
        raise UserError(f"there is no trained student here; {fix}")
    return _tagger(student_rules(layout), runtime, layout)


def _tagger(rules: Rules, runtime: Runtime, layout: Layout) -> RecordingTagger:
    digest = _digest(rules, layout)
    return RecordingTagger(rules, layout.model, runtime, layout.scratch_folder, digest)


def _digest(rules: Rules, layout: Layout) -> str:
    """Of the rules, and of the networks by the checksums that stand beside their weights."""
    digest = hashlib.sha256(json.dumps(rules.to_json(), sort_keys=True).encode())
    for member, folds in sorted(rules.members.items()):
        for fold in folds:
            digest.update(read_description(layout.model(member, fold))["weights_sha256"].encode())
    return digest.hexdigest()


def ensemble_rules(layout: Layout) -> Rules:
    """By what rules the ensemble answers.

    Raises:
        UserError: an older earmark trained it.
    """
    metadata = read_metadata(layout.ensemble)
    preparation = metadata.get("preparation", {})
    is_known = {"fold_mean", "calibration"} <= metadata.keys()
    if not is_known or "normalise" not in preparation.get("trim", {}):
        raise UserError(f"the ensemble here {_OLD}")
    clip = Estimator(
        temperature=metadata["temperature"],
        rejection_threshold=preparation["rejection_threshold"],
        thresholds=metadata.get("thresholds"),
        calibration=_calibration(layout, metadata),
    )
    segment, windows = _segments(layout, clip)
    weights = {name: weight for name, weight in metadata["weights"].items() if weight > 0}
    return Rules(
        name=ENSEMBLE,
        tags=list(metadata["tags"]),
        is_multi_label=metadata["is_multi_label"],
        members={name: list(read_plan(layout)["folds"]) for name in weights},
        weights=weights,
        aggregation={name: metadata["aggregation"][name] for name in weights},
        fold_mean=metadata["fold_mean"],
        preparation=dict(preparation),
        clip=clip,
        segment=segment,
        windows=windows,
        temperatures={name: _temperatures(metadata, name) for name in weights},
    )


def _temperatures(metadata: dict[str, Any], member: str) -> list[float]:
    """Of one network of a member, and of their mean over folds."""
    of_one = metadata["aggregations"][member][metadata["aggregation"][member]]["temperature"]
    return [of_one, of_one * metadata["mean_temperatures"][member]]


def student_rules(layout: Layout) -> Rules:
    """By what rules the student answers, which is confident as the ensemble is.

    Its segments have the ensemble's estimator, with the temperature changed as that of clips is.

    Raises:
        UserError: another earmark trained it.
    """
    description = read_description(layout.model(STUDENT, ALL))
    if "answering" not in description:
        raise UserError("the student here was made by another earmark; run `dvc repro`")
    answering = description["answering"]
    clip = Estimator(
        temperature=answering["temperature"],
        rejection_threshold=answering["preparation"]["rejection_threshold"],
        thresholds=answering.get("thresholds"),
        calibration=_student_calibration(layout, answering["temperature"]),
    )
    segment, windows = _segments(layout, clip)
    if segment:
        factor = clip.temperature / read_metadata(layout.ensemble)["temperature"]
        unmeasured = "of the student's segments, not measured; the ensemble's are " + (
            segment.calibration.removeprefix("on ")
        )
        segment = replace(segment, temperature=segment.temperature * factor, calibration=unmeasured)
    return Rules(
        name=STUDENT,
        tags=list(description["tags"]),
        is_multi_label=answering["is_multi_label"],
        members={STUDENT: [ALL]},
        weights={STUDENT: 1.0},
        aggregation={STUDENT: answering["aggregation"]},
        fold_mean="arithmetic",
        preparation=dict(answering["preparation"]),
        clip=clip,
        segment=segment,
        windows=windows,
        temperatures={STUDENT: [clip.temperature] * 2},
    )


def _segments(layout: Layout, clip: Estimator) -> tuple[Estimator | None, Windows | None]:
    """The estimator of segments, if stage `timeline` fitted one for this ensemble."""
    path = layout.timeline / "timeline.json"
    if not path.exists():
        return None, None
    fitted = read_json(path)
    how = f"on segments of {counted(fitted['n_clips'], 'validation clip')}, {verdict(fitted)}"
    estimator = Estimator(
        temperature=fitted["temperature"],
        rejection_threshold=fitted["rejection_threshold"],
        thresholds=fitted["thresholds"] if clip.thresholds is not None else None,
        calibration=how,
    )
    lengths = (fitted["window_seconds"], fitted["hop_seconds"])
    return estimator, Windows(window_seconds=lengths[0], hop_seconds=lengths[1])


def _calibration(layout: Layout, metadata: dict[str, Any]) -> str:
    """What was measured of the ensemble's probabilities, and on which clips.

    It is of labelled test clips, if `evaluate` judged this very temperature on some, since they
    are predicted as new recordings are. Else it is of validation clips.
    """
    path, out_of_fold = layout.metrics / "calibration.json", metadata["calibration"]
    measured = read_json(path) if path.exists() else {}
    if measured.get("temperature") == metadata["temperature"] and "test" in measured:
        n_clips = measured["test"]["n_clips"]
        return f"on {counted(n_clips, 'test clip')}, {verdict(measured['test'])}"
    of_one = f"on {counted(out_of_fold['n_clips'], 'validation clip')}, {verdict(out_of_fold)}"
    if out_of_fold["n_folds"] == 1:
        return of_one
    change = "the mean over folds, shown here, is not measured"
    if not out_of_fold["n_unlabelled"]:
        change = "the mean over folds, shown here, is less confident"
    return f"{of_one}, by one fold's networks; {change}"


def _student_calibration(layout: Layout, temperature: float) -> str:
    path = layout.metrics / "scores.json"
    student = read_json(path).get(STUDENT, {}) if path.exists() else {}
    if not (student.get("temperature") == temperature and "calibration" in student):
        return "of the student, not measured: no labelled clip is left that it has not seen"
    judged = student["calibration"]
    n_clips = counted(judged["n_clips"], "test clip")
    return f"of the student, on {n_clips}, {verdict(judged)}"
