"""Tag recordings of the user's own with the trained ensemble, by the rules that scored it.

Shapes: T samples, C crops, K tags.
"""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.corpora.stored_tables import read_plan
from earmark.ensemble.combining import combine, mean_over_folds
from earmark.ensemble.tagging import tag_clip
from earmark.errors import UserError
from earmark.evaluation.calibration import verdict
from earmark.evaluation.predictions import METADATA, read_metadata
from earmark.evaluation.temperature import temper
from earmark.layout import Layout
from earmark.params import Runtime
from earmark.params.roster import ALL, STUDENT
from earmark.sound.decoding import decode
from earmark.sound.recordings import AUDIO_SUFFIXES, files_below, is_recording, name_of
from earmark.sound.trimming import trim
from earmark.sound.unusable import UnusableAudio
from earmark.spool import Scratch
from earmark.store import read_json
from earmark.taggers.device import Device
from earmark.taggers.rows import WaveformFeatures, rows_read
from earmark.taggers.tagger import Tagger
from earmark.wording import counted, printable, shortened

Floats = NDArray[np.floating[Any]]
_ADDRESS = r"[a-z][a-z0-9+.-]+:/"  # https://, of which a path keeps one slash
_LONGEST_NAME = 255  # that a file can have


@dataclass(frozen=True)
class Prediction:
    """What the ensemble predicts for a recording: its tags with probabilities, likeliest first.

    The probabilities are tempered: of statements with probability 0.8, about four in five should
    be right for recordings like the corpus'. How far that holds is measured; see
    `Ensemble.calibration` and the reliability tables of the report. `answer` is what to act on: the
    most probable tag, or where clips may have several every tag above its threshold; None is
    "unknown".
    """

    clip: str
    tags: list[str]
    probabilities: list[float]
    answer: list[str] | None
    n_crops: int  # that all networks together needed until they were confident

    @classmethod
    def of(
        cls, combined: Floats, metadata: dict[str, Any], *, clip: str, n_crops: int
    ) -> "Prediction":
        """Temper the ensemble's probabilities `(K,)`, and answer as ensemble.json says."""
        is_multi_label, tags = metadata["is_multi_label"], metadata["tags"]
        temperature = metadata["temperature"]
        tempered = temper(combined[np.newaxis], temperature, is_multi_label=is_multi_label)[0]
        order = np.argsort(-combined, kind="stable").tolist()  # as scored: tempering may tie two
        names, probabilities = [tags[i] for i in order], tempered[order].tolist()
        answer: list[str] | None = names[:1]
        if is_multi_label:
            thresholds = metadata["thresholds"]
            by_tag = zip(names, probabilities, strict=True)
            answer = [tag for tag, probability in by_tag if probability >= thresholds[tag]]
        if probabilities[0] < metadata["preparation"]["rejection_threshold"]:
            answer = None
        return cls(clip, names, probabilities, answer, n_crops)

    def to_json(self, top: int) -> dict[str, Any]:
        """The answer, and the most probable tags with their probabilities."""
        likeliest = zip(self.tags[:top], self.probabilities, strict=False)
        return {
            "clip": self.clip,
            "answer": "unknown" if self.answer is None else self.answer,
            "tags": {tag: round(probability, 6) for tag, probability in likeliest},
            "crops": self.n_crops,
        }

    def line(self, top: int) -> str:
        """One line: what is answered, then the others of the most probable tags."""
        shown = {
            tag: f"{tag} {probability:.2f}"
            for tag, probability in zip(self.tags, self.probabilities, strict=True)
        }
        answered = self.answer or []
        head = "  ".join(shown[tag] for tag in answered) or "none"
        rest = "  ".join(shown[tag] for tag in self.tags[:top] if tag not in answered)
        head = "unknown" if self.answer is None else head
        return f"{self.clip}: {head}" + (f"  | {rest}" if rest else "")


