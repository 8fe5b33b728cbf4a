"""New clips of a class: which clips may be mixed, and what the mixture is."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import freqz, lfilter

from earmark.params import PitchFill, SameClass
from earmark.params.reading import read_yaml
from earmark.sound.class_mixing import equalise, mix, plan_mixtures, plan_pitches
from tests.source_graph import ROOT

SHARED = read_yaml(ROOT / "profiles" / "base.yaml")["class_mixing"]
FLAT = {"center_hz": 1000.0, "gain_db": 0.0, "q": 1.0}


def same_class(**changes: Any) -> SameClass:
    return SameClass.model_validate({**SHARED["same_class"], **changes})


def clips_of(n_clips: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "clip": [f"c{i}" for i in range(n_clips)],
            "label": rng.choice(["Bark", "Cough"], n_clips),
            "fold_0": rng.choice(["train", "validation"], n_clips),
            "fold_1": rng.choice(["train", "validation"], n_clips),
        }
    )


def test_partners_share_the_class_and_every_split_and_are_another_clip():
    clips = clips_of()
    by_name = clips.set_index("clip")
    plan = plan_mixtures(clips, same_class(copies=2), seed=1)
    assert len(plan) == 2 * len(clips)
    for new in plan:
        assert new.clip != new.partner
        assert (by_name.loc[new.clip] == by_name.loc[new.partner]).all()


def test_a_clip_that_is_alone_in_its_class_and_splits_is_not_mixed():
    clips = clips_of(4).assign(label=["a", "a", "b", "b"], fold_0="train", fold_1="train")
    clips.loc[3, "fold_1"] = "validation"
    assert {new.clip for new in plan_mixtures(clips, same_class(copies=1), seed=1)} == {"c0", "c1"}


def test_nothing_is_planned_where_nothing_is_asked_for():
    assert plan_mixtures(clips_of(), same_class(copies=0), seed=1) == []
    assert plan_pitches(clips_of(), PitchFill(up_to=0, max_semitones=11), seed=1) == []


def test_small_classes_are_filled_up_and_large_ones_left_alone():
    clips = pd.DataFrame({"clip": [f"c{i}" for i in range(9)], "label": ["a"] * 7 + ["b"] * 2})
    plan = plan_pitches(clips, PitchFill(up_to=6, max_semitones=11), seed=1)
    assert [new.clip for new in plan].count("c7") == [new.clip for new in plan].count("c8") == 2
    assert len(plan) == 4
    steps = {(new.clip, new.values["semitones"]) for new in plan}
    assert len(steps) == 4, "no pitch of a clip twice"
    assert all(0 < abs(step) <= 11 and step == int(step) for _, step in steps)
    every = plan_pitches(clips[7:], PitchFill(up_to=100, max_semitones=1), seed=1)
    assert len(every) == 4, "no more than there are clips and pitches"


def test_a_mixture_is_the_weighted_sum_with_the_second_delayed():
    first, second = np.array([1.0, 0, 0, 0]), np.array([0.5, 0.5])
    values = {"share": 0.25, "delay_seconds": 0.003, "equalisers": [FLAT, FLAT]}
    mixture = mix(first, second, 1000, values)
    np.testing.assert_allclose(mixture, [0.25, 0, 0, 0.375, 0.375], atol=1e-12)


@pytest.mark.parametrize("gain_db", [-8.0, 8.0])
def test_the_equaliser_has_its_gain_at_its_centre_and_none_far_from_it(gain_db, monkeypatch):
    used = []

    def recording_filter(b, a, waveform):
        used.append((b, a))
        return lfilter(b, a, waveform)

    monkeypatch.setattr("scipy.signal.lfilter", recording_filter)
    equalise(np.zeros(8), 44_100, center_hz=2000.0, gain_db=gain_db, q=3.0)
    _, response = freqz(*used[0], worN=[20.0, 2000.0, 20_000.0], fs=44_100)
    np.testing.assert_allclose(20 * np.log10(np.abs(response)), [0, gain_db, 0], atol=0.2)


def test_draws_lie_in_their_ranges_and_depend_on_the_clip_alone():
    plan = plan_mixtures(clips_of(), same_class(copies=1), seed=1)
    again = plan_mixtures(clips_of()[::-1], same_class(copies=1), seed=1)
    assert {n.clip: n.values for n in plan} == {n.clip: n.values for n in again}
    for new in plan:
        assert 0 <= new.values["share"] <= 1
        assert 0 <= new.values["delay_seconds"] <= 2
        for equaliser in new.values["equalisers"]:
            assert 100 <= equaliser["center_hz"] <= 6000
            assert abs(equaliser["gain_db"]) <= 8
            assert 1 <= equaliser["q"] <= 9
