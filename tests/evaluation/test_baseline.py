"""Whether a network beats the baseline, and how the report tells it."""

import numpy as np
import pandas as pd
import pytest

from earmark.evaluation.baseline import baseline_notes, over_baseline
from earmark.evaluation.predictions import Predictions
from tests.evaluation.small_predictions import ONE, TAGS

N_CLIPS = 200


def right_on(name: str, share: float, *, since: float = 0.0) -> Predictions:
    """Right on some clips in turn, of each tag alike, and wrong on the others."""
    labels = np.arange(N_CLIPS) % 4
    clips = pd.DataFrame({"clip": [f"c{i}" for i in range(N_CLIPS)], "split": "validation"})
    clips = clips.assign(fold="0", cross_fit_group="0", label=np.array(TAGS)[labels], source="")
    clips = clips.assign(verified=True, usage="", quarantined=False)
    position = np.arange(N_CLIPS) / N_CLIPS
    answers = np.where((position >= since) & (position < since + share), labels, (labels + 1) % 4)
    return Predictions.of(name, ONE, clips, 0.1 + 0.6 * np.eye(4)[answers])


def compared(**shares: float) -> dict:
    others = {
        name: right_on(name, share, since=0.2 if name == "luckier" else 0.0)
        for name, share in shares.items()
    }
    options = {"metric": "accuracy", "seed": 1, "n_resamples": 200}
    return over_baseline(right_on("simple", 0.6), others, **options)


def test_a_network_beats_the_baseline_where_the_interval_is_above_zero() -> None:
    scores = compared(better=0.8, luckier=0.64, equal=0.6, worse=0.5)
    assert scores["name"] == "simple"
    beats = {name: one["beats"] for name, one in scores["members"].items()}
    assert beats == {"better": True, "luckier": False, "equal": False, "worse": False}
    better = scores["members"]["better"]
    assert better["difference"]["value"] == pytest.approx(0.2)
    assert 0.1 < better["difference"]["low"] < 0.2 < better["difference"]["high"] < 0.3


def test_a_network_that_does_not_beat_it_is_said_not_to() -> None:
    better, luckier, worse = baseline_notes(compared(better=0.8, luckier=0.64, worse=0.5))
    assert better.startswith(
        "better beats the baseline, simple: out-of-fold accuracy 0.8000 against 0.6000, difference "
        "+0.2000 (95 % interval +0.1"
    )
    assert luckier.startswith("luckier does NOT beat the baseline, simple: ")
    assert luckier.endswith("Its lead may be due to chance.")
    assert worse.startswith("worse does NOT beat the baseline, simple: ")
    assert "chance" not in worse


def test_without_an_interval_it_takes_a_small_p() -> None:
    few = [one.take(np.arange(8)) for one in (right_on("a", 0.0), right_on("b", 1.0))]
    scores = over_baseline(few[0], {"b": few[1]}, metric="accuracy", seed=1, n_resamples=200)
    one = scores["members"]["b"]
    assert "why_no_interval" in one["difference"]
    assert one["beats"] == (one["p_value"] <= 0.05)
    assert "no interval: too few" in baseline_notes(scores)[0]