@dataclass(frozen=True)
class Ensemble:
    """The trained members of every fold, with their weights; networks are read when first used."""

    runtime: Runtime
    layout: Layout

    @cached_property
    def metadata(self) -> dict[str, Any]:
        return read_metadata(self.layout.ensemble)

    def calibration(self) -> str:
        """One line: what was measured of probabilities such as these, and on which clips.

        It is of labelled test clips, if `evaluate` judged this very temperature on some, since they
        are predicted as new recordings are. Else it is of validation clips.
        """
        path, out_of_fold = self.layout.metrics / "calibration.json", self.metadata["calibration"]
        measured = read_json(path) if path.exists() else {}
        if measured.get("temperature") == self.metadata["temperature"] and "test" in measured:
            n_clips = measured["test"]["n_clips"]
            return f"on {counted(n_clips, 'test clip')}, {verdict(measured['test'])}"
        of_one = f"on {counted(out_of_fold['n_clips'], 'validation clip')}, {verdict(out_of_fold)}"
        if out_of_fold["n_folds"] == 1:
            return of_one
        change = "the mean over folds, shown here, is not measured"
        if not out_of_fold["n_unlabelled"]:
            change = "the mean over folds, shown here, is less confident"
        return f"{of_one}, by one fold's networks; {change}"

    @cached_property
    def device(self) -> Device:
        return Device.choose(self.runtime)

    @cached_property
    def networks(self) -> dict[str, dict[str, tuple[Tagger, Tagger | None]]]:
        """Member -> fold -> network, and the extractor that it reads embeddings of."""
        plan = read_plan(self.layout)
        return {
            member: {fold: self._load(member, fold) for fold in plan["folds"]}
            for member, weight in self.metadata["weights"].items()
            if weight > 0
        }

    def _load(self, member: str, fold: str) -> tuple[Tagger, Tagger | None]:
        tagger = Tagger.load(self.layout.model(member, fold), self.device)
        extractor = tagger.metadata.get("extractor")
        if extractor is None:
            return tagger, None
        return tagger, Tagger.load(self.layout.model(extractor, fold), self.device)

    def tag(self, path: Path) -> Prediction:
        """Decode, trim and tag one recording.

        Raises:
            UnusableAudio: the file cannot be used.
        """
        preparation = self.metadata["preparation"]  # as it was when the members were scored
        features, sha256 = prepared(path, preparation, Scratch(self.layout.scratch_folder))
        rule = {key: self.metadata[key] for key in ("fold_mean", "is_multi_label")}
        members, n_crops = {}, 0
        for member, folds in self.networks.items():
            by_fold = {}
            for fold, (tagger, extractor) in folds.items():
                rows = rows_read(features, tagger, extractor, self.device)
                probabilities, n_used = tag_clip(
                    tagger,
                    rows,
                    aggregation=self.metadata["aggregation"][member],
                    preparation=preparation,
                    member=member,
                    fold=fold,
                    sha256=sha256,
                    device=self.device,
                )
                by_fold[fold] = probabilities[np.newaxis]
                n_crops += n_used
            members[member] = mean_over_folds(by_fold, **rule)
        weights = {name: self.metadata["weights"][name] for name in members}
        combined = combine(members, weights, is_multi_label=self.metadata["is_multi_label"])
        return Prediction.of(combined[0], self.metadata, clip=name_of(path), n_crops=n_crops)


