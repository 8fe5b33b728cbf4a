"""A corpus of 18 clips in memory, and a network small enough to train on it within a test."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from earmark.labels import Task
from earmark.params import ModelRecipe
from earmark.params.reading import read_yaml
from earmark.store import Store, StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger
from earmark.training.examples import Examples, standardisation
from earmark.training.job import Fitted, Job
from tests.source_graph import ROOT

TAGS = ["Bark", "Cough", "Flute"]
TASK = Task(TAGS, is_multi_label=False, aux_labels=[])
OPTIONS = {"growth": 4, "stem_channels": 4, "units": 1, "n_blocks": 2}  # of a DenseNet
HEAD = frozenset({"head.weight", "head.bias"})
CPU = Device(name="cpu", precision="float32", channels_last=True)


def recipe_with(**changes: Any) -> ModelRecipe:
    """The recipe that every profile starts from, for three short epochs, as the papers keep one."""
    short = {
        "seed": 1,
        "batch_size": 4,
        "epochs": 3,
        "epoch_choice": "scored_fold",
        "ema_decay": 0.0,
        "patience": 3,
        "schedule": "cyclical",
        "max_lr": 4e-3,
        "plateau_patience": 2,
        "validation_crops": 2,
    }
    shared = read_yaml(ROOT / "profiles" / "base.yaml")["model"]
    return ModelRecipe.model_validate({**shared, **short, **changes})


class Rows:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.epochs: list[float] = []

    def log_epoch(self, values: dict[str, float]) -> None:
        self.epochs.append(values["epoch"])


def pulses(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every fourth frame louder."""
    return np.where(np.arange(len(rows)) % 4 == 0, 4.0, 0.0)[:, None] * np.ones(rows.shape[1])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Log-mel of 18 clips of 10 to 45 frames, one variant each: noise, pulses, or partials."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "features"
    with StoreWriter(folder, row_shape=(20,), dtype="float16", metadata={"silence": [-9.0]}) as out:
        for i in range(18):
            for variant in ("", "pitch"):
                rows = rng.normal(size=(int(rng.integers(10, 45)), 20))
                rows = rows + [np.zeros(1), pulses(rows), pulses(rows.T).T][i % 3]
                out.append(rows.astype(np.float16), clip=f"c{i}", split="train", variant=variant)
    return Store.open(folder, in_memory=True)


def clip_table(first: int, last: int) -> pd.DataFrame:
    """The tags in turn; every second clip is unverified."""
    numbers = range(first, last)
    return pd.DataFrame(
        {
            "clip": [f"c{i}" for i in numbers],
            "label": [TAGS[i % 3] for i in numbers],
            "verified": [i % 2 == 0 for i in numbers],
        }
    )


def logmel_input(**changes: Any) -> Input:
    values: dict[str, Any] = {
        "feature": "logmel",
        "type_name": "logmel",
        "options": {},
        "sample_rate": 44_100,
        "lengths": [32],
        "padding": "right",
        "silence": [-9.0],
        "mean": [0.0],
        "std": [1.0],
    }
    return Input(**{**values, **changes})


def make_job(store: Store, clips: pd.DataFrame | None = None, **changes: Any) -> Job:
    """A job on 12 training and 6 validation clips, whose task is what their table sets."""
    clips = clip_table(0, 18) if clips is None else clips
    task = Task.of(clips)
    train, validation = (Examples.select(store, part, task) for part in (clips[:12], clips[12:]))
    mean, std = standardisation(train, per="array")
    torch.manual_seed(0)
    tagger = Tagger.new(
        "densenet",
        OPTIONS,
        tags=task.tags,
        input_=logmel_input(mean=mean, std=std),
        aux_labels=task.aux_labels,
        activation=task.activation,
    )
    job = Job(
        member="tiny",
        fold="0",
        recipe=recipe_with(),
        tagger=tagger,
        train=train,
        validation=validation,
        device=CPU,
        checkpoint_seconds=0.0,
    )
    return replace(job, **changes)


def weights_of(fitted: Fitted) -> dict[str, NDArray[Any]]:
    return {key: value.numpy().copy() for key, value in fitted.tagger.network.state_dict().items()}
