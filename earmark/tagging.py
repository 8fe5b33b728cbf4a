"""Tag recordings of the user's own with the trained ensemble, by the rules that scored it.

Shapes: T samples, C crops, K tags.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio import as_float, decode
from earmark.corpora.folder import AUDIO_SUFFIXES, is_recording
from earmark.ensembling import mean_over_folds, recrop, weighted_geometric_mean
from earmark.errors import UserError
from earmark.features import build as build_features
from earmark.inference import Device, Tagger
from earmark.layout import Layout
from earmark.params import Runtime
from earmark.silence import trim
from earmark.store import read_json

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Opinion:
    """What the ensemble says of a recording: its tags, the likeliest first, with probabilities."""

    clip: str
    tags: list[str]
    probabilities: list[float]
    n_crops: int  # that all networks together needed until they were confident


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

    def tag(self, path: Path) -> Opinion:
        """Decode, trim and tag one recording.

        Raises:
            UnusableAudio: the file cannot be used.
        """
        how = self.about["preparation"]  # as it was when the members were scored
        decoded = decode(path, sample_rate=how["sample_rate"])
        min_samples = round(how["trim"]["min_seconds"] * how["sample_rate"])
        top_db = how["trim"]["top_db"]
        waveform = trim(decoded.waveform, top_db=top_db, min_samples=min_samples).waveform
        rows: dict[str, NDArray[Any]] = {}  # each kind once, whatever number of networks reads it
        members, n_crops = {}, 0
        for member, folds in self.networks.items():
            said = {}
            for fold, (tagger, extractor) in folds.items():
                found = self._rows(rows, waveform, tagger, extractor)
                said[fold], tried = self._clip(tagger, found, path.name)
                n_crops += tried
            members[member] = mean_over_folds(said)
        weights = {name: self.about["weights"][name] for name in members}
        joint = weighted_geometric_mean(members, weights)[0]
        order = np.argsort(-joint, kind="stable")
        tags = [self.about["tags"][i] for i in order]
        return Opinion(str(path), tags, joint[order].tolist(), n_crops)

    def _rows(
        self,
        cache: dict[str, NDArray[Any]],
        waveform: NDArray[np.int16],
        tagger: Tagger,
        extractor: Tagger | None,
    ) -> NDArray[Any]:
        kind = extractor.input.kind if extractor else tagger.input.kind
        if kind not in cache:
            input_ = tagger.input
            extract = build_features(kind, input_.options, sample_rate=input_.sample_rate)
            cache[kind] = np.asarray(extract(as_float(waveform))).astype(extract.dtype)
        if extractor is None:
            return cache[kind]
        return extractor.embeddings(cache[kind], self.device, batch_size=64)

    def _clip(self, tagger: Tagger, rows: NDArray[Any], clip: str) -> tuple[Floats, int]:
        """Probabilities `(1, K)` by the member's rule, and how many crops they took.

        For the re-crop rule no crop is computed after a confident one.
        """
        crops = self._crops(tagger, rows, clip)
        if tagger.input.rule == "mean":
            every = tagger.clip_probabilities(list(crops), self.device, batch_size=32)
            return every.astype(np.float64).mean(axis=0, keepdims=True), len(every)
        said = (tagger.probabilities(crop[np.newaxis], self.device)[0] for crop in crops)
        confidence = self.about["preparation"]["inference"]["confidence"]
        choice = recrop(said, confidence=confidence)
        return choice.probabilities[np.newaxis], choice.n_tries

    def _crops(self, tagger: Tagger, rows: NDArray[Any], clip: str) -> Iterator[NDArray[Any]]:
        how = self.about["preparation"]
        starts = tagger.input.crop_starts(
            len(rows), n_crops=how["inference"]["n_crops"], seed=how["seed"], clip=clip
        )
        return (tagger.input.cut(rows, start) for start in starts.tolist())


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
    return Ensemble(runtime, layout)
