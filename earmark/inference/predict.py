"""Tag recordings of the user's own with the trained ensemble, by the rules that scored it.

Shapes: T samples, C crops, K tags.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.ensemble.combining import confident_crop, join, mean_over_folds
from earmark.errors import UserError
from earmark.evaluation.calibration import temper
from earmark.layout import Layout
from earmark.params import Runtime
from earmark.sound.decoding import decode
from earmark.sound.recordings import AUDIO_SUFFIXES, is_recording
from earmark.sound.trimming import trim
from earmark.store import read_json
from earmark.taggers.device import Device
from earmark.taggers.rows import WaveformFeatures, rows_read
from earmark.taggers.tagger import Tagger

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Prediction:
    """What the ensemble says of a recording: its tags, the likeliest first, with probabilities.

    These are calibrated: of statements with probability 0.8, four in five should hold for
    recordings like the corpus', as far as one temperature can achieve it (see the report).
    `answer` is what to act on: the likeliest tag, or where clips may have several every tag above
    its threshold; None is "unknown".
    """

    clip: str
    tags: list[str]
    probabilities: list[float]
    answer: list[str] | None
    n_crops: int  # that all networks together needed until they were confident

    @classmethod
    def of(cls, joint: Floats, about: dict[str, Any], *, clip: str, n_crops: int) -> "Prediction":
        """Calibrate what the members jointly say, `(K,)`, and answer as ensemble.json says."""
        several, tags = about["is_multi_label"], about["tags"]
        tempered = temper(joint[np.newaxis], about["temperature"], is_multi_label=several)[0]
        order = np.argsort(-joint, kind="stable").tolist()  # that of the scores, to the last bit
        names, probabilities = [tags[i] for i in order], tempered[order].tolist()
        answer: list[str] | None = names[:1]
        if several:
            said = zip(names, probabilities, strict=True)
            answer = [tag for tag, probability in said if probability >= about["thresholds"][tag]]
        if probabilities[0] < about["preparation"]["rejection_threshold"]:
            answer = None
        return cls(clip, names, probabilities, answer, n_crops)

    def to_json(self, top: int) -> dict[str, Any]:
        """The answer, and the likeliest tags with their probabilities."""
        said = zip(self.tags[:top], self.probabilities, strict=False)
        return {
            "clip": self.clip,
            "answer": "unknown" if self.answer is None else self.answer,
            "tags": {tag: round(probability, 6) for tag, probability in said},
            "crops": self.n_crops,
        }

    def line(self, top: int) -> str:
        """One line: what is answered, then the other ones of the likeliest tags."""
        said = {
            tag: f"{tag} {probability:.2f}"
            for tag, probability in zip(self.tags, self.probabilities, strict=True)
        }
        answered = self.answer or []
        head = "  ".join(said[tag] for tag in answered) or "none"
        rest = "  ".join(said[tag] for tag in self.tags[:top] if tag not in answered)
        head = "unknown" if self.answer is None else head
        return f"{self.clip}: {head}" + (f"  | {rest}" if rest else "")


@dataclass(frozen=True)
class Ensemble:
    """The trained members of every fold, with their weights; networks are read when first used."""

    runtime: Runtime
    layout: Layout

    @cached_property
    def about(self) -> dict[str, Any]:
        about: dict[str, Any] = read_json(self.layout.ensemble / "ensemble.json")
        return about

    @cached_property
    def device(self) -> Device:
        return Device.choose(self.runtime)

    @cached_property
    def networks(self) -> dict[str, dict[str, tuple[Tagger, Tagger | None]]]:
        """Member -> fold -> network, and the extractor that it reads embeddings of."""
        plan = read_json(self.layout.plan)
        return {
            member: {fold: self._load(member, fold) for fold in plan["folds"]}
            for member, weight in self.about["weights"].items()
            if weight > 0
        }

    def _load(self, member: str, fold: str) -> tuple[Tagger, Tagger | None]:
        folder = self.layout.model(member, fold)
        extractor = read_json(folder / "model.json").get("extractor")
        if extractor is None:
            return Tagger.load(folder, self.device), None
        below = Tagger.load(self.layout.model(extractor, fold), self.device)
        return Tagger.load(folder, self.device), below

    def tag(self, path: Path) -> Prediction:
        """Decode, trim and tag one recording.

        Raises:
            UnusableAudio: the file cannot be used.
        """
        how = self.about["preparation"]  # as it was when the members were scored
        decoded = decode(path, sample_rate=how["sample_rate"])
        min_samples = round(how["trim"]["min_seconds"] * how["sample_rate"])
        top_db = how["trim"]["top_db"]
        waveform = trim(decoded.waveform, top_db=top_db, min_samples=min_samples).waveform
        features = WaveformFeatures(waveform)
        members, n_crops = {}, 0
        for member, folds in self.networks.items():
            said = {}
            for fold, (tagger, extractor) in folds.items():
                rows = rows_read(features, tagger, extractor, self.device)
                said[fold], tried = self._clip(member, tagger, rows, path.name)
                n_crops += tried
            members[member] = mean_over_folds(said)
        weights = {name: self.about["weights"][name] for name in members}
        joint = join(members, weights, is_multi_label=self.about["is_multi_label"])
        return Prediction.of(joint[0], self.about, clip=str(path), n_crops=n_crops)

    def _clip(self, member: str, tagger: Tagger, rows: Any, clip: str) -> tuple[Floats, int]:
        """Probabilities `(1, K)` by the member's rule, and how many crops they took.

        For the re-crop rule no crop is computed after a confident one.
        """
        how = self.about["preparation"]
        n_crops = how["inference"]["n_crops"]
        aggregation = self.about["aggregation"][member]
        crops = tagger.input.prediction_segments(
            rows, aggregation=aggregation, n_crops=n_crops, seed=how["seed"], clip=clip
        )
        if aggregation == "mean":
            every = tagger.clip_probabilities(crops, self.device, batch_size=32)
            return every.astype(np.float64).mean(axis=0, keepdims=True), len(every)
        stack = tagger.input.stack
        said = (tagger.probabilities(stack([crop]), self.device)[0] for crop in crops)
        confidence = how["inference"]["confidence"]
        choice = confident_crop(said, confidence=confidence)
        return choice.probabilities[np.newaxis], choice.n_tries


def recordings(places: list[Path]) -> list[Path]:
    """The given files, and the audio files in the given folders, in order."""
    found: list[Path] = []
    for place in places:
        if not place.is_dir():
            found.append(place)
            continue
        inside = [
            path for path in sorted(place.rglob("*")) if is_recording(path.relative_to(place))
        ]
        if not inside:
            raise UserError(f"{place}: no audio in it ({' '.join(sorted(AUDIO_SUFFIXES))})")
        found += inside
    return found


def load_ensemble(runtime: Runtime, layout: Layout) -> Ensemble:
    """The ensemble of the last `dvc repro`.

    Raises:
        UserError: nothing was trained here yet.
    """
    if not (layout.ensemble / "ensemble.json").exists():
        raise UserError("there is no trained ensemble here; run `dvc repro`, or `dvc pull`")
    ensemble = Ensemble(runtime, layout)
    if "temperature" not in ensemble.about:
        raise UserError("the ensemble here was made by an older earmark; run `dvc repro`")
    return ensemble
