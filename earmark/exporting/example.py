"""Tag recordings with the .onnx files in this folder: python tag.py RECORDING ..."""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

PATHS = sorted(Path(__file__).parent.glob("*.onnx"))
SESSIONS = [onnxruntime.InferenceSession(path) for path in PATHS]
ABOUT = [json.loads(one.get_modelmeta().custom_metadata_map["earmark"]) for one in SESSIONS]
IS_MULTI_LABEL, TRIM, RATE = (ABOUT[0][key] for key in ("is_multi_label", "trim", "sample_rate"))


def read(path: str) -> np.ndarray:
    """The recording as it was trained on: mono, its quiet ends cut, its peak at full scale."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != RATE:
        sys.exit(f"{path}: has {rate} Hz; resample it to {RATE} Hz")
    x = np.rint(samples.mean(axis=1) * 32768).clip(-32768, 32767)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(x / 32768, 1024), 2048)[::512]
    level_db = 10 * np.log10(np.maximum(np.vecdot(frames, frames) / 2048, 1e-10))
    loud = np.flatnonzero(level_db > level_db.max() - TRIM["top_db"])
    kept = x[loud[0] * 512 : (loud[-1] + 1) * 512]
    kept = kept if len(kept) >= round(TRIM["min_seconds"] * RATE) else x
    scale = np.float32(32767 / np.abs(kept).max()) if TRIM["normalise"] else np.float32(1)
    return np.asarray(np.rint(kept * scale) / 32768, np.float32)


def logits(p: np.ndarray) -> np.ndarray:
    p = np.clip(p.astype(np.float64), 1.2e-38, 1 - 2.0**-25 if IS_MULTI_LABEL else 1)
    return np.asarray(np.log(p) - np.log1p(-p) if IS_MULTI_LABEL else np.log(p))


def probabilities(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - (0 if IS_MULTI_LABEL else z.max()))
    return np.asarray(powers / ((1 + powers) if IS_MULTI_LABEL else powers.sum()))


for recording in sys.argv[1:]:
    waveform, folds, weights = read(recording), defaultdict(list), {}
    for session, about in zip(SESSIONS, ABOUT, strict=True):
        if len(waveform) > (about["longest_samples"] or len(waveform)):
            sys.exit(f"{recording}: longer than {about['longest_samples'] / RATE:.0f} s; cut it")
        folds[about["member"]].append(session.run(None, {"waveform": waveform[None]})[0][0])
        weights[about["member"]] = about["weight"]
    is_geometric = ABOUT[0]["fold_mean"] == "geometric"
    means = {
        name: np.mean([logits(p) for p in ps], 0) if is_geometric else logits(np.mean(ps, 0))
        for name, ps in folds.items()
    }
    joint = sum(weights[name] * means[name] for name in means) / sum(weights.values())
    tempered = probabilities(joint / ABOUT[0]["temperature"])
    tags = dict(zip(ABOUT[0]["tags"], tempered.tolist(), strict=True))
    print(json.dumps({"clip": recording, "tags": dict(sorted(tags.items(), key=lambda t: -t[1]))}))
