"""What a fusion model learns from each of its two inputs: its scores by category with one input set
to zero, next to those of its backbones alone (Lederle and Wilhelm, 2018, Figure 4 of their poster).

Shapes: B clips, R crops, K tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from earmark.analyses.ablation_figure import ablation_figure
from earmark.analyses.drawing import keep
from earmark.analyses.trained import load_trained, trained_folds
from earmark.corpora.stored_tables import read_folds
from earmark.ensemble.crops import aggregate_clip
from earmark.errors import UserError
from earmark.evaluation.points import average_precision_at
from earmark.evaluation.predictions import read_metadata
from earmark.labels import label_indices
from earmark.layout import Layout
from earmark.networks import Network
from earmark.params import Aggregation, Params
from earmark.params.roster import FUSION, model_of
from earmark.taggers.device import Device
from earmark.taggers.fusion import open_fusion
from earmark.taggers.input import FusionInput, FusionStore, Pair, crop_rng, crops_of
from earmark.taggers.tagger import Tagger

Floats = NDArray[np.floating[Any]]
Backbone = Literal["audio", "spec"]

# Columns of the table: each backbone alone, the fusion model, and it with one input set to zero.
SYSTEMS = ("audio", "spec", "fusion", "fusion_spec_zero", "fusion_audio_zero")
BATCH_SIZE = 32


class WithoutInput(Network):
    """A fusion network with one of its standardised inputs set to zero.

    Zero is the mean over the training clips: an average spectrum for frames, silence for a
    waveform. The poster does not say whether its zero is meant before or after standardisation.
    """

    feature_types = frozenset({"fusion"})

    def __init__(self, network: Network, silenced: Backbone) -> None:
        super().__init__()
        self.network, self.silenced = network, silenced

    def forward_features(self, x: tuple[Tensor, Tensor]) -> Tensor:
        """Return the features of waveforms (B, T) and frames (B, N, M), one of which is ignored."""
        waveform, frames = x
        if self.silenced == "audio":
            waveform = torch.zeros_like(waveform)
        else:
            frames = torch.zeros_like(frames)
        return self.network.forward_features((waveform, frames))  # (B, D)

    def forward_head(self, features: Tensor) -> Tensor:
        """Return the logits (B, K)."""
        return self.network.forward_head(features)


@dataclass(frozen=True)
class Conclusions:
    """The three conclusions of the poster, counted over categories.

    Attributes:
        audio_wins: in how many the audio backbone scores higher than the spectrum backbone.
        audio_agrees: in how many of those the fusion model, too, scores higher by audio alone.
        spec_wins: likewise for the spectrum.
        spec_agrees: likewise for the spectrum.
        fusion_wins: in how many the fusion model scores higher than both backbones.
        fusion_ties: in how many it equals the better one.
        n_tags: how many categories have clips.
        map_at_3: of each system, over all clips.
    """

    audio_wins: int
    audio_agrees: int
    spec_wins: int
    spec_agrees: int
    fusion_wins: int
    fusion_ties: int
    n_tags: int
    map_at_3: dict[str, float]

    def lines(self) -> list[str]:
        """The conclusions in words."""
        values = ", ".join(f"{name} {value:.3f}" for name, value in self.map_at_3.items())
        best = max(self.map_at_3, key=lambda name: self.map_at_3[name])
        return [
            f"MAP@3 over all clips: {values}; {best} is the best",
            f"audio beats spec in {self.audio_wins} of {self.n_tags} categories; in "
            f"{self.audio_agrees} of them, fusion with spec zero beats fusion with audio zero",
            f"spec beats audio in {self.spec_wins} of {self.n_tags} categories; in "
            f"{self.spec_agrees} of them, fusion with audio zero beats fusion with spec zero",
            f"fusion beats both backbones in {self.fusion_wins} of {self.n_tags} categories, and "
            f"equals the better one in {self.fusion_ties}",
        ]


def probabilities_of(
    fusion: Tagger, backbones: Mapping[Backbone, Tagger], crops: Sequence[Pair], device: Device
) -> dict[str, Floats]:
    """The probabilities `(R, K)` that each of the five systems gives to the same `(R,)` crops."""
    systems: dict[str, tuple[Tagger, Sequence[Any]]] = {
        "audio": (backbones["audio"], [crop.audio for crop in crops]),
        "spec": (backbones["spec"], [crop.spec for crop in crops]),
        "fusion": (fusion, crops),
        "fusion_spec_zero": (replace(fusion, network=WithoutInput(fusion.network, "spec")), crops),
        "fusion_audio_zero": (
            replace(fusion, network=WithoutInput(fusion.network, "audio")),
            crops,
        ),
    }
    return {
        name: tagger.clip_probabilities(inputs, device, batch_size=BATCH_SIZE)
        for name, (tagger, inputs) in systems.items()
    }


def score_categories(
    probabilities: Mapping[str, Floats], labels: NDArray[np.int64], tags: Sequence[str]
) -> pd.DataFrame:
    """One row per tag that has clips: tag, n_clips and the MAP@3 of each system.

    Args:
        probabilities: (B, K) of each system.
        labels: (B,), indices into `tags`.
        tags: the K tags.
    """
    n_clips = np.bincount(labels, minlength=len(tags))
    table = pd.DataFrame({"tag": list(tags), "n_clips": n_clips})
    for name in SYSTEMS:
        precisions = average_precision_at(probabilities[name], labels, 3)
        sums = np.bincount(labels, precisions, len(tags))
        # Equal ranks in another order must tie, whatever the last bits of their sums.
        table[name] = (sums / np.maximum(n_clips, 1)).round(12)
    return table[table["n_clips"] > 0].reset_index(drop=True)


def conclude(table: pd.DataFrame) -> Conclusions:
    """Count the poster's conclusions in a table of `score_categories`."""
    audio, spec = table["audio"], table["spec"]
    by_audio, by_spec = table["fusion_spec_zero"], table["fusion_audio_zero"]
    better = np.maximum(audio, spec)
    weights = table["n_clips"] / table["n_clips"].sum()
    return Conclusions(
        audio_wins=int((audio > spec).sum()),
        audio_agrees=int(((audio > spec) & (by_audio > by_spec)).sum()),
        spec_wins=int((spec > audio).sum()),
        spec_agrees=int(((spec > audio) & (by_spec > by_audio)).sum()),
        fusion_wins=int((table["fusion"] > better).sum()),
        fusion_ties=int((table["fusion"] == better).sum()),
        n_tags=len(table),
        map_at_3={name: float((weights * table[name]).sum()) for name in SYSTEMS},
    )


