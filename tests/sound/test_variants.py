"""Variants of an effect are made again where it changed, and only those."""

import numpy as np
import pytest

from earmark.sound.variants import write_variants
from earmark.store import Store, StoreWriter

TEMPO, PITCH = {"factor": [0.8, 1.25]}, {"semitones": [-1.0, 1.0]}


@pytest.fixture
def trimmed(tmp_path) -> Store:
    rng = np.random.default_rng(0)
    metadata = {"sample_rate": 8000}
    with StoreWriter(tmp_path / "trimmed", row_shape=(), dtype="int16", metadata=metadata) as store:
        for clip, split in (("a", "train"), ("b", "test"), ("c", "train")):
            store.append(rng.integers(-9999, 9999, 4000).astype(np.int16), clip=clip, split=split)
    return Store.open(tmp_path / "trimmed")


def made(folder, trimmed, effects, *, seed=1, code="x") -> list[str]:
    codes = dict.fromkeys(effects, code)
    return write_variants(folder, trimmed, effects, seed=seed, code=codes, workers=1)


def test_only_the_effect_that_changed_is_made_again(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    assert made(folder, trimmed, {"tempo": TEMPO, "pitch": PITCH}) == ["pitch", "tempo"]
    assert made(folder, trimmed, {"tempo": TEMPO, "pitch": PITCH}) == []
    changed = {"tempo": {"factor": [0.9, 1.1]}, "pitch": PITCH}
    assert made(folder, trimmed, changed) == ["tempo"]
    assert made(folder, trimmed, changed, code="y") == ["pitch", "tempo"]
    assert made(folder, trimmed, changed, seed=2, code="y") == ["pitch", "tempo"]


def test_variants_are_of_training_clips_and_those_of_dropped_effects_go(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    made(folder, trimmed, {"tempo": TEMPO, "pitch": PITCH})
    for store, effect in zip(Store.open_all(folder), ("pitch", "tempo"), strict=True):
        assert list(store.index["clip"]) == ["a", "c"]
        assert set(store.index["variant"]) == {effect}
    made(folder, trimmed, {"pitch": PITCH})
    assert [path.name for path in folder.iterdir()] == ["pitch"]
    made(folder, trimmed, {})
    assert Store.open_all(folder) == []


def test_each_clip_draws_its_own_values(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    made(folder, trimmed, {"tempo": TEMPO, "pitch": PITCH})
    for store in Store.open_all(folder):
        assert store.index["drawn"].nunique() == 2


def test_a_store_that_was_cut_short_is_made_again(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    made(folder, trimmed, {"tempo": TEMPO})
    (folder / "tempo" / "store.json").write_text("{")
    assert made(folder, trimmed, {"tempo": TEMPO}) == ["tempo"]
