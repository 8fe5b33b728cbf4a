"""Samplers over made features of a real corpus' size, in memory as training holds them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earmark.labels import Task
from earmark.networks import find
from earmark.networks.paper_configs import PaperConfig
from earmark.params import Recipe
from earmark.params.reading import read_yaml
from earmark.seeding import rng_for
from earmark.store import Store
from earmark.taggers.input import FusionInput, FusionStore, Input, default_padding
from earmark.training.batches import Examples, Sampler

HOP_LENGTH = 512
CLIP_SEGMENTS = 4  # a clip is so many segments long: FSDKaggle2018's mean is 6.8 s
STORE_BYTES = 2**28  # far more than a processor's cache holds
DTYPES = {"embedding": np.float32, "wave44k": np.int16, "wave16k": np.int16}  # else float16

Shape = tuple[Any, ...]


def kind_of(form: PaperConfig) -> str:
    """The first kind of input that a form's network reads, 44.1 kHz before 16."""
    types = find(form.network).feature_types
    return "wave44k" if "waveform" in types else min(types)


def base_recipe(**values: object) -> Recipe:
    """The values that every profile starts from, and others instead of some."""
    base = read_yaml(Path(__file__).parent.parent / "profiles" / "base.yaml")["model"]
    return Recipe.model_validate({**base, **values})


def source(form: PaperConfig, batch_size: int) -> Sampler:
    """What gives a form's batches, each of `batch_size` random segments of as many clips."""
    store, input_ = _joint(form.shape) if form.network == "cnn_comb" else _one(form)
    n_clips = max(len(store), batch_size)
    targets = np.eye(form.n_tags, dtype=np.float32)[np.arange(n_clips) % form.n_tags]
    examples = Examples(
        store=store,
        task=Task([f"tag{i}" for i in range(form.n_tags)], False, []),
        clips=[f"clip{i}" for i in range(n_clips)],
        lines=[[i % len(store)] for i in range(n_clips)],
        targets=targets,
        doubt=np.zeros(n_clips, dtype=np.float32),
    )
    return Sampler(examples=examples, input=input_, recipe=base_recipe(batch_size=batch_size))


def _one(form: PaperConfig) -> tuple[Store, Input]:
    row_shape, segment_rows = _rows_of(kind_of(form), form.shape)
    store = _store(kind_of(form), row_shape, CLIP_SEGMENTS * segment_rows, STORE_BYTES)
    return store, _input(kind_of(form), segment_rows)


def _joint(shapes: Shape) -> tuple[FusionStore, FusionInput]:
    """Clips as frames and as waveforms, cut at the same places."""
    (n_samples,), (n_frames, n_mels) = shapes
    n_rows = CLIP_SEGMENTS * n_frames
    audio = _store("wave44k", (), n_rows * HOP_LENGTH, STORE_BYTES)
    spec = _store("logmel", (n_mels,), n_rows, len(audio) * n_rows * n_mels * 2)
    values = {**vars(_input("logmel", n_frames)), "kind": "fusion"}
    input_ = FusionInput(**values, audio=_input("wave44k", n_samples), hop_length=HOP_LENGTH)
    return FusionStore(audio, spec), input_


def _rows_of(kind: str, shape: Shape) -> tuple[Shape, int]:
    """The shape of a row, and how many rows a network's input of that shape has."""
    if kind == "patches":  # of 96 frames; several are stacked in time
        return (96, *shape[1:]), shape[0] // 96
    return shape[1:], shape[0]


def _store(kind: str, row_shape: Shape, clip_rows: int, n_bytes: int) -> Store:
    """So many bytes of clips of one length, each with the same values."""
    dtype = np.dtype(DTYPES.get(kind, np.float16))
    clip = rng_for(0, "benchmark", kind).normal(0, 1, (clip_rows, *row_shape)).astype(dtype)
    n_clips = n_bytes // clip.nbytes
    rows = np.concatenate([clip] * n_clips)
    starts = np.arange(n_clips) * clip_rows
    index = pd.DataFrame({"clip": [f"clip{i}" for i in range(n_clips)], "variant": ""})
    index = index.assign(shard=0, start=starts, length=clip_rows)
    return Store(Path(), index, {}, [rows])


def _input(kind: str, segment_rows: int) -> Input:
    return Input(
        kind=kind,
        options={},
        sample_rate=44_100,
        lengths=[segment_rows],
        aggregation="confident_crop",
        padding=default_padding(kind),
        silence=[0.0],
        mean=[0.0],
        std=[1.0],
    )
