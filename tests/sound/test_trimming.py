"""Trimming against librosa, and peak normalisation."""

from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.seeding import rng_for
from earmark.sound.samples import as_float, as_int16
from earmark.sound.trimming import Ends, peak_normalise, trim, trim_ends, without_clipping


def clip_with_quiet_ends(
    n_samples: int, *, loud: tuple[float, float], quiet_db: float, level: float, key: int
) -> np.ndarray:
    waveform = rng_for(key, "trim").standard_normal(n_samples).astype(np.float32) * level
    start, end = sorted(int(share * n_samples) for share in loud)
    waveform[:start] *= 10 ** (quiet_db / 20)
    waveform[end:] *= 10 ** (quiet_db / 20)
    return waveform.astype(np.float32)


def ends_of_librosa(waveform: np.ndarray, **options: Any) -> Ends:
    return Ends(*map(int, librosa.effects.trim(waveform, **options)[1]))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    n_samples=st.integers(1, 20_000) | st.sampled_from([511, 512, 513, 1024, 2048, 5120]),
    loud=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    quiet_db=st.floats(-120, 0),
    level=st.sampled_from([0.3, 1e-2, 1e-4, 1e-6]),
    top_db=st.sampled_from([20.0, 40.0, 60.0]),
    key=st.integers(0, 2**32),
)
def test_ends_are_those_of_librosa(
    n_samples: int,
    loud: tuple[float, float],
    quiet_db: float,
    level: float,
    top_db: float,
    key: int,
) -> None:
    waveform = clip_with_quiet_ends(n_samples, loud=loud, quiet_db=quiet_db, level=level, key=key)
    assert trim_ends(waveform, top_db=top_db) == ends_of_librosa(waveform, top_db=top_db)
    samples = as_int16(waveform)
    assert trim_ends(samples, top_db=top_db) == ends_of_librosa(as_float(samples), top_db=top_db)


@pytest.mark.parametrize(("frame_length", "hop_length"), [(1024, 512), (4096, 512), (2048, 256)])
def test_other_frames_agree_with_librosa(frame_length: int, hop_length: int) -> None:
    frames = {"frame_length": frame_length, "hop_length": hop_length}
    waveform = clip_with_quiet_ends(30_001, loud=(0.3, 0.6), quiet_db=-70, level=0.1, key=1)
    ends = trim_ends(waveform, top_db=40, **frames)
    assert ends == ends_of_librosa(waveform, top_db=40, **frames)
    assert 0 < ends.start < ends.end < 30_001


def test_tone_between_silences_is_found_to_a_frame() -> None:
    waveform = np.zeros(44_100, np.float32)
    waveform[10_240:20_480] = 0.5
    # Frames 18 and 41 are the first and last centred ones (1024 either side) that touch the tone.
    assert trim_ends(waveform, top_db=60) == Ends(18 * 512 + 512, 41 * 512 + 512)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_wholly_silent_clip_keeps_its_length(dtype: type) -> None:
    assert trim_ends(np.zeros(5000, dtype), top_db=60) == Ends(0, 5000)


@pytest.mark.parametrize("n_samples", [100, 5 * 512 + 100, 9 * 512 + 100])
def test_sound_within_the_last_part_of_a_hop_counts(n_samples: int) -> None:
    waveform = np.zeros(n_samples, np.float32)
    waveform[-50:] = 0.5
    ends = trim_ends(waveform, top_db=60)
    assert ends == ends_of_librosa(waveform, top_db=60)
    assert ends.end == n_samples


def test_inner_silence_stays() -> None:
    waveform = np.zeros(50_000, np.float32)
    waveform[:5000] = waveform[-5000:] = 0.5
    assert trim_ends(waveform, top_db=60) == Ends(0, 50_000)


def test_frames_that_are_no_even_number_of_hops_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of hop_length 500"):
        trim_ends(np.ones(100, np.float32), top_db=60, frame_length=2048, hop_length=500)


def test_empty_waveform_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(0,\)"):
        trim_ends(np.zeros(0, np.float32), top_db=60)


@given(level=st.floats(1e-4, 1), key=st.integers(0, 2**32))
def test_peak_becomes_full_scale_and_shape_stays(level: float, key: int) -> None:
    waveform = clip_with_quiet_ends(500, loud=(0, 1), quiet_db=0, level=level, key=key)
    normalised = peak_normalise(waveform)
    assert normalised.dtype == np.float32
    assert np.abs(normalised).max() == pytest.approx(1)
    np.testing.assert_allclose(normalised * np.abs(waveform).max(), waveform, rtol=1e-5)


def test_int16_reaches_full_scale_without_wrapping() -> None:
    assert peak_normalise(np.array([-100, 50, 0], np.int16)).tolist() == [-32767, 16384, 0]
    assert peak_normalise(np.array([-32768, 32767], np.int16)).tolist() == [-32767, 32766]


@pytest.mark.parametrize("min_seconds", [0.1, 2.0])
def test_normalising_changes_the_level_alone_and_can_be_left_out(min_seconds: float) -> None:
    waveform = np.zeros(44_100, np.int16)
    waveform[10_240:20_480] = 1000
    options = {"sample_rate": 44_100, "top_db": 60.0, "min_seconds": min_seconds}
    quiet, loud = (trim(waveform, **options, normalise=value) for value in (False, True))
    assert (quiet.start, quiet.kept_whole) == (loud.start, loud.kept_whole)
    assert quiet.kept_whole == (min_seconds == 2.0)
    assert (quiet.waveform.max(), loud.waveform.max()) == (1000, 32_767)
    assert (quiet.waveform > 0).tolist() == (loud.waveform > 0).tolist()


def test_only_what_would_clip_is_lowered() -> None:
    assert without_clipping(np.array([0.5, -0.25], np.float32)).tolist() == [0.5, -0.25]
    assert without_clipping(np.array([0.5, -2.0], np.float32)).tolist() == [0.25, -1.0]


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_silence_stays_silence(dtype: type) -> None:
    normalised = peak_normalise(np.zeros(10, dtype))
    assert normalised.dtype == dtype
    assert not normalised.any()
