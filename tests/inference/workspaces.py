"""A workspace with a trained ensemble of two tiny networks, and what it takes to ask it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from earmark.inference.bundle import export
from earmark.inference.workspace import ensemble_rules
from earmark.layout import Layout
from earmark.params import Params, Runtime
from earmark.params.reading import load_params
from earmark.records import write_json, write_table
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger
from tests.source_graph import ROOT

TAGS = ["bark", "bell", "cello", "=cough"]
RATE = 16_000
RUNTIME = Runtime(
    threads=1, workers=1, device="cpu", precision="float32", channels_last=False,
    checkpoint_seconds=60,
)  # fmt: skip
JUDGED = {
    "n_clips": 80, "ece": 0.05, "confidence": 0.75, "share_right": 0.7, "ece_if_calibrated": 0.06,
    "ece_chance_limit": 0.09,
}  # fmt: skip
PREPARATION = {
    "sample_rate": RATE,
    "trim": {"top_db": 60.0, "min_seconds": 0.1, "normalise": True},
    "inference": {"n_crops": 4, "confidence": 0.7},
    "rejection_threshold": 0.0,
    "seed": 1,
}


def ensemble_metadata(**changes: Any) -> dict[str, Any]:
    usual = {
        "tags": TAGS,
        "is_multi_label": False,
        "weights": {"first": 0.75, "second": 0.25, "unused": 0.0},
        "aggregation": {"first": "mean", "second": "confident_crop", "unused": "mean"},
        "fold_mean": "arithmetic",
        "temperature": 0.5,
        "mean_temperatures": {"ensemble": 0.8, "first": 0.75, "second": 0.5},
        "aggregations": {
            "first": {"mean": {"temperature": 0.8}},
            "second": {"confident_crop": {"temperature": 1.2}, "mean": {"temperature": 1.1}},
        },
        "calibration": {**JUDGED, "n_folds": 2, "n_unlabelled": 40},
        "preparation": PREPARATION,
    }
    return usual | changes


def fitted_segments(**changes: Any) -> dict[str, Any]:
    usual = {
        **{"window_seconds": 0.5, "hop_seconds": 0.25, "temperature": 0.6},
        **{"rejection_threshold": 0.3, "n_segments": 200, **JUDGED},
    }
    return usual | changes


def make_workspace(root: Path) -> Layout:
    """All that answers are made of: two members with two folds each, of random weights."""
    layout = Layout(root)
    torch.manual_seed(0)
    wave = Input(
        feature="wave16k", type_name="waveform", options={"target_hz": RATE}, sample_rate=RATE,
        lengths=[2187], padding="right", silence=[0.0], mean=[0.0], std=[1.0],
    )  # fmt: skip
    for member in ("first", "second"):
        for fold in ("0", "1"):
            options = {"n_samples": 2187, "width": 0.125}
            tagger = Tagger.new("samplecnn", options, tags=TAGS, input_=wave)
            for parameter in tagger.network.parameters():
                parameter.data.mul_(1.5)  # else all tags are equally likely
            tagger.save(layout.model(member, fold), {"member": member, "fold": fold})
    write_json(layout.plan, {"members": {"first": "wave16k"}, "folds": ["0", "1"]})
    write_json(layout.ensemble / "ensemble.json", ensemble_metadata())
    write_json(layout.timeline / "timeline.json", fitted_segments())
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9, "over": "clips"}
    scores = {"metric": "map_at_3", "ensemble": {"out_of_fold": {"map_at_3": estimate}}}
    write_json(layout.metrics / "scores.json", scores)
    names = [f"{i}.wav" for i in range(6)]
    known = {"source": "", "verified": True, "split": "train", "usage": "", "equal_to": ""}
    licence = ["CC0", "CC0", "", "", "", ""]
    clips = pd.DataFrame({"clip": names, "label": TAGS[0], "licence": licence, **known})
    write_table(layout.clips, clips.assign(quarantined=False))
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return layout


def params_of(layout: Layout) -> Params:
    return load_params(layout.params)


def exported_tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported tagger of two members with two folds."""
    layout = make_workspace(tmp_path_factory.mktemp("workspace"))
    out = tmp_path_factory.mktemp("out") / "tagger"
    params = params_of(layout).model_copy(update={"runtime": RUNTIME})
    export(ensemble_rules(layout), params, layout, out)
    return out


def sound(path: Path, *, seconds: float = 2.0, rate: int = RATE, key: int = 0) -> Path:
    """Noise that swells and ebbs, so that its segments differ."""
    rng = np.random.default_rng(key)
    n_samples = round(seconds * rate)
    swell = 0.05 + 0.2 * np.abs(np.sin(np.arange(n_samples) / n_samples * 7))
    soundfile.write(path, rng.normal(0, 1, n_samples) * swell, rate)
    return path
