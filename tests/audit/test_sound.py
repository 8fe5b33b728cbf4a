"""Faults that were put into a sound are measured; a clean sound has none."""

import numpy as np
import pandas as pd
import pytest
from scipy.signal import firwin, lfilter

from earmark.audit import shortcuts, sound
from earmark.audit.sound import bandwidth_hz, clipped_share, measure, silent_share
from earmark.sound.decoding import as_int16, resample

RATE = 44_100


def noise(seed: int = 0, seconds: float = 2.0, level: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


def tone(hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE)).astype(np.float32)


def test_the_level_is_that_of_the_mean_power():
    found = measure(as_int16(tone(level=0.5)), sample_rate=RATE)
    assert found["level_db"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)


def test_flat_tops_are_counted_even_after_turning_down():
    hard = np.clip(4 * tone(), -1, 1)  # a sine of 2 is over 1 for two thirds of its time
    for gain in (1.0, 0.4):
        assert clipped_share(as_int16(gain * hard)) == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("clean", [tone(), noise(), tone(60.0, 0.05)], ids=["tone", "noise", "hum"])
def test_a_clean_sound_has_no_flat_tops(clean):
    assert clipped_share(as_int16(clean)) == 0


def test_an_offset_is_measured():
    found = measure(as_int16(noise() + np.float32(0.05)), sample_rate=RATE)
    assert found["dc_offset"] == pytest.approx(0.05, abs=0.002)
    assert abs(measure(as_int16(noise()), sample_rate=RATE)["dc_offset"]) < 0.002


def test_the_silent_part_is_measured():
    half = np.concatenate([noise(seconds=1.0), 1e-5 * noise(seconds=1.0)])
    assert silent_share(half, sample_rate=RATE) == pytest.approx(0.5, abs=0.02)
    assert silent_share(noise(), sample_rate=RATE) == 0


@pytest.mark.parametrize("native", [8000, 16_000, 22_050, 32_000])
def test_the_band_of_an_earlier_lower_rate_is_found(native):
    low = resample(noise(), from_hz=RATE, to_hz=native)
    again = as_int16(resample(low, from_hz=native, to_hz=RATE)).astype(np.float32) / 32768
    assert bandwidth_hz(again, sample_rate=RATE) == pytest.approx(native / 2, rel=0.06)


def test_the_edge_that_a_codec_cuts_is_found():
    cut = lfilter(firwin(501, 16_000, fs=RATE), 1.0, noise()).astype(np.float32)
    assert bandwidth_hz(cut, sample_rate=RATE) == pytest.approx(16_000, rel=0.03)


def fading() -> np.ndarray:
    """Noise that falls by 12 dB an octave: sound without an edge."""
    spectrum = np.fft.rfft(noise(level=0.5))
    hz = np.arange(len(spectrum)) * RATE / (2 * (len(spectrum) - 1))
    return np.fft.irfft(spectrum / (1 + (hz / 800) ** 2)).astype(np.float32)


def harmonics() -> np.ndarray:
    return sum(tone(440.0 * n, 0.3 / n) for n in range(1, 9)) + noise(level=1e-4)


def notched() -> np.ndarray:
    """Sound on both sides of a gap, so the gap is not the end."""
    stop = firwin(1001, [8000, 11_000], fs=RATE)
    return lfilter(stop, 1.0, noise()).astype(np.float32)


@pytest.mark.parametrize(
    "full", [noise(), fading(), harmonics(), notched(), noise(seconds=0.02)],
    ids=["white", "fading", "harmonics", "notched", "short"],
)  # fmt: skip
def test_a_sound_without_an_edge_has_its_whole_band(full):
    assert bandwidth_hz(full, sample_rate=RATE) == RATE / 2


def facts_of(waveforms: list[np.ndarray]) -> pd.DataFrame:
    rows = [measure(as_int16(w), sample_rate=RATE) for w in waveforms]
    table = pd.DataFrame(rows).assign(clip=[f"{i}.wav" for i in range(len(rows))])
    table["bandwidth_share"] = table["bandwidth_hz"] / (RATE / 2)
    return table.assign(native_sample_rate=RATE, channels=1)


def test_each_fault_makes_a_finding_and_clean_clips_make_none():
    low = resample(resample(noise(), from_hz=RATE, to_hz=16_000), from_hz=16_000, to_hz=RATE)
    faulty = [
        np.clip(5 * tone(), -1, 1),
        noise(1) + np.float32(0.05),
        np.concatenate([noise(2), np.zeros(3 * RATE, np.float32)]),
        low,
    ]
    titles = [finding.title for finding in sound.findings(facts_of(faulty))]
    for title, what in zip(titles, ("clipped", "offset", "silent", "nominal band"), strict=True):
        assert what in title
        assert title.startswith("1 of 4")
    assert sound.findings(facts_of([noise(3), noise(4), fading()])) == []


def corpus(*, told: bool, n: int = 120) -> pd.DataFrame:
    """Facts of four classes: told by the bandwidth, or by nothing."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 4
    bandwidth = 8000 + 3000 * label if told else 8000 + 3000 * rng.integers(4, size=n)
    return pd.DataFrame(
        {
            "clip": [f"{i}.wav" for i in range(n)],
            "label": [f"class{i}" for i in label],
            "seconds": rng.uniform(1, 5, n),
            "level_db": rng.normal(-30, 5, n),
            "bandwidth_hz": bandwidth + rng.normal(0, 100, n),
            "silent_share": 0.0,
            "native_sample_rate": 44_100,
            "channels": 1,
        }
    )


def test_a_band_that_tells_the_class_is_found():
    guesses = shortcuts.guess_class(corpus(told=True), [""] * 120, seed=0)
    assert set(guesses) == {"seconds", "level_db", "bandwidth_hz", "all"}
    assert guesses["bandwidth_hz"].accuracy > 0.95
    assert guesses["bandwidth_hz"].chance == 0.25
    assert not guesses["seconds"].is_more_than_chance
    (finding,) = shortcuts.findings(guesses)
    assert finding.severity == "serious"
    assert "bandwidth alone" in finding.meaning


def test_facts_that_tell_nothing_make_no_finding():
    guesses = shortcuts.guess_class(corpus(told=False), [""] * 120, seed=0)
    assert shortcuts.findings(guesses) == []


def test_clips_of_a_source_do_not_vouch_for_each_other():
    """Facts that know the source, and not the class: cut from five sources a class."""
    rng = np.random.default_rng(1)
    table = corpus(told=False)
    sources = [f"{label}-{i // 4 % 5}" for i, label in enumerate(table["label"])]
    value = dict(zip(sorted(set(sources)), rng.permutation(20) * 1000.0, strict=True))
    table["bandwidth_hz"] = [value[source] for source in sources]
    apart = shortcuts.guess_class(table, sources, seed=0)["bandwidth_hz"].accuracy
    together = shortcuts.guess_class(table, [""] * len(table), seed=0)["bandwidth_hz"].accuracy
    assert together > 0.9
    assert apart < 0.5


def test_classes_of_few_clips_are_left_out():
    table = corpus(told=True, n=40)
    table.loc[:3, "label"] = "rare"
    assert shortcuts.guess_class(table[table["label"] == "rare"], [""] * 4, seed=0) == {}
