"""What is made of training clips is what was drawn, which depends on clip and seed alone."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from earmark.sound import made_clips
from earmark.sound.class_mixing import equalise
from earmark.sound.made_clips import LONGEST_SECONDS, make, plan_made_clips
from earmark.sound.samples import as_float
from tests.waveforms import tone

RATE = 16_000
FLAT = {"center_hz": 1000.0, "gain_db": 0.0, "q": 1.0}  # an equaliser that changes nothing
CLIPS = [f"{i}.wav" for i in range(200)]


def values(**changes: Any) -> dict[str, Any]:
    usual = {"start": 0.0, "left": 1.0, "semitones": 0.0, "equalisers": [FLAT, FLAT]}
    return {**usual, **changes}


def int16(*parts: tuple[float, float], level: float = 0.3) -> np.ndarray[Any, Any]:
    """Tones one after another: (Hz, seconds) each."""
    waves = [tone(hz, seconds=seconds, rate=RATE) for hz, seconds in parts]
    return (np.concatenate(waves) / np.abs(waves[0]).max() * level * 32_767).astype(np.int16)


def made(clip: np.ndarray[Any, Any], **changes: Any) -> np.ndarray[Any, Any]:
    return as_float(make(clip, RATE, values(**changes)))


def loudest_hz(waveform: np.ndarray[Any, Any]) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * RATE / len(waveform))


def test_what_changes_nothing_is_the_clip_at_full_scale():
    clip = int16((500, 1.0))
    expected = clip * (32_767 / np.abs(clip).max()) / 32_768
    np.testing.assert_allclose(made(clip), expected, atol=1e-3)


def test_a_cut_leaves_its_share_from_its_start_and_no_more_than_the_longest():
    clip = int16((500, 1.0), (1000, 1.0))
    first, second = (made(clip, left=0.5, start=start) for start in (0.0, 0.9999))
    assert len(first) == len(second) == RATE
    assert loudest_hz(first) == pytest.approx(500, abs=2)
    assert loudest_hz(second) == pytest.approx(1000, abs=2)
    long = int16((500, LONGEST_SECONDS + 1))
    assert len(made(long)) == round(LONGEST_SECONDS * RATE)


def test_semitones_change_pitch_and_length_together():
    for semitones, factor in ((12.0, 2.0), (-12.0, 0.5)):
        changed = made(int16((500, 1.0)), semitones=semitones)
        assert loudest_hz(changed) == pytest.approx(500 * factor, abs=2)
        assert len(changed) == pytest.approx(RATE / factor, abs=2)


def test_equalisers_are_those_that_were_drawn():
    clip = int16((500, 0.5), (3000, 0.5))
    low = {"center_hz": 3000.0, "gain_db": -8.0, "q": 1.0}
    high = {"center_hz": 500.0, "gain_db": 4.0, "q": 2.0}
    expected = equalise(equalise(as_float(clip), RATE, **low), RATE, **high)
    changed = made(clip, equalisers=[low, high])
    np.testing.assert_allclose(changed, expected / np.abs(expected).max(), atol=1e-3)


def test_silence_stays_silent_and_one_sample_is_enough():
    assert not made(np.zeros(100, np.int16)).any()
    assert len(made(np.ones(1, np.int16), left=0.5)) == 1


def test_each_clip_is_made_into_as_many_and_none_depends_on_another():
    plan = plan_made_clips(CLIPS, copies=2, seed=1)
    assert Counter(one.clip for one in plan) == dict.fromkeys(CLIPS, 2)
    assert len({one.name for one in plan}) == len(plan)
    assert plan_made_clips(CLIPS, copies=2, seed=1) == plan
    assert plan_made_clips(CLIPS, copies=1, seed=1) == plan[: len(CLIPS)]
    assert plan_made_clips(CLIPS[::-1], copies=1, seed=1) == plan[199::-1]
    assert len({str(one.values) for one in plan}) == len(plan)
    assert plan_made_clips(CLIPS, copies=2, seed=2) != plan
    assert plan_made_clips(CLIPS, copies=0, seed=1) == []


def test_what_is_drawn_covers_its_ranges():
    drawn = [one.values for one in plan_made_clips(CLIPS, copies=5, seed=1)]
    semitones = np.array([one["semitones"] for one in drawn])
    assert semitones.min() < -3.3
    assert semitones.max() > 3.3
    assert np.abs(semitones).max() <= made_clips.SEMITONES
    lefts = np.array([one["left"] for one in drawn])
    assert (lefts == 1).mean() == pytest.approx(1 - made_clips.CUT_SHARE, abs=0.06)
    assert lefts.min() >= made_clips.SHORTEST_CUT
    assert {len(one["equalisers"]) for one in drawn} == {made_clips.N_EQUALISERS}
