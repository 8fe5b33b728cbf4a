"""Samplers over random features of a real corpus' size, in memory as training holds them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.features import find as find_feature
from earmark.labels import Task
from earmark.networks import find as find_network
from earmark.networks.paper_configs import PaperConfig
from earmark.params import ModelRecipe
from earmark.params.reading import read_yaml
from earmark.seeding import rng_for
from earmark.store import Store
from earmark.taggers.input import FusionInput, FusionStore, Input
from earmark.training.batches import Sampler
from earmark.training.examples import Examples

HOP_LENGTH = 512
CLIP_SEGMENTS = 4  # a clip is so many segments long: FSDKaggle2018's mean is 6.8 s
STORE_BYTES = 2**28  # far more than a processor's cache holds

Shape = tuple[Any, ...]


def base_recipe(**values: object) -> ModelRecipe:
    """The recipe that every profile starts from, with other values for some keys."""
    base = read_yaml(Path(__file__).parent.parent / "profiles" / "base.yaml")["model"]
    return ModelRecipe.model_validate({**base, **values})


def source(config: PaperConfig, batch_size: int) -> Sampler:
    """A sampler whose batches hold one random segment of each of `batch_size` clips."""
    store, input_ = _pair(config.shape) if config.network == "cnn_comb" else _single(config)
    return _sampler(store, input_, max(len(store), batch_size), config.n_tags, batch_size)


def sampler_of(type_: str, clips: list[NDArray[Any]], n_rows: int, *, batch_size: int) -> Sampler:
    """A sampler of random segments of `n_rows` of given clips (N, ...), in memory."""
    lengths = [len(clip) for clip in clips]
    index = pd.DataFrame({"clip": [f"clip{i}" for i in range(len(clips))], "variant": ""})
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    index = index.assign(shard=0, start=starts, length=lengths)
    store = Store(Path(), index, {}, [np.concatenate(clips)])
    return _sampler(store, _input(type_, n_rows), len(clips), 2, batch_size)


def _sampler(
    store: Store | FusionStore, input_: Any, n_clips: int, n_tags: int, batch_size: int
) -> Sampler:
    examples = Examples(
        store=store,
        task=Task([f"tag{i}" for i in range(n_tags)], False, []),
        clips=[f"clip{i}" for i in range(n_clips)],
        entries=[[i % len(store)] for i in range(n_clips)],
        targets=np.eye(n_tags, dtype=np.float32)[np.arange(n_clips) % n_tags],
        unverified=np.zeros(n_clips, dtype=np.float32),
        weights=np.ones(n_clips, dtype=np.float32),
        is_corrected=np.zeros(n_clips, dtype=bool),
    )
    return Sampler(examples=examples, input=input_, recipe=base_recipe(batch_size=batch_size))


def _single(config: PaperConfig) -> tuple[Store, Input]:
    type_ = min(find_network(config.network).feature_types)
    row_shape, segment_rows = _rows_of(type_, config.shape)
    store = _store(type_, row_shape, CLIP_SEGMENTS * segment_rows, STORE_BYTES)
    return store, _input(type_, segment_rows)


def _pair(shapes: Shape) -> tuple[FusionStore, FusionInput]:
    """Clips as frames and as waveforms, cut at the same moments."""
    (n_samples,), (n_frames, n_mels) = shapes
    n_rows = CLIP_SEGMENTS * n_frames
    audio = _store("waveform", (), n_rows * HOP_LENGTH, STORE_BYTES)
    spec = _store("logmel", (n_mels,), n_rows, len(audio) * n_rows * n_mels * 2)
    input_ = FusionInput(
        **vars(_input("logmel", n_frames)),
        audio=_input("waveform", n_samples),
        hop_length=HOP_LENGTH,
    )
    return FusionStore(audio, spec), input_


def _rows_of(type_: str, shape: Shape) -> tuple[Shape, int]:
    """The shape of a row, and how many rows a network's input of that shape has."""
    if type_ == "patches":  # of 96 frames; several are stacked in time
        return (96, *shape[1:]), shape[0] // 96
    return shape[1:], shape[0]


def _store(type_: str, row_shape: Shape, clip_rows: int, n_bytes: int) -> Store:
    """So many bytes of clips of one length, each with the same values."""
    values = rng_for(0, "benchmark", type_).normal(0, 1, (clip_rows, *row_shape))
    clip = values.astype(find_feature(type_).dtype)
    n_clips = n_bytes // clip.nbytes
    rows = np.concatenate([clip] * n_clips)
    starts = np.arange(n_clips) * clip_rows
    index = pd.DataFrame({"clip": [f"clip{i}" for i in range(n_clips)], "variant": ""})
    index = index.assign(shard=0, start=starts, length=clip_rows)
    return Store(Path(), index, {}, [rows])


def _input(type_: str, segment_rows: int) -> Input:
    return Input(
        feature=type_,
        type_name=type_,
        options={},
        sample_rate=44_100,
        lengths=[segment_rows],
        padding=find_feature(type_).padding,
        silence=[0.0],
        mean=[0.0],
        std=[1.0],
    )
