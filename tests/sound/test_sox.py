"""SoX effects: what is drawn, what SoX is told, and what it does to a sound."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UserError
from earmark.seeding import rng_for
from earmark.sound import sox
from earmark.spool import IN_MEMORY, Scratch
from tests.waveforms import noise

RATE = 44_100
OPTIONS: dict[str, dict[str, Any]] = {
    "tempo": {"factor": [0.8, 1.25]},
    "pitch": {"semitones": [-3.5, 3.5]},
    "reverb": {
        "reverberance": [10, 80],
        "high_freq_damping": [0, 100],
        "room_scale": [0, 100],
        "pre_delay_ms": [0, 20],
    },
    "compand": {"preset": ["radio", "film_standard", "music_standard", "speech"]},
}
EFFECT_NAMES = pytest.mark.parametrize("effect", list(OPTIONS))


def tone(frequency_hz: float, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.rint(level * 32767 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.int16)


def peak_hz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 8 * RATE))
    return float(spectrum.argmax() / 8)


def level_db(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean((waveform / 32768.0) ** 2)))


# Drawing.


@EFFECT_NAMES
def test_draw_depends_on_its_key_alone(effect: str) -> None:
    first = sox.draw(effect, OPTIONS[effect], rng_for(1, effect, "clip"))
    sox.draw(effect, OPTIONS[effect], rng_for(1, effect, "another"))
    assert sox.draw(effect, OPTIONS[effect], rng_for(1, effect, "clip")) == first
    drawn = [sox.draw(effect, OPTIONS[effect], rng_for(1, effect, key)) for key in range(20)]
    assert any(values != first for values in drawn)
    assert first.keys() == OPTIONS[effect].keys()


@given(seed=st.integers(0, 2**32))
def test_drawn_numbers_stay_within_their_range(seed: int) -> None:
    for effect in ("tempo", "pitch", "reverb"):
        for name, value in sox.draw(effect, OPTIONS[effect], rng_for(seed, effect)).items():
            low, high = OPTIONS[effect][name]
            assert low <= value <= high


def test_tempo_is_drawn_on_a_logarithmic_scale() -> None:
    options = {"factor": [0.25, 4.0]}
    drawn = [sox.draw("tempo", options, rng_for(0, key))["factor"] for key in range(2000)]
    assert np.median(drawn) == pytest.approx(1, rel=0.1)


def test_one_value_or_a_choice_may_stand_for_a_range() -> None:
    semitones = {"among": [-2, -1, 1, 2]}
    drawn = {
        sox.draw("pitch", {"semitones": semitones}, rng_for(0, key))["semitones"]
        for key in range(100)
    }
    assert drawn == {-2, -1, 1, 2}
    assert sox.draw("compand", {"preset": "radio"}, rng_for(0)) == {"preset": "radio"}


@pytest.mark.parametrize(
    ("effect", "options", "message"),
    [
        ("echo", {}, r"'echo'; choose one of tempo, pitch, reverb, compand"),
        ("tempo", {"rate": 1}, r"tempo: unknown option rate; it takes factor"),
        ("reverb", {"room_scale": 1}, r"missing option high_freq_damping, pre_delay_ms, rever"),
        ("tempo", {"factor": [0, 2]}, r"tempo.factor: must be 0.25 to 4; got 0"),
        ("tempo", {"factor": [1.2, 0.8]}, r"tempo.factor: \[1.2, 0.8\] is not a range"),
        ("tempo", {"factor": [0.8, 0.9, 1.1]}, r"is not a range; .* low <= high, or \{among"),
        ("tempo", {"factor": []}, r"got none"),
        ("tempo", {"factor": True}, r"got True"),
        ("tempo", {"factor": float("nan")}, r"got nan"),
        ("pitch", {"semitones": {"of": [1]}}, r"got \{'of': \[1\]\}"),
        ("compand", {"preset": ["radio", "tv"]}, r"one of radio, film_standard.*got tv"),
    ],
)
def test_wrong_options_are_named(effect: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sox.draw(effect, options, rng_for(0))


# What SoX is told.


def test_arguments_are_the_quick_and_the_documented_ones() -> None:
    assert sox.arguments("tempo", {"factor": 1.05}) == ["tempo", "-q", "1.050000"]
    assert sox.arguments("pitch", {"semitones": -3.5}) == ["pitch", "-q", "-350.000000"]
    reverb = {"reverberance": 50, "high_freq_damping": 40, "room_scale": 30, "pre_delay_ms": 20}
    told = [float(value) for value in sox.arguments("reverb", reverb)[1:]]
    assert told == [50, 40, 30, 0, 20, 0]  # the fourth is the stereo depth, the last the wet gain
    radio = ["compand", "0.01,1", "-90,-90,-70,-70,-60,-20,0,0", "-5.000000"]
    assert sox.arguments("compand", {"preset": "radio"}) == radio
    speech = ["compand", "0.1,0.3", "-90,-90,-70,-55,-50,-35,-31,-31,-21,-21,0,-20"]
    speech += ["0.000000", "0", "0.1"]
    assert sox.arguments("compand", {"preset": "speech"}) == speech


# What SoX does.


@pytest.mark.parametrize("factor", [0.8123, 0.95, 1.0718, 1.2311])
def test_tempo_changes_the_length_and_keeps_the_pitch(factor: float) -> None:
    changed = sox.apply(tone(440), RATE, "tempo", {"factor": factor})
    assert len(changed) == pytest.approx(RATE / factor, rel=1e-3)
    assert peak_hz(changed) == pytest.approx(440, rel=0.01)


@pytest.mark.parametrize("semitones", [-3.5, -1, 2, 3.5])
def test_pitch_moves_the_peak_and_keeps_the_length(semitones: float) -> None:
    changed = sox.apply(tone(440), RATE, "pitch", {"semitones": semitones})
    assert len(changed) == RATE
    assert peak_hz(changed) == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)


def test_reverb_keeps_the_length_and_fills_the_silence_after_a_sound() -> None:
    waveform = np.concatenate([noise(RATE // 2), np.zeros(RATE // 2, np.int16)])
    values = {"reverberance": 80, "high_freq_damping": 20, "room_scale": 100, "pre_delay_ms": 10}
    changed = sox.apply(waveform, RATE, "reverb", values)
    assert len(changed) == len(waveform)
    assert level_db(changed[RATE // 2 :]) > -60


@pytest.mark.parametrize("preset", [name for name in sox.PRESETS if name != "radio"])
def test_presets_reduce_the_dynamic_range(preset: str) -> None:
    waveform = np.concatenate([tone(440, 2, level=0.9), tone(440, 2, level=0.003)])
    changed = sox.apply(waveform, RATE, "compand", {"preset": preset})
    before = level_db(waveform[RATE : 2 * RATE]) - level_db(waveform[-RATE:])
    after = level_db(changed[RATE : 2 * RATE]) - level_db(changed[-RATE:])
    assert before == pytest.approx(49.5, abs=0.5)
    assert after < before - 10


def test_radio_lifts_what_is_quiet_by_its_table() -> None:
    # Ten seconds, since SoX begins with the volume of full scale and forgets it at 8.7 dB a second.
    changed = sox.apply(tone(440, 10, level=0.01), RATE, "compand", {"preset": "radio"})
    peak_db = 20 * np.log10(np.abs(changed[-RATE:]).max() / 32768)
    assert peak_db == pytest.approx(-40 / 3 - 5, abs=0.5)


@pytest.mark.parametrize("preset", list(sox.PRESETS))
def test_sudden_full_scale_sound_is_lowered_not_clipped(preset: str) -> None:
    # Six seconds bring the volume that SoX tracks down, and its gain up, before the burst.
    burst = np.sign(noise(RATE)) * np.int16(32767)
    waveform = np.concatenate([np.zeros(6 * RATE, np.int16), burst])
    changed = sox.apply(waveform, RATE, "compand", {"preset": preset})
    assert np.sum(np.abs(changed.astype(int)) >= 32767) <= 1


def test_strongest_reverb_of_full_scale_noise_does_not_clip() -> None:
    waveform = np.sign(noise(2 * RATE)) * np.int16(32767)
    values = {"reverberance": 100, "high_freq_damping": 0, "room_scale": 100, "pre_delay_ms": 0}
    changed = sox.apply(waveform, RATE, "reverb", values)
    assert np.sum(np.abs(changed.astype(int)) >= 32767) <= 1


def test_level_of_a_quiet_sound_is_kept() -> None:
    waveform = tone(440, level=0.1)
    changed = sox.apply(waveform, RATE, "tempo", {"factor": 1.2})
    assert level_db(changed) == pytest.approx(level_db(waveform), abs=0.1)


@EFFECT_NAMES
def test_equal_input_gives_equal_bytes(effect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = noise(RATE)
    values = sox.draw(effect, OPTIONS[effect], rng_for(3, effect))
    first = sox.apply(waveform, RATE, effect, values)
    monkeypatch.setenv("SOX_OPTS", "--norm")
    np.testing.assert_array_equal(sox.apply(waveform, RATE, effect, values), first)
    assert not np.array_equal(first[: len(waveform)], waveform[: len(first)])


@EFFECT_NAMES
@pytest.mark.parametrize("n_samples", [1, 100, 500, 2205])
def test_very_short_clips_survive(effect: str, n_samples: int) -> None:
    values = sox.draw(effect, OPTIONS[effect], rng_for(3, effect))
    changed = sox.apply(noise(n_samples), RATE, effect, values)
    if effect == "tempo":
        assert len(changed) == pytest.approx(n_samples / values["factor"], abs=2)
    else:
        assert len(changed) == n_samples
    assert changed.dtype == np.int16


def test_pitch_that_ends_a_sample_early_is_filled() -> None:
    assert len(sox.apply(noise(500), RATE, "pitch", {"semitones": -3.5})) == 500


def test_a_waveform_that_is_not_int16_or_has_another_shape_is_refused() -> None:
    wrong: list[Any] = [np.zeros(0, np.int16), np.zeros(9, np.float32), np.zeros((2, 9), np.int16)]
    for waveform in wrong:
        with pytest.raises(ValueError, match="expected int16"):
            sox.apply(waveform, RATE, "tempo", {"factor": 1.1})


# When SoX is broken, or not there.


@pytest.fixture
def only_folder_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    sox.arguments("tempo", {"factor": 1.1})  # pysox is loaded while the program is there
    sox.require.cache_clear()
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    yield tmp_path
    sox.require.cache_clear()


@pytest.mark.usefixtures("only_folder_on_the_path")
def test_missing_program_is_one_line_that_says_how_to_install_it() -> None:
    with pytest.raises(UserError, match=r"install it: apt-get install sox$") as caught:
        sox.apply(noise(100), RATE, "compand", {"preset": "radio"})
    assert "\n" not in str(caught.value)


def test_sox_that_cannot_be_started_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("earmark.sound.sox.subprocess.run", refuse)
    with pytest.raises(sox.SoxFailed, match=r"\(Resource .*\); lower runtime.workers"):
        sox.apply(noise(100), RATE, "compand", {"preset": "radio"})


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo out of cheese >&2; exit 3", r"\(3\): out of cheese"),
        ("exit 0", "no samples"),
        (
            "kill -9 $$",
            r"killed by SIGKILL; memory .*: lower runtime.workers",
        ),
    ],
)
def test_failing_program_is_quoted(
    only_folder_on_the_path: Path, script: str, message: str
) -> None:
    program = only_folder_on_the_path / "sox"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(sox.SoxFailed, match=message):
        sox.apply(noise(100), RATE, "compand", {"preset": "radio"})


@EFFECT_NAMES
def test_a_long_waveform_goes_through_files_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    waveform = noise(100_003, level=20_000)
    values = sox.draw(effect, OPTIONS[effect], rng_for(1, effect, "clip"))
    expected = sox.apply(waveform, RATE, effect, values)
    monkeypatch.setattr(sox, "_LONGEST_IN_MEMORY", 1000)
    monkeypatch.setattr(sox, "_BLOCK_SAMPLES", 30_001)
    monkeypatch.setattr("earmark.spool._BLOCK_BYTES", 50_000)
    scratch = Scratch(tmp_path, memory_bytes=1000)
    long = sox.apply(waveform, RATE, effect, values, scratch=scratch)
    np.testing.assert_array_equal(np.asarray(long), np.asarray(expected))
    assert list(tmp_path.iterdir()) == []


def test_what_would_clip_is_lowered_as_a_whole_and_what_ends_early_is_filled_up() -> None:
    half = 2**15 * 65536 // sox._HEADROOM // 2  # of full scale, in the 32 bits that SoX writes
    loud = [np.array([half, -4 * half], np.int32), np.array([2 * half, half], np.int32)]
    levelled = np.asarray(sox._levelled(lambda: loud, 6, IN_MEMORY))
    assert levelled.tolist() == [8192, -32767, 16384, 8192, 0, 0]
    quiet = [np.array([half // 2, -half], np.int32)]
    assert np.asarray(sox._levelled(lambda: quiet, 1, IN_MEMORY)).tolist() == [8192]
    assert np.asarray(sox._levelled(lambda: quiet, None, IN_MEMORY)).tolist() == [8192, -16384]
