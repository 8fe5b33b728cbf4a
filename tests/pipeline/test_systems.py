"""The papers' kinds of system through the stages, in one process: joined backbones, a second task,
several tags a clip, new clips, transfer; from recordings to the score of the ensemble."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

import earmark
from earmark.evaluation.temperature import temper
from earmark.inference.bundle import export
from earmark.inference.pyfunc import TableTagger
from earmark.inference.workspace import load_ensemble
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import parse_params, read_yaml
from earmark.records import read_json, read_table
from earmark.seeding import rng_for
from earmark.settings.profiles import overlay
from earmark.store import Store
from earmark.taggers import input
from stages import (
    augment,
    class_mixing,
    decode,
    ensemble,
    evaluate,
    features,
    plan,
    predict,
    split,
    timeline,
    train,
    trim,
)
from tests.source_graph import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("undrawn", "untracked", "threads_as_they_are"),
]

RATE = 16_000
TAGS = ["buzz", "hiss", "tick"]
SETTINGS: dict[str, Any] = {
    "corpus": {"name": "tiny", "adapter": "folder", "root": "corpus", "table": "clips.csv"},
    "decode": {"sample_rate": RATE},
    "cv": {"k": 2},
    "folds": [0, 1],
    "augment": {},
    "runtime": {"threads": 1, "workers": 1, "precision": "float32"},
    "features": {
        "logmel": {
            "type": "logmel",
            "n_fft": 512,
            "hop_length": 125,
            "n_mels": 64,
            "f_max_hz": 8000.0,
        },
        "wave44k": {"type": "waveform", "target_hz": RATE},
    },
    "model": {"batch_size": 4, "epochs": 2, "validation_crops": 1},
    "evaluate": {"n_resamples": 20},
    "ensemble": {"weights": "equal"},
}
AUDIO = {
    "network": {"name": "cnn_audio", "n_samples": 8250, "width": 0.1, "hidden": 8},
    "input": {"segment_samples": 8250, "padding": "tile_gap"},
    "training": {},
    "prediction": {"aggregation": "mean"},
}
SPEC = {
    "network": {"name": "cnn_spec", "n_frames": 67, "n_mels": 64, "width": 0.05, "hidden": 8},
    "input": {"segment_seconds": 8250 / RATE, "padding": "tile_gap"},
    "training": {},
    "prediction": {"aggregation": "mean"},
}
DENSENET = {
    "network": {"name": "densenet", "growth": 4, "stem_channels": 4, "units": 1},
    "input": {"segment_seconds": 0.5},
    "training": {},
    "prediction": {"aggregation": "confident_crop"},
}


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody tracks these runs: a store of its own for each test costs seconds."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def sound(tag: str, rng: np.random.Generator) -> np.ndarray:
    n = int(rng.integers(RATE // 3, RATE))
    if tag == "buzz":
        return np.sign(np.sin(2 * np.pi * rng.uniform(80, 200) * np.arange(n) / RATE)) * 0.3
    if tag == "hiss":
        return rng.normal(0, 0.1, n)
    return np.where(np.arange(n) % int(rng.integers(900, 1800)) < 5, 0.8, 0.0)


def write_corpus(root: Path, rows: list[dict[str, Any]]) -> None:
    """A csv of clips; a label of several tags is their sum."""
    root.mkdir()
    rng = np.random.default_rng(0)
    for i, row in enumerate(rows):
        row["path"] = f"{i:02d}.wav"
        parts = [sound(tag, rng) for tag in row["label"].split(";")]
        n = min(map(len, parts))
        soundfile.write(root / row["path"], sum(part[:n] for part in parts), RATE)
    pd.DataFrame(rows).to_csv(root / "clips.csv", index=False)


def workspace(folder: Path, rows: list[dict[str, Any]], *changes: dict[str, Any]) -> Any:
    """Params and layout of a folder, whose stages have run up to the split."""
    for name in ("earmark", "profiles"):  # a digest of the code, and the csv of no edits
        (folder / name).symlink_to(ROOT / name)
    write_corpus(folder / "corpus", rows)
    raw = read_yaml(ROOT / "profiles" / "base.yaml")
    for top in (SETTINGS, *changes):
        overlay(raw, copy.deepcopy(top))
    params, problems = parse_params(raw, "params.yaml")
    assert params is not None, problems
    assert problems == []
    layout = Layout(folder)
    decode.run(params, layout)
    trim.run(params, layout)
    split.run(params, layout)
    augment.run(params, layout)
    class_mixing.run(params, layout)
    return params, layout


def train_and_predict(params: Params, layout: Layout, *names: tuple[str, str]) -> None:
    kinds = {"logmel" if kind == "fusion" else kind for kind, _ in names}
    for kind in sorted(kinds):
        features.run(params, layout, kind)
    for kind, name in names:
        for fold in params.fold_names:
            train.run(params, layout, kind, name, fold)
            predict.run(params, layout, kind, name, fold)


def scores(params: Params, layout: Layout) -> Any:
    plan.run(params, layout)
    ensemble.run(params, layout)
    return evaluate.run(params, layout)


def rows_of(n_each: int, **columns: Any) -> list[dict[str, Any]]:
    return [{"label": tag, **columns} for tag in TAGS for _ in range(n_each)]


def test_a_joint_model_is_trained_on_its_backbones_and_scored_beside_them(tmp_path: Path) -> None:
    roster = {
        "wave44k": {"comb_audio": AUDIO},
        "logmel": {"comb_spec": SPEC},
        "fusion": {
            "comb": {
                "network": {"name": "cnn_comb"},
                "input": {},
                "training": {"circular_shift": True},
                "prediction": {"aggregation": "mean"},
            }
        },
    }
    params, layout = workspace(tmp_path, rows_of(8), {"models": roster})
    train_and_predict(
        params, layout, ("wave44k", "comb_audio"), ("logmel", "comb_spec"), ("fusion", "comb")
    )
    found = scores(params, layout)
    assert set(found["models"]) == {"comb", "comb_audio", "comb_spec"}
    kept = read_json(layout.model("comb", "0") / "model.json")
    assert kept["network"]["name"] == "cnn_comb"
    assert kept["input"]["audio"]["lengths"] == [8250]


def test_a_second_task_is_learned_beside_the_first_and_mixtures_share_their_events(
    tmp_path: Path,
) -> None:
    rows = rows_of(8)
    for i, row in enumerate(rows):
        row["aux_label"] = f"{row['label']}_{i % 2}"
    params, layout = workspace(
        tmp_path,
        rows,
        {"models": {"logmel": {"densenet": DENSENET}}},
        {"class_mixing": {"same_class": {"copies": 1}, "pitch_fill": {"up_to": 10}}},
    )
    mixed = Store.open(layout.class_mixed).index
    assert mixed["variant"].value_counts().to_dict() == {"same_class": 24, "pitch_fill": 6}
    folds = read_table(layout.folds).set_index("clip")
    same_class = mixed[mixed["variant"] == "same_class"]
    for clip, partner in zip(same_class["clip"], same_class["partner"], strict=True):
        ours, theirs = folds.loc[clip], folds.loc[partner]
        assert (ours["label"], ours["fold_0"]) == (theirs["label"], theirs["fold_0"])
    train_and_predict(params, layout, ("logmel", "densenet"))
    kept = read_json(layout.model("densenet", "0") / "model.json")
    assert kept["aux_labels"] == sorted({row["aux_label"] for row in rows})
    assert scores(params, layout)["ensemble"]["out_of_fold"]["n_clips"] == 24


def test_a_dropped_clip_is_predicted_by_a_network_that_did_not_learn_from_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.csv").write_text("clip,decision\n00.wav,drop\n")
    params, layout = workspace(
        tmp_path,
        rows_of(8),
        {"models": {"logmel": {"densenet": DENSENET}}},
        {"corpus": {"label_corrections": "mine.csv"}},
    )
    train_and_predict(params, layout, ("logmel", "densenet"))
    ensemble = scores(params, layout)["ensemble"]
    assert ensemble["out_of_fold"]["n_clips"] == 23
    assert ensemble["out_of_fold_as_given"]["n_clips"] == 24


def test_clips_of_several_tags_are_learned_and_scored_tag_by_tag(tmp_path: Path) -> None:
    rows = [*rows_of(5), *({"label": "buzz;tick"} for _ in range(6))]
    rows += [{"label": label, "split": "test"} for label in (*TAGS, "hiss;tick")]
    params, layout = workspace(
        tmp_path,
        [{"split": "train", **row} for row in rows],
        {"models": {"logmel": {"densenet": DENSENET}}},
        {"evaluate": {"metric": "roc_auc"}, "model": {"monitor": "roc_auc"}},
    )
    train_and_predict(params, layout, ("logmel", "densenet"))
    kept = read_json(layout.model("densenet", "0") / "model.json")
    assert kept["activation"] == "sigmoid"
    found = scores(params, layout)["ensemble"]
    assert found["test"]["all"]["n_clips"] == 4
    assert 0 <= found["out_of_fold"]["roc_auc"]["value"] <= 1


def test_graph_predict_python_mlflow_and_a_bundle_give_a_renamed_recording_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[tuple[Any, ...]] = []

    def recorded(seed: int, *key: Any) -> np.random.Generator:
        keys.append((seed, *key))
        return rng_for(seed, *key)

    monkeypatch.setattr(input, "rng_for", recorded)
    rows = [{"split": "train", **row} for row in rows_of(6)] + rows_of(1, split="test")
    first = {**DENSENET, "training": {"epochs": 1}}
    second = {**DENSENET, "prediction": {"aggregation": "best_out_of_fold"}}
    roster = {"logmel": {"first": first, "second": second}}
    params, layout = workspace(
        tmp_path, rows, {"models": roster}, {"inference": {"confidence": 0.36}}
    )
    train_and_predict(params, layout, ("logmel", "first"), ("logmel", "second"))
    scores(params, layout)
    clips = read_table(layout.ensemble / "clips.parquet")
    index = read_table(layout.trimmed / "index.parquet")
    longest = index[index["split"] == "test"].sort_values("length").iloc[-1]
    assert longest["length"] > 0.6 * RATE, "there is room for several crops"
    networks = {("first", "0"), ("first", "1"), ("second", "0"), ("second", "1")}
    in_graph = {key for key in keys if key[-1] == longest["sha256"]}
    assert {key[2:4] for key in in_graph} == networks

    keys.clear()
    renamed = tmp_path / "another name.wav"
    renamed.write_bytes((tmp_path / "corpus" / longest["clip"]).read_bytes())
    tagged = load_ensemble(params.runtime, layout).tag(renamed)
    assert {key[2:4] for key in keys} >= {("first", "0"), ("first", "1")}
    assert set(keys) <= in_graph, "a member that is read by covering crops draws none"
    metadata = read_json(layout.ensemble / "ensemble.json")
    expected = read_table(layout.ensemble / "ensemble.parquet")[clips["clip"] == longest["clip"]]
    tempered = temper(expected.to_numpy(), metadata["temperature"], is_multi_label=False)[0]
    probability_of = dict(zip(tagged.tags, tagged.probabilities, strict=True))
    np.testing.assert_allclose([probability_of[t] for t in expected.columns], tempered, rtol=1e-4)
    timeline.run(params, layout)
    assert read_json(layout.timeline / "timeline.json")["n_segments"] >= 6
    ours = load_ensemble(params.runtime, layout)
    bundle = tmp_path / "tagger"
    export(ours.rules, params, layout, bundle)
    exported = earmark.load(bundle)
    assert exported.tag(renamed) == tagged
    assert (
        exported.tag(*soundfile.read(renamed, dtype="int16")).probabilities == tagged.probabilities
    )
    of_table = TableTagger(ours).predict(pd.DataFrame({"path": [str(renamed)]})).iloc[0]
    assert of_table.to_dict() == probability_of
    both = [one.timeline(renamed).probabilities for one in (ours, exported)]
    np.testing.assert_array_equal(*both)
    assert metadata["aggregation"]["first"] == "confident_crop"
    assert metadata["aggregation"]["second"] != "best_out_of_fold"


def test_a_model_starts_from_the_backbone_of_another_with_a_fresh_head(tmp_path: Path) -> None:
    params, layout = workspace(tmp_path, rows_of(8), {"models": {"logmel": {"densenet": DENSENET}}})
    train_and_predict(params, layout, ("logmel", "densenet"))
    weights = layout.model("densenet", "0") / "weights.safetensors"
    start = {
        "init_from": weights.relative_to(tmp_path).as_posix(),
        "init_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "frozen": ["features"],
        "backbone_lr_multiplier": 0.1,
    }
    raw = params.model_dump()
    overlay(raw, {"models": {"logmel": {"second": {**DENSENET, "training": start}}}})
    params, problems = parse_params(raw, "params.yaml")
    assert params is not None, problems
    for fold in params.fold_names:
        train.run(params, layout, "logmel", "second", fold)
    from safetensors.torch import load_file

    first, second = (
        load_file(layout.model(name, "0") / "weights.safetensors")
        for name in ("densenet", "second")
    )
    kept = {key for key, value in first.items() if value.equal(second[key])}
    assert {key for key in first if key.startswith("features")} <= kept
    assert not {key for key in first if key.startswith("head")} & kept
