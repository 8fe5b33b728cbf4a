"""The synthetic sounds obey the physics of their models, and every generator keeps its contract."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import signal as dsp

from earmark.corpora.synthetic.sounds import SOUNDS, winds
from earmark.corpora.synthetic.sounds.metals import struck_bar
from earmark.corpora.synthetic.sounds.recording import (
    draw_recording,
    impulse_response,
    loud_level,
    record,
)
from earmark.corpora.synthetic.sounds.signals import (
    band_noise,
    decay,
    fade,
    finish,
    harmonic_tone,
    impulse,
    mix_at,
    resonate,
)
from earmark.corpora.synthetic.sounds.strings import feedback_loop, loop_taps, plucked_string
from earmark.corpora.synthetic.sounds.timing import (
    Note,
    grouped_onsets,
    hit_onsets,
    melody,
    random_onsets,
)

SAMPLE_RATE = 44_100
Signal = npt.NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def spectrum(signal: Signal) -> tuple[Signal, Signal]:
    """Return frequencies and magnitudes, padded to bins of about 0.1 Hz."""
    n_fft = 1 << 19
    window: Signal = np.hanning(len(signal))
    magnitudes: Signal = np.abs(np.fft.rfft(signal * window, n_fft)).astype(np.float64)
    bins_hz: Signal = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE).astype(np.float64)
    return bins_hz, magnitudes


def peak_near(signal: Signal, frequency_hz: float, *, within: float = 0.06) -> tuple[float, float]:
    """Return the frequency and the magnitude of the highest peak around `frequency_hz`."""
    bins_hz, magnitudes = spectrum(signal)
    near = np.abs(bins_hz / frequency_hz - 1) < within
    best = int(np.argmax(np.where(near, magnitudes, 0.0)))
    return float(bins_hz[best]), float(magnitudes[best])


@pytest.mark.parametrize("seconds", [0.18, 1.3])
@pytest.mark.parametrize("tag", SOUNDS)
def test_every_sound_is_finite_audible_within_full_scale_and_as_long_as_asked(
    tag: str, seconds: float
) -> None:
    for seed in range(4):
        waveform = SOUNDS[tag](rng(seed), SAMPLE_RATE, seconds)
        assert waveform.dtype == np.float32
        assert waveform.shape == (round(seconds * SAMPLE_RATE),)
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() == pytest.approx(0.9, rel=1e-5)


@pytest.mark.parametrize("tag", SOUNDS)
def test_a_sound_depends_on_its_generator_alone_and_differs_from_the_next(tag: str) -> None:
    first, again, other = (SOUNDS[tag](rng(seed), SAMPLE_RATE, 0.5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.corrcoef(first, other)[0, 1] < 0.9


@pytest.mark.parametrize("tag", SOUNDS)
def test_sounds_can_be_made_at_a_low_sample_rate(tag: str) -> None:
    waveform = SOUNDS[tag](rng(3), 16_000)
    assert waveform.shape == (32_000,)
    assert np.isfinite(waveform).all()


def test_a_struck_bar_rings_at_the_partials_of_a_free_bar() -> None:
    bar = struck_bar(SAMPLE_RATE, frequency_hz=800.0, seconds=1.0, t60_seconds=2.0, hardness=0.8)
    ratios = [peak_near(bar, 800 * ratio)[0] / 800 for ratio in (1, 2.756, 5.404, 8.933)]
    assert ratios == pytest.approx([1, 2.756, 5.404, 8.933], rel=1e-3)
    fundamental, octave, second = (peak_near(bar, 800 * ratio)[1] for ratio in (1, 2, 2.756))
    assert second > 0.05 * fundamental
    assert octave < 1e-3 * fundamental  # where a string would have a harmonic


@pytest.mark.parametrize("damping", [0.1, 0.5])
@pytest.mark.parametrize("frequency_hz", [82.41, 196.0, 441.7, 987.77])
def test_a_plucked_string_sounds_the_asked_pitch_within_three_cents(
    frequency_hz: float, damping: float
) -> None:
    note = plucked_string(
        rng(1),
        SAMPLE_RATE,
        frequency_hz=frequency_hz,
        seconds=1.0,
        pick_position=0.27,
        damping=damping,
        t60_seconds=4.0,
    )
    heard_hz, _ = peak_near(note, frequency_hz)
    assert abs(1200 * np.log2(heard_hz / frequency_hz)) < 3


def test_a_string_picked_in_its_middle_lacks_the_even_harmonics() -> None:
    note = plucked_string(
        rng(2),
        SAMPLE_RATE,
        frequency_hz=220.5,  # a period of 200 samples, so the middle is a whole sample
        seconds=0.5,
        pick_position=0.5,
        damping=0.2,
        t60_seconds=4.0,
    )
    odd = [peak_near(note, n * 220.5, within=0.02)[1] for n in (1, 3, 5)]
    even = [peak_near(note, n * 220.5, within=0.02)[1] for n in (2, 4, 6)]
    assert max(even) < 0.05 * min(odd)


def test_the_feedback_loop_equals_the_recursive_filter_it_stands_for() -> None:
    delay, taps = loop_taps(330.0, SAMPLE_RATE, damping=0.3)
    excitation = rng().standard_normal(3000)
    denominator = np.concatenate([[1.0], np.zeros(delay - 1), -0.99 * taps])
    expected = dsp.lfilter([1.0], denominator, excitation)
    np.testing.assert_allclose(feedback_loop(excitation, delay, 0.99 * taps), expected, atol=1e-9)


def test_a_closed_pipe_has_weak_even_harmonics_and_an_open_one_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes = [Note(onset_seconds=0.0, seconds=1.0, frequency_hz=262.0)]
    monkeypatch.setattr(winds, "melody", lambda *_, **__: notes)
    second_to_third_db = {}
    for name, pipe in (("clarinet", winds.clarinet), ("flute", winds.flute)):
        levels = []
        for seed in range(6):
            tone = pipe(rng(seed), SAMPLE_RATE, 1.0).astype(np.float64)
            second, third = (peak_near(tone, n * 262.0, within=0.04)[1] for n in (2, 3))
            levels.append(20 * np.log10(second / third))
        second_to_third_db[name] = levels
    assert max(second_to_third_db["clarinet"]) < -5
    assert np.median(second_to_third_db["flute"]) > 0


def test_a_resonator_rings_at_its_frequency_and_falls_by_sixty_db_in_its_time() -> None:
    ring = resonate(
        impulse(SAMPLE_RATE), SAMPLE_RATE, frequencies_hz=1000.0, t60_seconds=0.5, amplitudes=2.0
    )
    assert peak_near(ring, 1000.0)[0] == pytest.approx(1000.0, rel=1e-3)
    period = SAMPLE_RATE // 1000
    start, later = (np.abs(ring[i : i + period]).max() for i in (0, SAMPLE_RATE // 2))
    assert start == pytest.approx(2.0, rel=0.02)
    assert 20 * np.log10(later / start) == pytest.approx(-60, abs=0.5)


def test_harmonics_are_summed_as_sines_and_left_out_where_they_would_alias() -> None:
    constant_hz = np.full(2000, 9000.0)
    phase = 2 * np.pi * 9000 * np.arange(1, 2001) / SAMPLE_RATE
    expected = np.sin(phase) + 0.5 * np.sin(2 * phase)
    tone = harmonic_tone(constant_hz, [1.0, 0.5, 7.0, 7.0], SAMPLE_RATE)
    np.testing.assert_allclose(tone, expected, atol=1e-8)


def test_the_building_blocks_of_envelopes_and_time_lines_do_what_they_say() -> None:
    assert decay(101, 100, t60_seconds=1.0)[100] == pytest.approx(1e-3)
    faded = fade(np.ones(1000), 1000, attack_seconds=0.1, release_seconds=0.2)
    assert faded[0] == 0.0
    assert faded[-1] == pytest.approx(0.0, abs=1e-4)
    assert (faded[100:800] == 1.0).all()
    line = mix_at([0.0, 0.2, 0.9], [np.ones(3), np.ones(3), np.ones(3)], 10, 10)
    assert line.tolist() == [1, 1, 2, 1, 1, 0, 0, 0, 0, 1]
    assert np.abs(finish(np.array([0.0, -4.0]))).max() == pytest.approx(0.9)
    assert not finish(np.zeros(4)).any()


def test_band_noise_keeps_to_its_band() -> None:
    bins_hz, magnitudes = spectrum(
        band_noise(rng(), SAMPLE_RATE, SAMPLE_RATE, low_hz=1000, high_hz=2000)
    )
    inside = (magnitudes[(bins_hz > 1000) & (bins_hz < 2000)] ** 2).mean()
    outside = (magnitudes[(bins_hz < 250) | (bins_hz > 8000)] ** 2).mean()
    assert 10 * np.log10(outside / inside) < -20


@pytest.mark.parametrize("seed", range(5))
def test_onsets_are_sorted_and_start_within_the_take(seed: int) -> None:
    takes = [
        hit_onsets(rng(seed), 4.0, interval_seconds=(0.1, 0.5)),
        grouped_onsets(
            rng(seed),
            4.0,
            group_sizes=(2, 5),
            interval_seconds=(0.1, 0.2),
            pause_seconds=(0.3, 1.0),
        ),
        random_onsets(rng(seed), 4.0, rate_hz=10.0),
        np.array(
            [
                note.onset_seconds
                for note in melody(rng(seed), 4.0, range_hz=(200, 900), note_seconds=(0.1, 1))
            ]
        ),
    ]
    for onsets in takes:
        assert 0 <= onsets[0] < 4
        assert (np.diff(onsets) >= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_melody_stays_in_its_range_and_fills_its_time(seed: int) -> None:
    notes = melody(rng(seed), 5.0, range_hz=(200.0, 900.0), note_seconds=(0.1, 1.0))
    assert all(199 < note.frequency_hz < 2 * 900 for note in notes)
    assert notes[-1].onset_seconds + notes[-1].seconds == pytest.approx(5.0, abs=0.03)


def test_a_recording_carries_the_asked_background_below_the_sound() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sound = np.where(time < 0.5, 0.9 * np.sin(2 * np.pi * 1000 * time), 0.0).astype(np.float32)
    for seed in range(4):
        conditions = draw_recording(rng(seed), seconds=2.0, background_snr_db=(20.0, 20.0))
        changes = {"lead_seconds": 0.5, "room_level": 0.0, "colour_bands": (), "low_cut_hz": 20.0}
        flat = {"high_cut_hz": 20_000.0, "is_humming": False, "floor_db": -np.inf}
        plain = type(conditions)(**{**vars(conditions), **changes, **flat})
        recorded = record(rng(seed), sound, SAMPLE_RATE, plain, seconds=2.0).astype(np.float64)
        start = SAMPLE_RATE // 2
        assert not recorded[:start].any()
        loud, faint = recorded[start : start + 20_000], recorded[start + 23_000 : start + 42_000]
        snr_db = 20 * np.log10(loud_level(loud) / faint.std())
        assert snr_db == pytest.approx(20.0, abs=4.0)  # the background breathes


def test_silent_ends_are_at_most_two_fifths_of_a_clip() -> None:
    for seed in range(50):
        conditions = draw_recording(rng(seed), seconds=0.3, background_snr_db=(20.0, 50.0))
        assert 0 < conditions.lead_seconds + conditions.tail_seconds <= 0.12 + 1e-9


def test_a_room_begins_with_the_direct_sound_and_decays() -> None:
    room = impulse_response(rng(), SAMPLE_RATE, t60_seconds=0.6, level=0.5)
    assert room[0] == 1.0
    early, late = room[2000:6000].std(), room[-4000:].std()
    assert 20 * np.log10(late / early) < -30
