"""What the joint model draws from each of its two inputs: its scores by category with one of them
set to zero, beside those of its backbones alone (Lederle and Wilhelm, 2018, Figure 4 of their poster).

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
from earmark.ensemble.crops import aggregate_clip
from earmark.errors import UserError
from earmark.evaluation.points import average_precision_at
from earmark.labels import label_indices
from earmark.layout import Layout
from earmark.networks import Network
from earmark.params import Params
from earmark.store import read_table
from earmark.taggers.device import Device
from earmark.taggers.fusion import open_fusion
from earmark.taggers.input import FusionInput, FusionStore, Pair
from earmark.taggers.tagger import Tagger

Floats = NDArray[np.floating[Any]]
Backbone = Literal["audio", "spec"]

# Column of the table: a backbone alone, both joined, or joined with the other input at zero.
SYSTEMS = ("audio", "spec", "joint", "joint_spec_zero", "joint_audio_zero")
BATCH = 32


class WithoutInput(Network):
    """A joint network of which one input, standardised, is zero throughout.

    Zero is the mean over the training clips: for frames an average spectrum, for a waveform
    silence. The poster does not say at which scale its zero is meant.
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
    """The poster's three conclusions, counted over categories.

    Attributes:
        audio_wins: of how many the audio backbone scores higher than the spectrum's.
        audio_agrees: in how many of those the joint model, too, scores higher by audio alone.
        spec_wins: likewise for the spectrum.
        spec_agrees: likewise for the spectrum.
        joint_wins: in how many the joint model scores higher than both backbones.
        joint_ties: in how many it equals the better one.
        n_tags: of how many that have clips.
        map_at_3: of each system, over all clips.
    """

    audio_wins: int
    audio_agrees: int
    spec_wins: int
    spec_agrees: int
    joint_wins: int
    joint_ties: int
    n_tags: int
    map_at_3: dict[str, float]

    def lines(self) -> list[str]:
        both = ", ".join(f"{name} {value:.3f}" for name, value in self.map_at_3.items())
        best = max(self.map_at_3, key=lambda name: self.map_at_3[name])
        return [
            f"MAP@3 over all clips: {both}; {best} is the best",
            f"audio beats spec in {self.audio_wins} of {self.n_tags} categories; in "
            f"{self.audio_agrees} of them joint with spec zero beats joint with audio zero",
            f"spec beats audio in {self.spec_wins} of {self.n_tags} categories; in "
            f"{self.spec_agrees} of them joint with audio zero beats joint with spec zero",
            f"joint beats both backbones in {self.joint_wins} of {self.n_tags} categories and equals "
            f"the better one in {self.joint_ties}",
        ]


def probabilities_of(
    joint: Tagger, backbones: Mapping[Backbone, Tagger], crops: Sequence[Pair], device: Device
) -> dict[str, Floats]:
    """Ask all five systems about the same `(R,)` crops; each gives `(R, K)`."""
    systems: dict[str, tuple[Tagger, Sequence[Any]]] = {
        "audio": (backbones["audio"], [crop.audio for crop in crops]),
        "spec": (backbones["spec"], [crop.spec for crop in crops]),
        "joint": (joint, crops),
        "joint_spec_zero": (replace(joint, network=WithoutInput(joint.network, "spec")), crops),
        "joint_audio_zero": (replace(joint, network=WithoutInput(joint.network, "audio")), crops),
    }
    return {
        name: tagger.clip_probabilities(read, device, batch_size=BATCH)
        for name, (tagger, read) in systems.items()
    }


def score_categories(
    said: Mapping[str, Floats], labels: NDArray[np.int64], tags: Sequence[str]
) -> pd.DataFrame:
    """One row a tag that has clips: tag, n_clips and the MAP@3 `(B, K)` of each system earns."""
    n_clips = np.bincount(labels, minlength=len(tags))
    table = pd.DataFrame({"tag": list(tags), "n_clips": n_clips})
    for name in SYSTEMS:
        gained = np.bincount(labels, average_precision_at(said[name], labels, 3), len(tags))
        # Equal ranks in another order must tie, whatever the last bits of their sums.
        table[name] = (gained / np.maximum(n_clips, 1)).round(12)
    return table[table["n_clips"] > 0].reset_index(drop=True)


