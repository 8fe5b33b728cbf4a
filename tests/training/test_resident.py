"""Features on the device as a whole: batches gathered there are those of the host, bit by bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from earmark.seeding import rng_for
from earmark.store import Store, StoreWriter
from earmark.taggers.input import FusionInput, FusionStore, Input
from earmark.training import resident as module
from earmark.training.loop import fit
from earmark.training.resident import ResidentStore, resident, resident_if_it_fits
from tests.training.conftest import Rows, logmel_input, make_job, recipe_with

PADDINGS = ["right", "tile", "random", "tile_gap"]


def assert_equal(ours: Any, theirs: Any) -> None:
    assert ours.dtype == torch.from_numpy(theirs).dtype
    assert np.array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augmented_share": 0.5, "circular_shift": True},
        {"time_stretch": 0.2},
        {"crops_per_clip": "all"},
    ],
    ids=["one crop", "variants, rotated", "longer", "all crops"],
)
def test_a_batch_is_the_same_wherever_the_features_are(
    store: Store, padding: Any, changes: dict[str, Any]
) -> None:
    input_ = logmel_input(lengths=[24, 40], padding=padding, silence=[-9.0] * 20)
    job = make_job(store, recipe=recipe_with(**changes))
    host = replace(job.sampler, input=input_)
    device = replace(host, resident=resident(store, input_, "cpu"))
    for step in range(8):
        theirs = host.gather(np.arange(12), rng_for(0, step))
        ours = device.gather(np.arange(12), rng_for(0, step))
        assert_equal(ours.segments, theirs.segments)
        assert ours.n_rows == theirs.n_rows
        assert (ours.targets == theirs.targets).all()


def test_a_training_ends_in_the_same_weights(store: Store, tmp_path: Path) -> None:
    recipe = recipe_with(mixup_alpha=0.4, mixup_draw="clip", mask_frames=4, band_gain_db=3.0)
    host, device = (make_job(store, recipe=recipe) for _ in range(2))
    rows = resident(store, device.tagger.input, "cpu")
    device.__dict__["sampler"] = replace(device.sampler, resident=rows)
    fitted = [fit(job, tmp_path / job.name, Rows()) for job in (host, device)]
    assert fitted[0].history == fitted[1].history


@pytest.mark.parametrize(("row_shape", "dtype"), [((), "int16"), ((6, 4), "float16")])
def test_waveforms_patches_and_stores_of_several_files(
    store: Store, tmp_path: Path, row_shape: tuple[int, ...], dtype: str
) -> None:
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "f", row_shape=row_shape, dtype=dtype, shard_rows=20) as out:
        for row in store.index.itertuples():
            values = 100 * rng.normal(size=(9, *row_shape))
            out.append(values.astype(dtype), clip=row.clip, variant=row.variant)
    other = Store.open(tmp_path / "f", in_memory=True)
    assert len(other.shards) > 3
    job = make_job(store, recipe=recipe_with(augmented_share=0.5), max_patches=5)
    input_ = logmel_input(lengths=[1], silence=[0.0])
    host = replace(job.sampler, examples=replace(job.train, store=other), input=input_)
    device = replace(host, resident=resident(other, input_, "cpu"))
    theirs = host.gather(np.arange(12), rng_for(0)).segments
    assert theirs.shape == (60, 1, *row_shape)
    assert_equal(device.gather(np.arange(12), rng_for(0)).segments, theirs)


def test_a_waveform_and_its_frames_are_cut_at_one_moment(store: Store, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "wave", row_shape=(), dtype="int16") as out:
        for i, row in enumerate(store.index.itertuples()):
            n_samples = 4 * len(store.rows(i)) - 1
            out.append(np.arange(n_samples, dtype=np.int16), clip=row.clip, variant=row.variant)
    both = FusionStore(Store.open(tmp_path / "wave", in_memory=True), store)
    audio = replace(logmel_input(lengths=[64], padding="random"), type_name="waveform")
    input_ = FusionInput(**vars(logmel_input(lengths=[16], padding="random")), audio=audio,
                         hop_length=4)  # fmt: skip
    job = make_job(store, recipe=recipe_with(circular_shift=True))
    host = replace(job.sampler, examples=replace(job.train, store=both), input=input_)
    theirs = host.gather(np.arange(12), rng_for(0)).segments
    ours = replace(host, resident=resident(both, input_, "cpu")).gather(np.arange(12), rng_for(0))
    assert_equal(ours.segments.audio, theirs.audio)
    assert_equal(ours.segments.spec, theirs.spec)
    for mine, other in zip(
        input_.raw(ours.segments, "cpu"), input_.raw(theirs, "cpu"), strict=True
    ):
        assert torch.equal(mine, other)


def test_features_go_to_a_gpu_that_has_room_for_them_and_for_the_network(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_bytes = sum(shard.nbytes for shard in store.shards)
    free = [0]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free[0], 1 << 40))

    def placed(device: str, input_: Input) -> Any:
        return resident_if_it_fits(store, input_, device)

    free[0] = int(n_bytes / module.SHARE_OF_FREE) + 4
    rows = placed("meta", logmel_input())  # a device of torch without memory
    assert isinstance(rows, ResidentStore)
    assert rows.rows.device.type == "meta"
    assert placed("cpu", logmel_input()) is None, "they are in its memory already"
    assert placed("meta", logmel_input(lengths=[0])) is None, "whole clips"
    free[0] -= 8
    assert placed("meta", logmel_input(lengths=[24])) is rows, "another fold, the same copy"
    del rows
    assert placed("meta", logmel_input()) is None, "no room"
