"""Rows of variants are those of SoX's sound; what changed is made again, and only that."""

import json
from pathlib import Path

import numpy as np
import pytest

from earmark.features import build
from earmark.features.extraction import extract
from earmark.features.variants import write_variants
from earmark.layout import Layout
from earmark.params import Feature
from earmark.sound import sox
from earmark.sound.trimmed_clips import TrimmedClips
from earmark.store import Store
from tests.stored_clips import store_clips
from tests.waveforms import noise

TEMPO, PITCH = {"factor": [0.8, 1.25]}, {"semitones": [-1.0, 1.0]}
RATE = 8000
WAVE = Feature.model_validate({"type": "waveform", "target_hz": 8000})
SLOW = Feature.model_validate({"type": "waveform", "target_hz": 4000})
FEATURES = {"wave": WAVE, "slow": SLOW}


@pytest.fixture
def trimmed(tmp_path: Path) -> TrimmedClips:
    waveforms = {name: noise(4000, key=name) for name in "abc"}
    return store_clips(Layout(tmp_path), waveforms, rate=RATE, split={"b": "test"})


def made(folder, trimmed, effects, features=FEATURES, *, seed=1, code="x") -> list[str]:
    codes = dict.fromkeys(features, code)
    return write_variants(folder, trimmed, effects, features, seed=seed, code=codes, workers=1)


def inodes(folder: Path) -> dict[str, int]:
    """Those of the rows, which change when a store is written."""
    paths = folder.rglob("rows-000.npy")
    return {path.parent.relative_to(folder).as_posix(): path.stat().st_ino for path in paths}


def test_only_the_effect_that_changed_is_made_again(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    assert made(folder, trimmed, {"tempo": TEMPO, "pitch": PITCH}) == ["pitch", "tempo"]
    assert made(folder, trimmed, {"tempo": TEMPO, "pitch": PITCH}) == []
    changed = {"tempo": {"factor": [0.9, 1.1]}, "pitch": PITCH}
    assert made(folder, trimmed, changed) == ["tempo"]
    assert made(folder, trimmed, changed, code="y") == ["pitch", "tempo"]
    assert made(folder, trimmed, changed, seed=2, code="y") == ["pitch", "tempo"]


def test_only_the_feature_that_changed_is_made_again(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    made(folder, trimmed, {"tempo": TEMPO})
    before = inodes(folder)
    assert before.keys() == {"wave/tempo", "slow/tempo"}
    faster = Feature.model_validate({"type": "waveform", "target_hz": 5000})
    assert made(folder, trimmed, {"tempo": TEMPO}, {"wave": WAVE, "slow": faster}) == ["tempo"]
    after = inodes(folder)
    assert {name for name in before if before[name] != after[name]} == {"slow/tempo"}
    assert made(folder, trimmed, {"tempo": TEMPO}, {"wave": WAVE}) == []
    assert inodes(folder).keys() == {"wave/tempo"}


def test_rows_are_those_of_the_sound_by_the_drawn_values(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    made(folder, trimmed, {"pitch": PITCH})
    for name, feature in FEATURES.items():
        store = Store.open(folder / name / "pitch")
        extractor = build(feature.type, feature.options, sample_rate=RATE)
        for position, (clip, drawn) in enumerate(store.index[["clip", "drawn"]].to_numpy()):
            waveform = trimmed.waveform(list(trimmed.index["clip"]).index(clip))
            sound = np.asarray(sox.apply(waveform, RATE, "pitch", json.loads(drawn)))
            expected = np.asarray(extract(sound, extractor))
            np.testing.assert_array_equal(store.rows(position), expected)


def test_variants_are_of_training_clips_and_those_of_dropped_effects_go(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    made(folder, trimmed, {"tempo": TEMPO, "pitch": PITCH})
    for store, effect in zip(Store.open_all(folder / "wave"), ("pitch", "tempo"), strict=True):
        assert list(store.index["clip"]) == ["a", "c"]
        assert set(store.index["variant"]) == {effect}
    made(folder, trimmed, {"pitch": PITCH})
    assert {path.name for path in (folder / "slow").iterdir()} == {"pitch", "effects.json"}
    made(folder, trimmed, {})
    assert Store.open_all(folder / "wave") == []
    assert (folder / "wave" / "effects.json").exists()  # DVC knows no empty folders


def test_each_clip_draws_its_own_values(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    made(folder, trimmed, {"tempo": TEMPO, "pitch": PITCH})
    for store in Store.open_all(folder / "wave"):
        assert store.index["drawn"].nunique() == 2


def test_a_store_that_was_cut_short_is_made_again(tmp_path, trimmed):
    folder = tmp_path / "augmented"
    made(folder, trimmed, {"tempo": TEMPO})
    (folder / "wave" / "tempo" / "store.json").write_text("{")
    assert made(folder, trimmed, {"tempo": TEMPO}) == ["tempo"]


def test_samples_of_an_older_layout_go(tmp_path, trimmed):
    old = tmp_path / "augmented" / "tempo"
    old.mkdir(parents=True)
    (old / "rows-000.npy").write_bytes(b"samples")
    made(tmp_path / "augmented", trimmed, {"tempo": TEMPO})
    assert not old.exists()
