"""The estimator of segments: fitted on trusted segments alone, by closed-form values."""

import numpy as np
import pandas as pd
import pytest

from earmark.ensemble.segment_tuning import (
    MAX_SEGMENTS,
    ClipSegments,
    as_table,
    level_of_precision,
    predict_segments,
    segment_predictions,
    tune_segments,
)
from earmark.evaluation.predictions import ENSEMBLE, Predictions
from earmark.evaluation.temperature import temper
from earmark.inference.workspace import load_ensemble
from earmark.labels import Task
from earmark.seeding import rng_for
from tests.inference.workspaces import RATE, RUNTIME, make_workspace

TAGS = ["a", "b", "c"]
METADATA = {"mean_temperatures": {ENSEMBLE: 0.8}, "preparation": {"rejection_threshold": 0.0}}


def test_the_level_is_the_lowest_with_the_precision_that_is_asked_for():
    confidence = np.linspace(0.01, 1, 100)
    is_right = np.arange(100) >= 60
    level = level_of_precision(confidence, is_right, 0.8)
    assert is_right[confidence >= level].mean() >= 0.8
    lower = confidence >= level - 0.011
    assert is_right[lower].mean() < 0.8
    assert level_of_precision(confidence, is_right, 0.4) == 0.0  # all of them are so precise


def test_a_level_that_few_reach_does_not_count_and_equal_confidences_stay_together():
    confidence = np.array([0.9] * 5 + [0.5] * 30)
    is_right = np.array([True] * 5 + [False] * 30)
    assert level_of_precision(confidence, is_right, 0.99) == 0.5, "five are too few to tell"
    tied = level_of_precision(np.full(40, 0.7), np.arange(40) < 30, 0.9)
    assert tied == 0.7


def predictions(n: int, *, temperature: float, verified: bool = True) -> Predictions:
    """Of probabilities that are right as often as they say, at some temperature."""
    rng = rng_for(0, "segments", n)
    true = rng.dirichlet(np.ones(len(TAGS)), n)
    labels = [TAGS[rng.choice(len(TAGS), p=row)] for row in true]
    clips = pd.DataFrame(
        {
            "clip": [f"{i}.wav" for i in range(n)], "label": labels, "split": "validation",
            "fold": [str(i % 2) for i in range(n)], "verified": verified, "source": "",
            "usage": "", "quarantined": False,
        }
    )  # fmt: skip
    clips["cross_fit_group"] = clips["fold"]
    task = Task(tags=TAGS, aux_labels=[], is_multi_label=False)
    stated = temper(true, temperature, is_multi_label=False)
    return Predictions.of(ENSEMBLE, task, clips, stated)


def test_the_temperature_is_that_which_the_segments_were_made_with():
    clips = predictions(400, temperature=1.0)
    made = predictions(3000, temperature=0.5)  # twice as confident as they should be
    segments = Predictions.of(ENSEMBLE, made.task, made.clips.assign(start=0), made.probabilities)
    fitted = tune_segments(segments, clips, METADATA)
    assert fitted["temperature_out_of_fold"] == pytest.approx(2.0, rel=0.1)
    assert fitted["temperature"] == pytest.approx(0.8 * fitted["temperature_out_of_fold"])
    assert fitted["ece"] < fitted["ece_chance_limit"] * 1.5
    assert fitted["n_segments"] == 3000
    assert fitted["precision"] >= fitted["precision_of_clips"] or fitted["rejection_threshold"]
    assert "thresholds" not in fitted


def test_segments_of_labels_that_nobody_verified_tune_nothing():
    segments = predictions(600, temperature=0.5)
    wrong = predictions(600, temperature=0.5, verified=False)
    shuffled = wrong.clips.assign(label=np.roll(wrong.clips["label"], 1))
    clips = pd.concat([segments.clips, shuffled], ignore_index=True).assign(start=0)
    both = np.concatenate([segments.probabilities, wrong.probabilities])
    mixed = Predictions.of(ENSEMBLE, segments.task, clips, both)
    alone = tune_segments(segments, segments, METADATA)
    assert tune_segments(mixed, segments, METADATA)["temperature"] == alone["temperature"]


def test_segments_take_over_what_is_known_of_their_clip():
    clips = predictions(4, temperature=1.0)
    p = np.full((2, 3), 1 / 3)
    by_fold = {
        "0": [ClipSegments("2.wav", [0, 800], p), ClipSegments("elsewhere.wav", [0, 1], p)],
        "1": [ClipSegments("1.wav", [100, 200], p)],
    }
    segments = segment_predictions(clips, by_fold)
    assert segments.clips["clip"].tolist() == ["2.wav", "2.wav", "1.wav", "1.wav"]
    assert segments.clips["fold"].tolist() == ["0", "0", "1", "1"]
    labels = clips.clips.set_index("clip")["label"]
    assert segments.clips["label"].tolist() == [labels[c] for c in segments.clips["clip"]]
    table = as_table(segments, 100)
    assert table["start_seconds"].tolist() == [0.0, 8.0, 1.0, 2.0]
    assert table.columns.tolist()[-3:] == TAGS


def test_of_a_long_clip_some_segments_with_sound_are_tagged_spread_over_it(tmp_path):
    tagger = load_ensemble(RUNTIME, make_workspace(tmp_path))
    waveform = np.zeros(20 * RATE, np.int16)
    waveform[4 * RATE :] = rng_for(0, "x").integers(-9000, 9000, 16 * RATE)
    windows, networks = tagger.rules.windows, {"first": tagger.networks["first"]}
    short = ("short", waveform[-RATE:])
    found = list(
        predict_segments(
            networks, iter([("long", waveform), short]), tagger.rules, windows, tagger.device
        )
    )
    assert [one.clip for one in found] == ["long", "short"]
    starts = np.array(found[0].starts) / RATE
    assert len(starts) == MAX_SEGMENTS
    assert starts[0] >= 3.5
    assert starts[-1] == 19.5
    assert found[1].probabilities.shape == (3, 4)
