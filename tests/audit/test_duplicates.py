"""Changed copies of a recording are found; other recordings are not."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile

from earmark.audit import duplicate_groups
from earmark.audit.correlation import lasting_correlation, strongest_lag
from earmark.audit.duplicate_search import DuplicateSearch
from earmark.audit.duplicates import Waveforms, find_duplicates
from earmark.audit.fingerprint_file import FingerprintFile
from earmark.audit.fingerprints import UNIT, count_bit_errors, fingerprint
from earmark.audit.matching import find_candidates
from earmark.audit.null_distribution import (
    ALIKE,
    EXPECTED_FALSE,
    MAX_THRESHOLD,
    MIN_THRESHOLD,
    NullDistribution,
)
from earmark.audit.pairs import group_of
from earmark.audit.sound import _MeasureClip
from earmark.sound.samples import as_int16, resample
from earmark.spool import Scratch
from earmark.store import Store, StoreWriter

RATE = 44_100


def recording(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Decaying hits of noise and tone at random times, over a little noise."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    sound = 0.002 * rng.standard_normal(n)
    t = np.arange(n) / RATE
    for start in rng.uniform(0, seconds, 6):
        decay = np.where(t >= start, np.exp(-np.maximum(t - start, 0) / rng.uniform(0.05, 0.4)), 0)
        tone = np.sin(2 * np.pi * rng.uniform(300, 5000) * t)
        sound += 0.2 * decay * (tone + 0.5 * rng.standard_normal(n))
    return (0.8 * sound / np.abs(sound).max()).astype(np.float32)


def clock(seed: int, seconds: float = 4.0) -> np.ndarray:
    """Exactly two ticks per second, with different noise for each seed."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    since = (np.arange(n) % (RATE // 2)) / RATE
    ring = np.exp(-since / 0.02) * np.sin(2 * np.pi * 2500 * since)
    return (0.5 * ring + 0.01 * rng.standard_normal(n)).astype(np.float32)


def rain(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(4 * RATE)
    return (0.1 * np.convolve(noise, [1, 0.9, 0.5, 0.2], "same")).astype(np.float32)


def melody(seed: int) -> np.ndarray:
    """The same chords at the same times, as a sequencer plays them; phases and noise differ."""
    score, rng = np.random.default_rng(0), np.random.default_rng(seed)
    n = 3 * RATE
    t = np.arange(n) / RATE
    sound = 1e-4 * rng.standard_normal(n)
    for start in np.arange(0, 3, 0.25):
        decay = np.where(t >= start, np.exp(-np.maximum(t - start, 0) / 0.15), 0)
        for hz in score.uniform(200, 5000, 12):
            sound += 0.02 * decay * np.sin(2 * np.pi * hz * t + rng.uniform(0, 2 * np.pi))
    return sound.astype(np.float32)


def coded(waveform: np.ndarray, form: str, subtype: str) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format=form, subtype=subtype)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def noisy(waveform: np.ndarray) -> np.ndarray:
    level = np.sqrt(np.square(waveform).mean()) * 10 ** (-30 / 20)
    noise = np.random.default_rng(9).standard_normal(len(waveform))
    return waveform + (level * noise).astype(np.float32)


