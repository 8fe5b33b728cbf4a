"""The order of an epoch, and what its batches hold."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from earmark.params import Crops
from earmark.seeding import rng_for
from earmark.store import Store
from earmark.training.batches import Sampler
from tests.training.conftest import clip_table, make_job, recipe_with


def sampler_with(store: Store, clips: pd.DataFrame | None = None, **changes: Any) -> Sampler:
    return make_job(store, clips, recipe=recipe_with(**changes)).sampler


def test_a_shuffled_epoch_holds_every_clip_once_in_batches_of_even_size(store: Store) -> None:
    order = sampler_with(store, batch_size=5).order(rng_for(0, "order"))
    assert sorted(np.concatenate(order).tolist()) == list(range(12))
    assert [len(batch) for batch in order] == [6, 6]


def test_class_balanced_batches_draw_every_tag_equally_whatever_its_size(store: Store) -> None:
    train = pd.concat([clip_table(0, 10), clip_table(12, 16).iloc[[0, 3]]])  # six times Bark
    clips = pd.concat([train, clip_table(16, 18)])
    sampler = sampler_with(store, clips, sampler="class_balanced", batch_size=6)
    units = np.concatenate(sampler.order(rng_for(0, "order")))
    labels = sampler.examples.targets[units].argmax(axis=1)
    assert np.bincount(sampler.examples.targets.argmax(axis=1)).tolist() == [6, 3, 3]
    assert np.bincount(labels).tolist() == [4, 4, 4]
    bark = units[labels == 0]
    assert len(set(bark.tolist())) == len(bark), "no clip twice before its tag is used up"


def test_a_batch_holds_variants_of_training_clips_and_pads_with_silence(store: Store) -> None:
    sampler = sampler_with(store, augmented_share=1.0)
    batch = sampler.gather(np.arange(12), rng_for(0, "batch"))
    assert batch.segments.shape == (12, 32, 20)
    for position, segment in enumerate(batch.segments):
        variant = store.rows(sampler.examples.entries[position][1])
        n_rows = min(len(variant), 32)
        assert any(
            (variant[start : start + n_rows] == segment[:n_rows]).all()
            for start in range(len(variant) - n_rows + 1)
        )
        assert (segment[n_rows:] == -9).all()


def test_each_clip_of_a_batch_draws_its_own_variant_and_place(store: Store) -> None:
    sampler = sampler_with(store, augmented_share=0.5)
    sampler = replace(sampler, input=replace(sampler.input, lengths=[8]))  # all clips are longer
    n_augmented = 0
    for number in range(20):
        segments = sampler.gather(np.arange(12), rng_for(0, "batch", number)).segments
        drawn = [
            place_of(segment, *map(store.rows, sampler.examples.entries[position]))
            for position, segment in enumerate(segments)
        ]
        is_augmented = [variant == 1 for variant, _ in drawn]
        assert 0 < sum(is_augmented) < 12
        assert len({start for _, start in drawn}) > 3
        n_augmented += sum(is_augmented)
    assert 90 < n_augmented < 150, "of 240"


def place_of(segment: NDArray[Any], *variants: NDArray[Any]) -> tuple[int, int]:
    """Which of the variants of a clip holds the segment, and from which row on."""
    return next(
        (variant, start)
        for variant, rows in enumerate(variants)
        for start in range(len(rows) - len(segment) + 1)
        if (rows[start : start + len(segment)] == segment).all()
    )


def test_targets_and_flags_of_a_batch_are_those_of_its_clips(store: Store) -> None:
    sampler = sampler_with(store)
    batch = sampler.gather(np.array([4, 7]), rng_for(0, "batch"))
    np.testing.assert_array_equal(batch.targets, [[0, 1, 0], [0, 1, 0]])
    assert batch.unverified.tolist() == [0, 1]


def test_every_patch_of_a_clip_is_trained_on_up_to_the_limit(store: Store) -> None:
    sampler = sampler_with(store, augmented_share=0.0)
    one_row = replace(sampler.input, lengths=[1])
    sampler = replace(sampler, max_patches=15, input=one_row)
    batch = sampler.gather(np.arange(12), rng_for(0, "batch"))
    lengths = [len(sampler.examples.original(i)) for i in range(12)]
    assert len(batch.segments) == sum(min(length, 15) for length in lengths) < sum(lengths)
    ends = np.cumsum([min(length, 15) for length in lengths])
    of_short = lengths.index(min(lengths))
    rows = batch.segments[ends[of_short] - min(lengths) : ends[of_short], 0]
    np.testing.assert_array_equal(rows, sampler.examples.original(of_short))


def test_all_crops_of_a_clip_are_units_that_together_cover_it(store: Store) -> None:
    sampler = sampler_with(store, crops_per_clip="all", augmented_share=0.0)
    rows = sampler.examples.original(0)
    units = np.flatnonzero(sampler.units[:, 0] == 0)
    assert len(units) == int(np.ceil(len(rows) / 32))
    segments = sampler.gather(units, rng_for(0, "batch")).segments
    covered = {tuple(row) for segment in segments for row in segment.tolist()}
    assert {tuple(row) for row in rows.tolist()} <= covered


@pytest.mark.parametrize("batch_size", [12, 100])
def test_an_epoch_has_at_least_one_batch(store: Store, batch_size: int) -> None:
    sampler = sampler_with(store, batch_size=batch_size)
    assert [len(batch) for batch in sampler.order(rng_for(0, "order"))] == [12]


def test_whole_clips_of_a_batch_are_as_long_as_the_longest_with_nan_after_the_others(
    store: Store,
) -> None:
    job = make_job(store, recipe=recipe_with(augmented_share=0.0))
    whole = replace(job.tagger.input, lengths=[0])
    sampler = replace(job.sampler, input=whole)
    segments = sampler.gather(np.arange(6), rng_for(0, "batch")).segments
    originals = [sampler.examples.original(i) for i in range(6)]
    assert segments.shape[1] == max(map(len, originals)) > min(map(len, originals))
    for segment, rows in zip(segments, originals, strict=True):
        np.testing.assert_array_equal(segment[: len(rows)], rows)
        assert np.isnan(segment[len(rows) :]).all()
    rows = originals[0]
    ways: tuple[Crops, ...] = ("cover", "random")
    for way in ways:
        (crop,) = whole.prediction_segments(rows, crops=way, n_crops=9, rng=rng_for(0))
        np.testing.assert_array_equal(crop, rows)
    (crop,) = whole.even_segments(rows, 3)
    np.testing.assert_array_equal(crop, rows)
