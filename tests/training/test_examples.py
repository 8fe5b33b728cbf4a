"""Which clips are trained on, what stands for them in the store, and how they are standardised."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earmark.labels import Task
from earmark.layout import Layout
from earmark.records import write_table
from earmark.seeding import rng_for
from earmark.store import Store, StoreWriter
from earmark.training.examples import Examples, fold_examples, standardisation
from tests.training.conftest import TASK, clip_table, recipe_with


def test_class_mixed_clips_are_examples_of_their_own_and_share_both_auxiliary_labels(
    tmp_path: Path,
) -> None:
    entries = [
        ("a", "", ""),
        ("b", "", ""),
        ("a", "tempo", ""),
        ("a", "same_class", "b"),
        ("b", "pitch_fill", ""),
        ("stranger", "same_class", "a"),
    ]
    with StoreWriter(tmp_path / "f", row_shape=(), dtype="int16") as out:
        for i, (clip, variant, partner) in enumerate(entries):
            out.append(np.full(3, i, dtype=np.int16), clip=clip, variant=variant, partner=partner)
    clips = pd.DataFrame(
        {
            "clip": ["b", "a"],
            "label": "Bark",
            "aux_label": ["yap", "howl"],
            "verified": [True, False],
        }
    )
    task = Task(["Bark"], is_multi_label=False, aux_labels=["howl", "yap"])
    store = Store.open(tmp_path / "f")
    examples = Examples.select(store, clips, task, with_class_mixed=True)
    assert examples.clips == ["b", "a", "a", "b"]
    assert examples.entries == [[1], [0, 2], [3], [4]]
    assert examples.targets.tolist() == [[1, 0, 1], [1, 1, 0], [1, 0.5, 0.5], [1, 0, 1]]
    assert examples.unverified.tolist() == [0, 1, 1, 0]
    assert Examples.select(store, clips, task).clips == ["b", "a"]


def test_a_mixture_with_a_corrected_clip_is_left_out_and_one_with_a_doubted_clip_weighs_less(
    tmp_path: Path,
) -> None:
    entries = [("a", "", ""), ("b", "", ""), ("c", "", ""), ("a", "same_class", "b")]
    entries += [("b", "same_class", "c"), ("c", "same_class", "a"), ("b", "pitch_fill", "")]
    with StoreWriter(tmp_path / "f", row_shape=(), dtype="int16") as out:
        for clip, variant, partner in entries:
            out.append(np.zeros(3, np.int16), clip=clip, variant=variant, partner=partner)
    clips = clip_table(0, 3).assign(clip=["a", "b", "c"], label=["Bark", "Flute", "Bark"])
    clips = clips.assign(weight=[1.0, 1.0, 0.25], is_corrected=[False, True, False])
    store = Store.open(tmp_path / "f")
    examples = Examples.select(store, clips, TASK, with_class_mixed=True)
    assert examples.clips == ["a", "b", "c", "c", "b"]
    assert examples.entries == [[0], [1], [2], [5], [6]]
    assert examples.weights.tolist() == [1, 1, 0.25, 0.25, 1]
    assert examples.is_corrected.tolist() == [False, True, False, False, True]
    assert examples.at(np.array([2, 1])).weights.tolist() == [0.25, 1]


def test_the_original_comes_first_wherever_it_stands_in_the_store(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "f", row_shape=(), dtype="int16") as out:
        for i, variant in enumerate(["tempo", "", "pitch"]):
            out.append(np.full(2, i, dtype=np.int16), clip="c0", variant=variant)
    examples = Examples.select(Store.open(tmp_path / "f"), clip_table(0, 1), TASK)
    assert examples.entries == [[1, 0, 2]]
    assert examples.original(0).tolist() == [1, 1]


def test_variants_are_drawn_as_often_as_asked_and_the_original_is_none_of_them(
    tmp_path: Path,
) -> None:
    with StoreWriter(tmp_path / "f", row_shape=(), dtype="int16") as out:
        for i, variant in enumerate(["", "tempo", "pitch"]):
            out.append(np.full(1, i, dtype=np.int16), clip="c0", variant=variant)
    examples = Examples.select(Store.open(tmp_path / "f"), clip_table(0, 1), TASK)
    drawn = [examples.draw_entry(0, 0.5, rng_for(0, i)) for i in range(600)]
    shares = np.bincount(drawn, minlength=3) / 600
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.07)
    assert all(examples.draw_entry(0, 1.0, rng_for(0, i)) > 0 for i in range(50))


def test_a_fold_has_the_tags_of_all_training_clips_and_validates_on_no_class_mixed_ones(
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path)
    clips = clip_table(0, 6).assign(
        split=["train"] * 5 + ["test"],
        fold_0=["train", "train", "validation", "none", "none", ""],
        inner_0=[False, True, False, False, False, False],
    )
    write_table(layout.folds, clips)
    with StoreWriter(tmp_path / "f", row_shape=(), dtype="int16") as out:
        for clip in clips["clip"]:
            for variant in ("", "same_class"):
                partner = "c1" if variant else ""
                out.append(np.zeros(2, np.int16), clip=clip, variant=variant, partner=partner)
    store = Store.open(tmp_path / "f")
    recipe = recipe_with(class_mixed_clips=True)
    train, inner, validation = fold_examples(layout, store, "0", recipe)
    assert inner is None
    assert train.clips == ["c0", "c1", "c0", "c1"]
    assert validation.clips == ["c2"]
    assert train.task.tags == ["Bark", "Cough", "Flute"]
    train = fold_examples(layout, store, "0", recipe_with(class_mixed_clips=False)).train
    assert train.clips == ["c0", "c1"]

    # What is held out to choose the epoch trains in no way: not as the partner of a mixed clip.
    inner_split = recipe_with(class_mixed_clips=True, epoch_choice="inner_split")
    train, inner, validation = fold_examples(layout, store, "0", inner_split)
    assert (train.clips, validation.clips) == (["c0"], ["c2"])
    assert inner is not None
    assert inner.clips == ["c1"]


def test_standardisation_is_the_mean_and_deviation_of_all_values_or_of_each_column(
    store: Store,
) -> None:
    examples = Examples.select(store, clip_table(0, 12), TASK)
    rows = np.concatenate([examples.original(i) for i in range(12)]).astype(np.float64)
    mean, std = standardisation(examples, per="array")
    assert (mean[0], std[0]) == pytest.approx((rows.mean(), rows.std()))
    means, stds = standardisation(examples, per="column")
    np.testing.assert_allclose(means, rows.mean(axis=0))
    np.testing.assert_allclose(stds, rows.std(axis=0))
    assert standardisation(examples, per="none", scale=32768.0) == ([0.0], [32768.0])


def test_standardisation_of_long_clips_is_that_of_short_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = Examples.select(store, clip_table(0, 12), TASK)
    at_once = [standardisation(examples, per=per) for per in ("array", "column")]
    monkeypatch.setattr("earmark.training.examples._BLOCK_VALUES", 7)
    by_blocks = [standardisation(examples, per=per) for per in ("array", "column")]
    for a, b in zip(at_once, by_blocks, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
