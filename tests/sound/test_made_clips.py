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


def part(clip: str = "a", **changes: Any) -> dict[str, Any]:
    usual = {"clip": clip, "start": 0.0, "left": 1.0, "semitones": 0.0, "equalisers": [FLAT, FLAT]}
    return {**usual, "gain_db": 0.0, "delay_seconds": 0.0, **changes}


def int16(*parts: tuple[float, float], level: float = 0.3) -> np.ndarray[Any, Any]:
    """Tones one after another: (Hz, seconds) each."""
    waves = [tone(hz, seconds=seconds, rate=RATE) for hz, seconds in parts]
    return (np.concatenate(waves) / np.abs(waves[0]).max() * level * 32_767).astype(np.int16)


def made(*parts: dict[str, Any], **clips: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return as_float(make(parts, RATE, clips.__getitem__))


def loudest_hz(waveform: np.ndarray[Any, Any]) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * RATE / len(waveform))


def test_a_part_that_changes_nothing_is_the_clip_at_full_scale():
    clip = int16((500, 1.0))
    expected = clip * (32_767 / np.abs(clip).max()) / 32_768
    np.testing.assert_allclose(made(part(), a=clip), expected, atol=1e-3)


def test_a_cut_leaves_its_share_from_its_start_and_no_more_than_the_longest():
    clip = int16((500, 1.0), (1000, 1.0))
    first, second = (made(part(left=0.5, start=start), a=clip) for start in (0.0, 0.9999))
    assert len(first) == len(second) == RATE
    assert loudest_hz(first) == pytest.approx(500, abs=2)
    assert loudest_hz(second) == pytest.approx(1000, abs=2)
    long = int16((500, LONGEST_SECONDS + 1))
    assert len(made(part(), a=long)) == round(LONGEST_SECONDS * RATE)


def test_semitones_change_pitch_and_length_together():
    for semitones, factor in ((12.0, 2.0), (-12.0, 0.5)):
        changed = made(part(semitones=semitones), a=int16((500, 1.0)))
        assert loudest_hz(changed) == pytest.approx(500 * factor, abs=2)
        assert len(changed) == pytest.approx(RATE / factor, abs=2)


def test_equalisers_are_those_that_were_drawn():
    clip = int16((500, 0.5), (3000, 0.5))
    values = {"center_hz": 3000.0, "gain_db": -8.0, "q": 1.0}
    expected = equalise(as_float(clip), RATE, **values)
    changed = made(part(equalisers=[FLAT, values]), a=clip)
    np.testing.assert_allclose(changed, expected / np.abs(expected).max(), atol=1e-3)


def test_a_mixture_has_both_clips_as_loud_as_was_drawn_whatever_they_were():
    quiet, loud = int16((500, 1.0), level=0.01), int16((2000, 1.0), level=0.9)
    mixture = made(part("a"), part("b", gain_db=-6.0, delay_seconds=0.5), a=quiet, b=loud)
    assert len(mixture) == 1.5 * RATE
    alone = [mixture[: RATE // 2], mixture[-RATE // 2 :]]
    assert [loudest_hz(one) for one in alone] == pytest.approx([500, 2000], abs=3)
    first, second = (np.sqrt(np.mean(one**2)) for one in alone)
    assert 20 * np.log10(second / first) == pytest.approx(-6, abs=0.1)
    assert np.abs(mixture).max() == pytest.approx(1, abs=1e-3)


def test_silence_stays_silent_and_one_sample_is_enough():
    assert not made(part(), a=np.zeros(100, np.int16)).any()
    assert len(made(part(left=0.5), a=np.ones(1, np.int16))) == 1


def test_each_clip_is_made_into_as_many_and_none_depends_on_another():
    plan = plan_made_clips(CLIPS, copies=2, seed=1)
    assert Counter(one.parts[0]["clip"] for one in plan) == dict.fromkeys(CLIPS, 2)
    assert len({one.name for one in plan}) == len(plan)
    assert plan_made_clips(CLIPS, copies=2, seed=1) == plan
    assert plan_made_clips(CLIPS, copies=1, seed=1) == plan[: len(CLIPS)]
    assert plan_made_clips(CLIPS[::-1], copies=1, seed=1)[0].parts[0] == plan[199].parts[0]
    assert plan_made_clips(CLIPS, copies=2, seed=2) != plan
    assert plan_made_clips(CLIPS, copies=0, seed=1) == []


def test_what_is_drawn_covers_its_ranges_and_mixes_its_share():
    plan = plan_made_clips(CLIPS, copies=5, seed=1)
    parts = [one.parts[0] for one in plan]
    semitones = [one["semitones"] for one in parts]
    assert min(semitones) < -3.3
    assert max(semitones) > 3.3
    assert max(map(abs, semitones)) <= made_clips.SEMITONES
    lefts = np.array([one["left"] for one in parts])
    assert (lefts == 1).mean() == pytest.approx(1 - made_clips.CUT_SHARE, abs=0.06)
    assert lefts.min() >= made_clips.SHORTEST_CUT
    mixed = [one.parts for one in plan if len(one.parts) == 2]
    assert len(mixed) / len(plan) == pytest.approx(made_clips.MIXED_SHARE, abs=0.06)
    assert len({second["clip"] for _, second in mixed}) > 0.8 * min(len(mixed), len(CLIPS))
    assert all(-12 <= second["gain_db"] <= 6 for _, second in mixed)
