"""Planted faults of a sound are measured; a clean sound has none."""

import numpy as np
import pandas as pd
import pytest
from scipy.signal import firwin, lfilter

from earmark.audit import sound_faults
from earmark.audit.sound import bandwidth_hz, beginning, clipped_share, measure, silent_share
from earmark.sound.samples import as_int16, resample
from earmark.store import Store, StoreWriter

RATE = 44_100


def noise(seed: int = 0, seconds: float = 2.0, level: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


def tone(hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE)).astype(np.float32)


def test_the_level_is_the_level_of_the_mean_power():
    measured_tone = measure(as_int16(tone(level=0.5)), sample_rate=RATE)
    assert measured_tone["level_db"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)


def test_flat_tops_are_counted_even_after_the_level_was_lowered():
    hard = np.clip(4 * tone(), -1, 1)  # a sine of amplitude 2 exceeds 1 two thirds of the time
    for gain in (1.0, 0.4):
        assert clipped_share(as_int16(gain * hard)) == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("clean", [tone(), noise(), tone(60.0, 0.05)], ids=["tone", "noise", "hum"])
def test_a_clean_sound_has_no_flat_tops(clean):
    assert clipped_share(as_int16(clean)) == 0


def test_a_dc_offset_is_measured():
    shifted = measure(as_int16(noise() + np.float32(0.05)), sample_rate=RATE)
    assert shifted["dc_offset"] == pytest.approx(0.05, abs=0.002)
    assert abs(measure(as_int16(noise()), sample_rate=RATE)["dc_offset"]) < 0.002


def test_the_share_of_silence_is_measured():
    half = np.concatenate([noise(seconds=1.0), 1e-5 * noise(seconds=1.0)])
    assert silent_share(half, sample_rate=RATE) == pytest.approx(0.5, abs=0.02)
    assert silent_share(noise(), sample_rate=RATE) == 0


@pytest.mark.parametrize("native", [8000, 16_000, 22_050, 32_000])
def test_the_bandwidth_of_an_earlier_lower_sample_rate_is_found(native):
    low = resample(noise(), from_hz=RATE, to_hz=native)
    again = as_int16(resample(low, from_hz=native, to_hz=RATE)).astype(np.float32) / 32768
    assert bandwidth_hz(again, sample_rate=RATE) == pytest.approx(native / 2, rel=0.06)


def test_the_cutoff_of_a_codec_is_found():
    cut = lfilter(firwin(501, 16_000, fs=RATE), 1.0, noise()).astype(np.float32)
    assert bandwidth_hz(cut, sample_rate=RATE) == pytest.approx(16_000, rel=0.03)


def fading() -> np.ndarray:
    """Noise that falls by 12 dB per octave: sound without an edge."""
    spectrum = np.fft.rfft(noise(level=0.5))
    hz = np.arange(len(spectrum)) * RATE / (2 * (len(spectrum) - 1))
    return np.fft.irfft(spectrum / (1 + (hz / 800) ** 2)).astype(np.float32)


def harmonics() -> np.ndarray:
    return sum(tone(440.0 * n, 0.3 / n) for n in range(1, 9)) + noise(level=1e-4)


def notched() -> np.ndarray:
    """Noise with a gap in its spectrum; the gap is not the end."""
    stop = firwin(1001, [8000, 11_000], fs=RATE)
    return lfilter(stop, 1.0, noise()).astype(np.float32)


@pytest.mark.parametrize(
    "full", [noise(), fading(), harmonics(), notched(), noise(seconds=0.02)],
    ids=["white", "fading", "harmonics", "notched", "short"],
)  # fmt: skip
def test_a_sound_without_an_edge_has_the_full_bandwidth(full):
    assert bandwidth_hz(full, sample_rate=RATE) == RATE / 2


def measured(waveforms: list[np.ndarray]) -> pd.DataFrame:
    rows = [measure(as_int16(w), sample_rate=RATE) for w in waveforms]
    table = pd.DataFrame(rows).assign(clip=[f"{i}.wav" for i in range(len(rows))])
    table["bandwidth_share"] = table["bandwidth_hz"] / (RATE / 2)
    peaks = [float(np.abs(w).max()) for w in waveforms]
    return table.assign(native_sample_rate=RATE, channels=1, peak=np.minimum(peaks, 1))


def test_each_fault_makes_a_finding_and_clean_clips_make_none():
    low = resample(resample(noise(), from_hz=RATE, to_hz=16_000), from_hz=16_000, to_hz=RATE)
    faulty = [
        np.clip(5 * tone(), -1, 1),
        noise(1) + np.float32(0.05),
        np.concatenate([noise(2), np.zeros(3 * RATE, np.float32)]),
        low,
    ]
    titles = [finding.title for finding in sound_faults.findings(measured(faulty))]
    for title, what in zip(titles, ("clipped", "DC offset", "silent", "bandwidth"), strict=True):
        assert what in title
        assert title.startswith("1 of 4")
    assert sound_faults.findings(measured([noise(3), noise(4), fading()])) == []


def test_a_long_clip_is_measured_by_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr("earmark.audit.sound.LONGEST_SECONDS", 0.1)
    samples, metadata = as_int16(noise()[:1000]), {"sample_rate": 8000}
    with StoreWriter(tmp_path / "s", row_shape=(), dtype="int16", metadata=metadata) as writer:
        writer.append(samples, clip="a")
        writer.append(samples[:500], clip="b")
    store = Store.open(tmp_path / "s")
    np.testing.assert_array_equal(beginning(store, 0), samples[:800])
    np.testing.assert_array_equal(beginning(store, 1), samples[:500])


def test_levels_that_were_changed_in_decoding_make_findings():
    table = measured([noise(3), noise(4), fading()]).assign(peak=[1e-5, 14_195.0, 1.0])
    titles = [finding.title for finding in sound_faults.findings(table)]
    assert titles == ["1 of 3 clips exceeds full scale", "1 of 3 clips peaks below -72 dB"]
