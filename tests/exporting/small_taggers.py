"""Taggers with fresh weights, one for each way from a waveform to a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earmark.ensemble.rules import Estimator, Rules, Windows
from earmark.ensemble.tagging import tag_clip
from earmark.features import build
from earmark.inference.recording_tagger import RecordingTagger
from earmark.networks.linear import Linear
from earmark.params import Runtime
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.rows import WaveformFeatures, rows_read
from earmark.taggers.tagger import Tagger
from tests.waveforms import noise, tone

CPU = Device(name="cpu", precision="float32", channels_last=True)
RATE = 16_000
TAGS = ["Bark", "Cough", "Drum"]
LOGMEL = {"n_fft": 512, "hop_length": 160, "n_mels": 40, "f_min_hz": 0.0, "f_max_hz": 8000.0}
MFCC = LOGMEL | {"n_mfcc": 20}
TRIM = {"top_db": 60.0, "min_seconds": 0.1, "normalise": True}
PREPARATION: dict[str, Any] = {
    "sample_rate": RATE,
    "trim": TRIM,
    "inference": {"n_crops": 4, "confidence": 0.7},
    "rejection_threshold": 0.0,
    "seed": 1,
}


@dataclass(frozen=True)
class Trained:
    """A tagger, and the extractor that it reads embeddings of."""

    tagger: Tagger
    extractor: Tagger | None = None

    def probabilities(self, waveform: NDArray[np.int16]) -> NDArray[Any]:
        """Those (K,) of a trimmed clip (T,), as `predict` computes them from whole clips."""
        features = WaveformFeatures(waveform)
        return tag_clip(
            self.tagger,
            rows_read(features, self.tagger, self.extractor, CPU),
            aggregation="mean",
            preparation=PREPARATION,
            member="any",
            fold="0",
            sha256="",
            device=CPU,
        ).probabilities


def sound(seconds: float, rate: int = RATE) -> NDArray[np.int16]:
    """A tone that fades into noise: loud and weak bands, as in a recording."""
    fading = tone(700, seconds=seconds, rate=rate) * np.linspace(1, 0, round(seconds * rate))
    samples: NDArray[np.int16] = (fading * 20_000 + noise(len(fading), level=300)).astype(np.int16)
    return samples


def input_of(
    type_name: str, options: Mapping[str, Any], lengths: list[int], *, rate: int = RATE, **more: Any
) -> Input:
    shape = build(type_name, options, sample_rate=rate).row_shape
    usual: dict[str, Any] = {"mean": [-40.0], "std": [30.0], "padding": "right", "silence": -100.0}
    fields = usual | more
    silence = np.full(shape or (1,), fields.pop("silence")).tolist()
    return Input(
        feature=type_name,
        type_name=type_name,
        options=dict(options),
        sample_rate=rate,
        lengths=lengths,
        silence=silence,
        **fields,
    )


def trained(
    name: str, options: dict[str, Any], input_: Input, extractor: Tagger | None = None, **more: Any
) -> Trained:
    """A tagger with random weights that tells a tone from noise, as far as chance has it.

    Its batch norms have the statistics of some sounds, and its logits a deviation of 1 over these.
    """
    torch.manual_seed(1)
    tagger = Tagger.new(name, options, tags=TAGS, input_=input_, **more)
    rate = (extractor or tagger).input.sample_rate
    clips = [sound(2.0, rate), noise(2 * rate), noise(2 * rate, level=30), sound(2.0, rate)[::-1]]
    every = [rows_read(WaveformFeatures(clip), tagger, extractor, CPU) for clip in clips]
    length = min(one for one in input_.lengths) or min(map(len, every))
    x = input_.tensor(np.stack([rows[:length] for rows in every]), "cpu")
    network = tagger.network
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = None  # the plain mean
                module.reset_running_stats()
        network.train()(x)
        network.eval()
        if isinstance(network, Linear):
            features = network.forward_features(x)
            network.mean.copy_(features.mean(0))
            network.deviation.copy_(features.std(0) + 1)
        last = [one for one in network.head.modules() if isinstance(one, nn.Linear)][-1]
        logits = network(x)
        last.weight.div_(logits.std(0)[:, None])
        last.bias.div_(logits.std(0))
        last.bias.sub_(network(x).mean(0))
    CPU.place(network)
    return Trained(tagger, extractor)


def compact(lengths: list[int], **more: Any) -> Trained:
    logmel = input_of("logmel", LOGMEL, lengths, **more)
    return trained("compact_cnn", {"base_width": 4}, logmel)


def on_samples(rate: int) -> Trained:
    wave = input_of(
        "waveform", {"target_hz": RATE}, [2187], rate=rate, silence=0, mean=[0.0], std=[3000.0]
    )
    return trained("samplecnn", {"n_samples": 2187, "width": 0.1}, wave)


def attention(n_patches: int) -> Trained:
    patches = input_of(
        "patches", {}, [1], rate=22_050, mean=[0.0], std=[1.0], silence=-4.6, padding="tile"
    )
    torch.manual_seed(1)
    options = {"width": 0.0625, "fc": 32}
    extractor = Tagger.new("vggish", options, tags=TAGS, input_=patches)
    embedding = input_of(
        "embedding", {"dims": 128}, [n_patches], mean=[0.0], std=[1.0], silence=0.0, padding="tile"
    )
    options = {"n_inputs": 128, "n_units": 16}
    return trained("multilevel_attention", options, embedding, extractor)


def baseline(pooling: str) -> Trained:
    options: dict[str, Any] = {"n_inputs": 40, "pooling": pooling}
    return trained("linear", options, input_of("logmel", LOGMEL, [0]))


def recording_tagger(
    networks: Mapping[str, Mapping[str, Trained]],
    *,
    temperature: float = 0.6,
    thresholds: dict[str, float] | None = None,
    segment_temperature: float = 0.0,
    **changes: Any,
) -> RecordingTagger:
    """One of these networks, with rules of its answers; segments have none at temperature 0."""
    usual = {"rejection_threshold": 0.0, "thresholds": thresholds, "calibration": "not measured"}
    segment = Estimator(temperature=segment_temperature, **usual) if segment_temperature else None
    fields: dict[str, Any] = {
        "name": "ensemble",
        "tags": TAGS,
        "is_multi_label": thresholds is not None,
        "members": {name: list(folds) for name, folds in networks.items()},
        "weights": dict.fromkeys(networks, 1.0),
        "aggregation": dict.fromkeys(networks, "mean"),
        "fold_mean": "arithmetic",
        "preparation": PREPARATION,
        "clip": Estimator(temperature=temperature, **usual),
        "segment": segment,
        "windows": Windows(window_seconds=2.0, hop_seconds=1.0) if segment else None,
        "temperatures": dict.fromkeys(networks, [temperature] * 2),
    }
    runtime = Runtime(
        threads=1, workers=1, device="cpu", precision="float32", channels_last=True,
        checkpoint_seconds=60,
    )  # fmt: skip
    rules = Rules(**(fields | changes))
    tagger = RecordingTagger(rules, lambda *_: Path("nowhere"), runtime, Path("/tmp"), digest="")
    vars(tagger)["networks"] = {
        name: {fold: (one.tagger, one.extractor) for fold, one in folds.items()}
        for name, folds in networks.items()
    }
    return tagger