@dataclass(frozen=True)
class StudentTagger:
    """The student alone, one network with all that it takes to answer, in models/student/all.

    It is confident as the calibrated ensemble is; how right that is on labelled test clips, which
    neither has seen, stage evaluate says.
    """

    runtime: Runtime
    layout: Layout

    @cached_property
    def device(self) -> Device:
        return Device.choose(self.runtime)

    @cached_property
    def tagger(self) -> Tagger:
        return Tagger.load(self.layout.model(STUDENT, ALL), self.device)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What is answered, and how; see `Prediction.of`."""
        return {"tags": self.tagger.tags, **self.tagger.metadata["answering"]}

    def calibration(self) -> str:
        """One line: what was measured of its probabilities, if anything."""
        path = self.layout.metrics / "scores.json"
        student = read_json(path).get(STUDENT, {}) if path.exists() else {}
        is_this = student.get("temperature") == self.metadata["temperature"]
        if not (is_this and "calibration" in student):
            return "of the student, not measured: no labelled clip is left that it has not seen"
        judged = student["calibration"]
        n_clips = counted(judged["n_clips"], "test clip")
        return f"of the student, on {n_clips}, {verdict(judged)}"

    def tag(self, path: Path) -> Prediction:
        """Decode, trim and tag one recording.

        Raises:
            UnusableAudio: the file cannot be used.
        """
        preparation = self.metadata["preparation"]
        features, sha256 = prepared(path, preparation, Scratch(self.layout.scratch_folder))
        probabilities, n_crops = tag_clip(
            self.tagger,
            rows_read(features, self.tagger, None, self.device),
            aggregation=self.metadata["aggregation"],
            preparation=preparation,
            member=STUDENT,
            fold=ALL,
            sha256=sha256,
            device=self.device,
        )
        return Prediction.of(probabilities, self.metadata, clip=name_of(path), n_crops=n_crops)


def prepared(
    path: Path, preparation: dict[str, Any], scratch: Scratch
) -> tuple[WaveformFeatures, str]:
    """Decode and trim a recording; returns its features and the sha256 of its trimmed waveform.

    Raises:
        UnusableAudio: the file cannot be used.
    """
    sample_rate = preparation["sample_rate"]
    decoded = decode(path, sample_rate=sample_rate, scratch=scratch)
    waveform, options = np.asarray(decoded.waveform), preparation["trim"]
    trimmed = trim(waveform, sample_rate=sample_rate, scratch=scratch, **options)
    del decoded, waveform  # gigabytes on the disk, if it is hours long
    return WaveformFeatures(np.asarray(trimmed.waveform), scratch=scratch), trimmed.sha256


def recordings(paths: list[Path]) -> tuple[list[Path], list[str]]:
    """The audio files that some paths name, and a line for each path that names none.

    Args:
        paths: files, which are taken as they are, and folders, which are searched.
    """
    files: list[Path] = []
    problems: list[str] = []
    for path in paths:
        if re.match(_ADDRESS, str(path)) and not os.path.lexists(path):
            problems.append(f"{name_of(path)}: is an address; download it first")
        elif not os.path.isdir(path):  # noqa: PTH112 -- Path's fails where a name is too long
            files.append(path)
        else:
            unreadable: list[Path] = []
            below = sorted(files_below(path, unreadable=unreadable))
            inside = [file for file in below if is_recording(file.relative_to(path))]
            fix = "cannot be read; run `chmod -R u+rX` on it"
            problems += [f"{name_of(folder)}: {fix}" for folder in unreadable]
            if not inside and not unreadable:
                suffixes = " ".join(sorted(AUDIO_SUFFIXES))
                fix = "name a folder of recordings"
                problems.append(f"{name_of(path)}: no audio in it ({suffixes}); {fix}")
            files += inside
    return files, problems


def unusable_line(path: Path, error: UnusableAudio) -> str:
    """One line on a recording that cannot be used; a name that is endless is shortened."""
    name = name_of(path.name)
    finding = str(error).removeprefix(f"{name}: ")
    shown = name_of(path.parent / (name if len(name) <= _LONGEST_NAME else shortened(name)))
    return printable(f"{shown}: {error.reason}: {finding}")


def load_ensemble(runtime: Runtime, layout: Layout) -> Ensemble:
    """The ensemble of the last `dvc repro`.

    Args:
        runtime: where and how precisely its networks compute.

    Raises:
        UserError: nothing was trained here yet.
    """
    if not (layout.ensemble / METADATA).exists():
        raise UserError("there is no trained ensemble here; run `dvc repro`, or `dvc pull`")
    ensemble = Ensemble(runtime, layout)
    preparation = ensemble.metadata.get("preparation", {})
    is_known = {"fold_mean", "calibration"} <= ensemble.metadata.keys()
    if not is_known or "normalise" not in preparation.get("trim", {}):
        raise UserError("the ensemble here was made by an older earmark; run `dvc repro`")
    return ensemble


def load_student(runtime: Runtime, layout: Layout) -> StudentTagger:
    """The student of the last `dvc repro`.

    Args:
        runtime: where and how precisely its network computes.

    Raises:
        UserError: none was trained here yet.
    """
    student = StudentTagger(runtime, layout)
    if not layout.model(STUDENT, ALL).is_dir():
        fix = "give params.yaml one (docs/training.md), then run `dvc repro`"
        raise UserError(f"there is no trained student here; {fix}")
    if "answering" not in student.tagger.metadata:
        raise UserError("the student here was made by another earmark; run `dvc repro`")
    return student