def validation_predictions(
    fusion: Tagger,
    backbones: Mapping[Backbone, Tagger],
    store: FusionStore,
    folds: pd.DataFrame,
    fold: str,
    device: Device,
    *,
    model: str,
    aggregation: Aggregation,
    params: Params,
) -> tuple[dict[str, Floats], list[str]]:
    """The probabilities `(B, K)` of each system for the fold's validation clips, and their labels.

    All systems get the crops, and the aggregation, of the fusion model's predictions.
    """
    is_validation = folds[f"fold_{fold}"] == "validation"
    label_of = dict(zip(folds["clip"][is_validation], folds["label"][is_validation], strict=True))
    options, labels = params.inference, []
    by_system: dict[str, list[Floats]] = {name: [] for name in SYSTEMS}
    variants = zip(store.index["clip"], store.index["variant"], strict=True)
    for index, (clip, variant) in enumerate(tqdm(list(variants), unit="clip", disable=None)):
        if variant or clip not in label_of:
            continue
        rows = store.rows(index)
        crops = fusion.input.prediction_segments(
            rows,
            crops=crops_of(aggregation)[0],
            n_crops=options.n_crops,
            rng=crop_rng(
                params.seed, member=model, fold=fold, sha256=store.index["sha256"].iloc[index]
            ),
        )
        for name, of_crops in probabilities_of(fusion, backbones, crops, device).items():
            of_clip = aggregate_clip(
                of_crops, aggregation=aggregation, confidence=options.confidence
            )
            by_system[name].append(of_clip.probabilities[np.newaxis])
        labels.append(label_of[clip])
    return {name: np.concatenate(parts) for name, parts in by_system.items()}, labels


def write(
    params: Params, layout: Layout, model: str, fold: str | None, folder: Path, device: Device
) -> list[str]:
    """Write the ablation of a fusion model, over one fold or all, to `folder`; returns its lines.

    Raises:
        UserError: the model is no fusion model, is not trained, or its clips have several tags.
    """
    by_system: dict[str, list[Floats]] = {name: [] for name in SYSTEMS}
    labels: list[str] = []
    chosen = [fold] if fold else trained_folds(layout, model)
    tags = _load_fusion(layout, model, chosen[0], device).tags
    store, folds = open_fusion(layout, params.fusion), read_folds(layout, chosen)
    aggregation = model_of(params, FUSION, model).prediction.aggregation
    if aggregation == "best_out_of_fold":
        aggregation = read_metadata(layout.ensemble)["aggregation"][model]
    for one in chosen:
        fusion = _load_fusion(layout, model, one, device)
        backbones: dict[Backbone, Tagger] = {
            "audio": load_trained(layout, f"{model}_audio", one, device).tagger,
            "spec": load_trained(layout, f"{model}_spec", one, device).tagger,
        }
        predictions, of_fold = validation_predictions(
            fusion,
            backbones,
            store,
            folds,
            one,
            device,
            model=model,
            aggregation=aggregation,
            params=params,
        )
        labels += of_fold
        for name in SYSTEMS:
            by_system[name].append(predictions[name])
    probabilities = {name: np.concatenate(parts) for name, parts in by_system.items()}
    table = score_categories(probabilities, label_indices(labels, tags), tags)
    conclusions = conclude(table)
    which = f"fold {chosen[0]}" if len(chosen) == 1 else f"{len(chosen)} folds"
    figure = ablation_figure(
        table,
        overall=conclusions.map_at_3,
        title=f"{model}: {len(labels)} validation clips, {which}",
    )
    keep(folder, "ablation", figure, numbers=table)
    return conclusions.lines()


def _load_fusion(layout: Layout, model: str, fold: str, device: Device) -> Tagger:
    tagger = load_trained(layout, model, fold, device).tagger
    if not isinstance(tagger.input, FusionInput):
        raise UserError(
            f"{model}: reads one input, {tagger.input.feature}; give the name of a fusion model"
        )
    if tagger.activation != "softmax":
        raise UserError(
            f"{model}: its clips may have several tags; choose a model with one tag per clip, "
            "which MAP@3 needs"
        )
    return tagger