def lower_rate(waveform: np.ndarray) -> np.ndarray:
    half = resample(waveform, from_hz=RATE, to_hz=RATE // 2)
    return resample(half, from_hz=RATE // 2, to_hz=RATE)


CHANGES = {
    "at a lower level": lambda w: w * np.float32(0.3),
    "inverted": lambda w: -w,
    "at half the sample rate": lower_rate,
    "through mp3": lambda w: coded(w, "MP3", "MPEG_LAYER_III"),
    "through ogg": lambda w: coded(w, "OGG", "VORBIS"),
    "the middle 60 %": lambda w: w[len(w) // 5 + 33 : -len(w) // 5],
    "with noise at 30 dB": noisy,
}


def store_of(folder: Path, waveforms: dict[str, np.ndarray]) -> Store:
    with StoreWriter(folder, row_shape=(), dtype="int16", metadata={"sample_rate": RATE}) as out:
        for clip, waveform in waveforms.items():
            samples = as_int16(waveform)
            digest = hashlib.sha256(samples.data).hexdigest()
            out.append(samples, clip=clip, seconds=len(samples) / RATE, sha256=digest)
    return Store.open(folder)


def search(tmp_path: Path, waveforms: dict[str, np.ndarray]) -> pd.DataFrame:
    store = store_of(tmp_path / "decoded", waveforms)
    return find_duplicates(store, ["a"] * len(store), seed=0, workers=1).pairs


def names(pairs: pd.DataFrame) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in pairs[["first", "second"]].to_numpy()]


@pytest.mark.slow
@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_copy_is_found_among_other_recordings(tmp_path, change):
    waveforms = {f"other{i}": recording(i) for i in range(5)} | {"original": recording(50)}
    pairs = search(tmp_path, waveforms | {"copy": CHANGES[change](recording(50))})
    assert names(pairs) == [("original", "copy")]
    assert pairs["relation"].iloc[0] == ("part" if change == "the middle 60 %" else "same")


@pytest.mark.parametrize("seconds", [0.25, 0.3, 0.5])
def test_copies_of_short_clips_are_found(tmp_path, seconds):
    waveforms = {f"clip{i}": recording(i, seconds) for i in range(8)}
    copies = {f"copy{i}": 0.3 * recording(i, seconds) for i in range(8)}
    pairs = search(tmp_path, waveforms | copies)
    assert names(pairs) == [(f"clip{i}", f"copy{i}") for i in range(8)]


def test_two_cuts_of_one_recording_overlap_by_what_they_share(tmp_path):
    whole = recording(2, 6.0)
    waveforms = {"first": whole[: 4 * RATE], "second": whole[2 * RATE :], "other": recording(3)}
    pairs = search(tmp_path, waveforms)
    assert names(pairs) == [("first", "second")]
    pair = pairs.iloc[0]
    assert pair["relation"] == "overlap"
    assert pair["offset_seconds"] == pytest.approx(2.0, abs=0.02)
    assert pair["overlap_seconds"] == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("shared_seconds", [0.25, 0.5])
def test_long_clips_must_share_more_than_one_event(tmp_path, shared_seconds):
    whole, shared = recording(2, 4.0), int(shared_seconds * RATE)
    cuts = {"first": whole[: 2 * RATE], "second": whole[2 * RATE - shared :]}
    pairs = search(tmp_path, cuts | {f"other{i}": recording(i + 9, 2.0) for i in range(12)})
    assert len(pairs) == (shared_seconds > 0.3)


def test_exact_copies_are_found_even_without_a_fingerprint(tmp_path):
    pairs = search(tmp_path, {"a": rain(1)[:2000], "b": recording(2), "c": rain(1)[:2000]})
    assert names(pairs) == [("a", "c")]
    assert pairs["relation"].iloc[0] == "equal"


@pytest.mark.slow
@pytest.mark.parametrize("make", [recording, clock, rain], ids=["hits", "clock", "rain"])
def test_different_recordings_of_one_class_are_no_duplicates(tmp_path, make):
    assert search(tmp_path, {f"clip{i}": make(i) for i in range(12)}).empty


def test_two_takes_of_one_melody_are_distinguished_by_their_waveforms(tmp_path):
    waveforms = {"first": melody(1), "second": melody(2)}
    first, second = (fingerprint(w, sample_rate=RATE) for w in waveforms.values())
    wrong, n_bits = count_bit_errors(first, second, 0)
    assert wrong < 0.25 * n_bits  # by their fingerprints alone they were one recording
    waveforms |= {f"other{i}": recording(i) for i in range(12)}
    assert search(tmp_path, waveforms).empty


def test_a_clip_without_frames_is_named(tmp_path):
    waveforms = {"short": recording(1, 0.1), "long": recording(2)}
    store = store_of(tmp_path / "decoded", waveforms)
    search = find_duplicates(store, ["a", "a"], seed=0, workers=1)
    assert search.without_fingerprint == ["short"]


def test_the_number_of_workers_changes_no_result(tmp_path):
    waveforms = {f"clip{i}": recording(i, 1.0) for i in range(4)} | {
        "copy": noisy(recording(2, 1.0))
    }
    store = store_of(tmp_path / "decoded", waveforms)
    one, two = (find_duplicates(store, ["a"] * 5, seed=0, workers=n).pairs for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) == 1


def test_the_level_changes_no_reliable_bit():
    loud, quiet = (fingerprint(g * recording(3), sample_rate=RATE) for g in (1.0, 0.05))
    wrong, n_bits = count_bit_errors(loud, quiet, 0)
    assert n_bits > 500
    assert wrong <= 0.002 * n_bits


def test_half_of_the_bits_of_unrelated_clips_agree():
    shares = []
    for seed in range(8):
        a, b = (fingerprint(rain(s), sample_rate=RATE) for s in (seed, seed + 100))
        wrong, n_bits = count_bit_errors(a, b, 0)
        shares.append(wrong / n_bits)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("first_seconds", "cut_seconds"), [(5.0, 1.5), (5.0, 3.0), (1.9, 1.2)])
def test_bit_errors_only_vanish_at_the_offset_of_a_cut(first_seconds, cut_seconds):
    whole = recording(4, first_seconds)
    units = 30
    start = units * UNIT * RATE // 16_000
    cut = whole[start : start + int(cut_seconds * RATE)]
    a, b = (fingerprint(w, sample_rate=RATE) for w in (whole, cut))
    for first, second, sign in ((a, b, 1), (b, a, -1)):
        wrong, n_bits = count_bit_errors(first, second, sign * units)
        assert n_bits > 100
        assert wrong < 0.05 * n_bits
        wrong, n_bits = count_bit_errors(first, second, sign * (units + 20))
        assert wrong > 0.3 * n_bits


def test_only_pairs_that_share_codes_are_candidates():
    prints = [fingerprint(recording(i % 6), sample_rate=RATE) for i in range(7)]
    candidates = find_candidates(prints)
    best = candidates.votes.argmax()
    pair = (candidates.first[best], candidates.second[best], candidates.offsets[best])
    assert pair == (0, 6, 0)
    assert candidates.votes[best] > 100
    assert len(find_candidates([])) == 0


def test_buckets_and_files_change_no_candidate(tmp_path, monkeypatch):
    prints = [fingerprint(recording(i % 20, 0.5), sample_rate=RATE) for i in range(60)]
    whole = find_candidates(prints)
    monkeypatch.setattr("earmark.audit.matching._BUCKET_CLIPS", 7)
    monkeypatch.setattr("earmark.audit.matching._BLOCK_ENTRIES", 1000)
    monkeypatch.setitem(Scratch.__init__.__kwdefaults__, "memory_bytes", 100)
    for folder in (None, tmp_path):
        parts = find_candidates(prints, folder=folder)
        for column in ("first", "second", "offsets", "votes"):
            np.testing.assert_array_equal(getattr(parts, column), getattr(whole, column))
    assert len(whole) >= 20


def test_a_file_gives_fingerprints_back_as_they_were(tmp_path):
    prints = [fingerprint(recording(i, s), sample_rate=RATE) for i, s in enumerate((0.1, 1, 4))]
    file = FingerprintFile(tmp_path)
    for one in prints:
        file.append(one)
    assert len(file) == 3
    for one, again in zip(prints, file, strict=True):
        assert again.step == one.step
        for column in ("codes", "reliable", "weakest"):
            np.testing.assert_array_equal(getattr(again, column), getattr(one, column))
    assert list(tmp_path.iterdir()) == []


def test_the_clips_of_a_store_do_not_stay_in_memory(tmp_path):
    """A page of a mapped file counts as this process' own until it is given back."""
    seconds = 60
    noise = np.random.default_rng(0).standard_normal(seconds * RATE).astype(np.float32)
    store = store_of(tmp_path / "decoded", {f"clip{i}": 0.1 * noise for i in range(8)})
    clip_mb = seconds * RATE * 2 / 2**20
    waveforms, sound = Waveforms(store), _MeasureClip(store)
    for read in (waveforms.at_16k, sound):
        read(0)
        before = mapped_megabytes()
        for index in range(1, 8):
            read(index)
        assert mapped_megabytes() - before < 2 * clip_mb


def mapped_megabytes() -> float:
    return psutil.Process().memory_info().shared / 2**20


def test_many_copies_form_one_group_without_comparing_all_pairs():
    one = fingerprint(recording(1), sample_rate=RATE)
    candidates = find_candidates([one] * 30)
    pairs = list(zip(candidates.first.tolist(), candidates.second.tolist(), strict=True))
    assert len(pairs) <= 8 * 30
    assert len(set(group_of(pairs, 30))) == 1


def peak(a: np.ndarray, b: np.ndarray, max_lag: int) -> float:
    return abs(strongest_lag(a, b, max_lag=max_lag)[0])


def test_a_common_source_correlates_but_a_common_pitch_or_rhythm_does_not():
    one, other = clock(1), clock(2)
    assert peak(one, one, 10) == pytest.approx(1.0, abs=1e-3)
    assert peak(one, -0.1 * one, 10) == pytest.approx(1.0, abs=1e-3)
    assert peak(one[:-100], one[100:], 200) > 0.9
    assert peak(one[:-300], one[300:], 200) < 0.3
    assert peak(rain(1), rain(2), 1000) < 0.05
    offset, other_offset = (1e-3 * rain(s) + np.float32(1) for s in (1, 2))  # two equal steps
    assert peak(offset, other_offset, 1000) < 0.05
    assert peak(np.zeros(4000, np.float32), rain(1)[:4000], 10) == 0
    assert peak(one, other, 1000) < peak(one, noisy(one), 1000)


def test_the_strongest_lag_is_the_time_in_the_first_minus_that_in_the_second():
    one = rain(1)
    assert strongest_lag(one[:-70], one[70:], max_lag=100)[1] == 70
    value, lag = strongest_lag(-one[70:], one[:-70], max_lag=100)
    assert (lag, np.sign(value)) == (-70, -1)


@pytest.mark.parametrize("lag", [-200, 0, 200])
@pytest.mark.parametrize("gain", [1.0, -0.1])
def test_a_recording_correlates_fully_in_all_its_frames(lag, gain):
    one = rain(1)
    a, b = one[max(lag, 0) :], gain * one[max(-lag, 0) :]
    n = len(one) - abs(lag)
    assert lasting_correlation(a[:n], b[:n], max_lag=300) == pytest.approx(1.0, abs=1e-3)


def test_the_correlation_is_the_share_of_the_frames_that_agree():
    n = RATE
    common, first, second = (rain(seed)[:n] for seed in (1, 2, 3))
    halves = [np.concatenate([common, other]) for other in (first, second)]
    assert lasting_correlation(*halves, max_lag=100) == pytest.approx(0.5, abs=0.05)
    silent = [np.concatenate([common, 1e-3 * other]) for other in (first, second)]  # 60 dB below
    assert lasting_correlation(*silent, max_lag=100) == pytest.approx(1.0, abs=0.05)


def test_a_common_click_does_not_make_one_recording_of_two():
    click = np.zeros(4 * RATE, np.float32)
    click[RATE] = 100.0
    a, b = rain(1) + click, rain(2) + click
    assert peak(a, b, 100) > 0.6
    assert lasting_correlation(a, b, max_lag=100) < 0.1


def test_a_waveform_without_a_whole_frame_correlates_with_none():
    assert lasting_correlation(rain(1)[:2000], rain(1)[:2000], max_lag=10) == 0
    silence = np.zeros(8000, np.float32)
    assert lasting_correlation(silence, silence, max_lag=10) == 0


NONE_ALIKE = np.zeros(100)


def test_the_threshold_keeps_the_expected_number_of_false_pairs_by_unrelated_ones():
    unrelated = np.random.default_rng(0).exponential(0.03, 4000)
    tested = np.zeros(10**6)
    null = NullDistribution.fit(unrelated, tested)
    assert null.threshold == pytest.approx(0.03 * np.log(10**6 / EXPECTED_FALSE), rel=0.1)
    assert null.expected_false == pytest.approx(EXPECTED_FALSE)
    assert NullDistribution.fit(unrelated, tested[:10]).threshold == MIN_THRESHOLD
    assert NullDistribution.fit(10 * unrelated, tested).threshold == MAX_THRESHOLD
    assert NullDistribution.fit(10 * unrelated, tested).expected_false > EXPECTED_FALSE
    assert NullDistribution.fit(unrelated[:5], tested[:10]).threshold == MAX_THRESHOLD


@pytest.mark.parametrize("n_true", [0, 2000])
@pytest.mark.parametrize("scale", [0.03, 0.05])
def test_the_threshold_keeps_the_expected_number_of_false_pairs_by_tested_ones(n_true, scale):
    rng = np.random.default_rng(1)
    chance = ALIKE + rng.exponential(scale, 2000)
    tested = np.concatenate([chance, rng.uniform(0.5, 1.0, n_true)])  # duplicates change nothing
    null = NullDistribution.fit(NONE_ALIKE, tested)
    expected = ALIKE + scale * np.log(2000 / EXPECTED_FALSE)
    assert null.threshold == pytest.approx(min(expected, MAX_THRESHOLD), rel=0.05)
    assert null.n_alike == pytest.approx(2000, rel=0.05)
    in_reach = np.exp((ALIKE - null.threshold) / scale) * 2000
    assert null.expected_false == pytest.approx(in_reach, rel=0.5)


def test_new_corpora_of_one_kind_have_as_many_false_pairs_as_the_fits_say():
    rng = np.random.default_rng(2)
    found = promised = 0.0
    for _ in range(400):
        tested = ALIKE + rng.exponential(0.08, rng.poisson(1500))  # the limit of 0.6 is in reach
        null = NullDistribution.fit(NONE_ALIKE, tested)
        found += np.count_nonzero(tested >= null.threshold)
        promised += null.expected_false
    assert found > 1000
    assert promised == pytest.approx(found, rel=0.1)


def test_a_few_pairs_that_are_somewhat_alike_raise_the_threshold_a_little():
    none = NullDistribution.fit(NONE_ALIKE, np.zeros(50)).threshold
    one = NullDistribution.fit(NONE_ALIKE, np.array([0.25, *np.zeros(50)])).threshold
    assert none == MIN_THRESHOLD
    assert MIN_THRESHOLD < one < 0.5


def test_pairs_that_do_not_become_rarer_give_the_highest_threshold():
    null = NullDistribution.fit(NONE_ALIKE, np.linspace(ALIKE, 0.6, 500))
    assert null.threshold == MAX_THRESHOLD
    assert null.expected_false > 10


def described(
    tmp_path: Path, *, labels: str, splits: list[str], folds: bool
) -> tuple[pd.DataFrame, DuplicateSearch]:
    """The described pairs of two copies, a and b, and another clip, c."""
    waveforms = {"a": recording(1, 1.0), "b": 0.5 * recording(1, 1.0), "c": recording(2, 1.0)}
    store = store_of(tmp_path / "decoded", waveforms)
    search = find_duplicates(store, list(labels), seed=0, workers=1)
    clips = pd.DataFrame({"clip": list("abc"), "label": list(labels), "split": splits})
    roles = {"a": "validation", "b": "train", "c": "train"}
    table = clips.assign(
        fold_0=[s if s == "test" else roles[c] for c, s in zip("abc", splits, strict=True)]
    )
    return duplicate_groups.describe(search, clips, table if folds else None), search


def test_a_pair_across_train_and_test_is_the_most_severe_finding(tmp_path):
    pairs, search = described(
        tmp_path, labels="xxy", splits=["train", "test", "train"], folds=False
    )
    assert list(pairs["leak"]) == ["train and test"]
    assert duplicate_groups.findings(pairs, search)[0].severity == "critical"
    assert duplicate_groups.metrics(pairs, search)["leaks_train_test"] == 1


def test_a_pair_across_folds_is_only_a_leak_if_folds_are_given(tmp_path):
    pairs, _ = described(tmp_path, labels="xxy", splits=["train"] * 3, folds=True)
    assert list(pairs["leak"]) == ["training and validation"]
    pairs, _ = described(tmp_path, labels="xxy", splits=["train"] * 3, folds=False)
    assert list(pairs["leak"]) == [""]


def test_copies_with_different_labels_conflict(tmp_path):
    pairs, search = described(tmp_path, labels="xyy", splits=["train"] * 3, folds=False)
    assert list(pairs["labels_agree"]) == [False]
    assert ["different labels" in f.title for f in duplicate_groups.findings(pairs, search)] == [
        True
    ]


def test_pairs_with_a_dropped_clip_are_left_out(tmp_path):
    store = store_of(tmp_path / "decoded", {"a": recording(1, 1.0), "b": 0.5 * recording(1, 1.0)})
    search = find_duplicates(store, ["x", ""], seed=0, workers=1)
    clips = pd.DataFrame({"clip": ["a"], "label": ["x"], "split": ["train"]})
    pairs = duplicate_groups.describe(search, clips, None)
    assert pairs.empty
    assert duplicate_groups.findings(pairs, search) == []
