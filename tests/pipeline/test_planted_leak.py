"""Nothing of the sound that a fold is scored on reaches its training, by any path of the graph.

The recordings of one fold's validation clips and of all test clips become noise. Labels, folds and
lengths stay, so every loss and every weight that is trained must stay too, to the last bit. (What
may depend on that sound: folds, as equal recordings stay together and copies of test clips do not
train, and with `epoch_choice: scored_fold` the epoch that is kept.)
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import soundfile

from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json, read_table
from earmark.sound.trimmed_clips import TrimmedClips
from stages import (
    augment,
    class_mixing,
    decode,
    demo,
    embed,
    features,
    finetune,
    split,
    train,
    trim,
)
from tests.source_graph import ROOT
from tests.training.test_run import tiny_params

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("threads_as_they_are")]

FOLD = "0"
MODELS = {"logmel": "densenet", "wave16k": "samplecnn", "embedding": "attention"}
MEMBERS = ("vggish", "densenet", "samplecnn", "attention-vggish")


class Kept(NamedTuple):
    """What a training leaves behind."""

    curve: pd.DataFrame
    weights: bytes
    standardisation: list[list[float]]


def test_noise_in_place_of_held_out_sound_moves_no_loss_and_no_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody tracks these runs
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    params = tiny_params(runtime={"threads": 1, "workers": 1})
    as_given, planted = (new_layout(tmp_path / name, params) for name in ("given", "planted"))
    prepare(params, as_given)
    folds = read_table(as_given.folds)
    is_held_out = folds[f"fold_{FOLD}"].isin(["validation", "test"])
    held_out = set(folds.loc[is_held_out, "clip"])
    replace_by_noise(planted.demo("tiny"), held_out)
    prepare(params, planted)
    pd.testing.assert_frame_equal(read_table(planted.folds), folds)
    assert changed_clips(as_given, planted) == held_out

    before, after = train_all(params, as_given), train_all(params, planted)
    for member in MEMBERS:
        given, moved = before[member], after[member]
        assert given.curve["train_loss"].tolist() == moved.curve["train_loss"].tolist(), member
        assert given.standardisation == moved.standardisation, member
        assert given.weights == moved.weights, member
        losses = [kept.curve["validation_loss"].tolist() for kept in (given, moved)]
        assert losses[0] != losses[1], f"{member} was scored on the same sound"


def new_layout(root: Path, params: Params) -> Layout:
    """A workspace that holds the corpus and nothing else."""
    root.mkdir()
    (root / "profiles").symlink_to(ROOT / "profiles")  # the csv of no label corrections
    layout = Layout(root)
    demo.run(params, layout, "tiny")
    return layout


def prepare(params: Params, layout: Layout) -> None:
    """From the corpus to its folds."""
    decode.run(params, layout)
    trim.run(params, layout)
    split.run(params, layout)


def replace_by_noise(corpus: Path, clips: set[str]) -> None:
    rng = np.random.default_rng(1)
    paths = [path for path in sorted(corpus.rglob("*.wav")) if path.name in clips]
    assert len(paths) == len(clips)
    for path in paths:
        about = soundfile.info(path)
        noise = rng.normal(0, 0.1, (about.frames, about.channels))
        soundfile.write(path, noise, about.samplerate, subtype=about.subtype)


def changed_clips(first: Layout, second: Layout) -> set[str]:
    stores = [TrimmedClips.open(layout.trimmed, layout.decoded) for layout in (first, second)]
    names = stores[0].index["clip"]
    return {
        name
        for i, name in enumerate(names)
        if not np.array_equal(*(store.waveform(i) for store in stores))
    }


def train_all(params: Params, layout: Layout) -> dict[str, Kept]:
    """Train the extractor and every model of one fold."""
    augment.run(params, layout)
    class_mixing.run(params, layout)
    for feature in ("patches", "logmel", "wave16k"):
        features.run(params, layout, feature)
    finetune.run(params, layout, "vggish", FOLD)
    embed.run(params, layout, "vggish", FOLD)
    for group, model in MODELS.items():
        train.run(params, layout, group, model, FOLD, "vggish" if group == "embedding" else None)
    return {member: kept(layout, member) for member in MEMBERS}


def kept(layout: Layout, member: str) -> Kept:
    folder = layout.model(member, FOLD)
    about = read_json(folder / "model.json")
    return Kept(
        pd.read_csv(layout.learning_curve(member, FOLD)),
        (folder / "weights.safetensors").read_bytes(),
        [about["input"]["mean"], about["input"]["std"]],
    )