def conclude(table: pd.DataFrame) -> Conclusions:
    """Check the poster's conclusions on a table of `score_categories`."""
    audio, spec = table["audio"], table["spec"]
    by_audio, by_spec = table["joint_spec_zero"], table["joint_audio_zero"]
    better = np.maximum(audio, spec)
    weights = table["n_clips"] / table["n_clips"].sum()
    return Conclusions(
        audio_wins=int((audio > spec).sum()),
        audio_agrees=int(((audio > spec) & (by_audio > by_spec)).sum()),
        spec_wins=int((spec > audio).sum()),
        spec_agrees=int(((spec > audio) & (by_spec > by_audio)).sum()),
        joint_wins=int((table["joint"] > better).sum()),
        joint_ties=int((table["joint"] == better).sum()),
        n_tags=len(table),
        map_at_3={name: float((weights * table[name]).sum()) for name in SYSTEMS},
    )


def held_out(
    joint: Tagger,
    backbones: Mapping[Backbone, Tagger],
    store: FusionStore,
    folds: pd.DataFrame,
    fold: str,
    device: Device,
    *,
    params: Params,
) -> tuple[dict[str, Floats], list[str]]:
    """What the systems of a fold say of the clips it held out, `(B, K)`, and the clips' labels.

    The crops are those of the joint model's predictions, joined by its rule, for every system.
    """
    is_held_out = folds[f"fold_{fold}"] == "validation"
    label_of = dict(zip(folds["clip"][is_held_out], folds["label"][is_held_out], strict=True))
    how, labels = params.inference, []
    said: dict[str, list[Floats]] = {name: [] for name in SYSTEMS}
    variants = zip(store.index["clip"], store.index["variant"], strict=True)
    for line, (clip, variant) in enumerate(tqdm(list(variants), unit="clip", disable=None)):
        if variant or clip not in label_of:
            continue
        rows = store.rows(line)
        crops = joint.input.crops(rows, n_crops=how.n_crops, seed=params.seed, clip=clip)
        for name, found in probabilities_of(joint, backbones, crops, device).items():
            clip_prediction = aggregate_clip(
                found, aggregation=joint.input.aggregation, confidence=how.confidence
            )
            said[name].append(clip_prediction.probabilities[np.newaxis])
        labels.append(label_of[clip])
    return {name: np.concatenate(parts) for name, parts in said.items()}, labels


def write(
    params: Params, layout: Layout, model: str, fold: str | None, folder: Path, device: Device
) -> list[str]:
    """Draw the ablation of a fusion model, over one fold or all, into `folder`; returns lines.

    Raises:
        UserError: the model joins nothing, is not trained, or its clips have several tags each.
    """
    said: dict[str, list[Floats]] = {name: [] for name in SYSTEMS}
    names: list[str] = []
    chosen = [fold] if fold else trained_folds(layout, model)
    tags = _joint(layout, model, chosen[0], device).tags
    store, folds = open_fusion(layout), read_table(layout.folds)
    for one in chosen:
        joint = _joint(layout, model, one, device)
        backbones: dict[Backbone, Tagger] = {
            "audio": load_trained(layout, f"{model}_audio", one, device).tagger,
            "spec": load_trained(layout, f"{model}_spec", one, device).tagger,
        }
        found, labels = held_out(joint, backbones, store, folds, one, device, params=params)
        names += labels
        for name in SYSTEMS:
            said[name].append(found[name])
    joined = {name: np.concatenate(parts) for name, parts in said.items()}
    table = score_categories(joined, label_indices(names, tags), tags)
    conclusions = conclude(table)
    what = f"fold {chosen[0]}" if len(chosen) == 1 else f"{len(chosen)} folds"
    figure = ablation_figure(
        table, overall=conclusions.map_at_3, title=f"{model}: {len(names)} held-out clips, {what}"
    )
    keep(folder, "ablation", figure, numbers=table)
    return conclusions.lines()


def _joint(layout: Layout, model: str, fold: str, device: Device) -> Tagger:
    tagger = load_trained(layout, model, fold, device).tagger
    if not isinstance(tagger.input, FusionInput):
        raise UserError(f"{model} reads one input, {tagger.input.kind}; name a model of fusion")
    if tagger.activation != "softmax":
        raise UserError(f"{model}: its clips have several tags each; MAP@3 is for one tag a clip")
    return tagger
