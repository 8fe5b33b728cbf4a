"""Where segments start, and how they are padded beyond a clip's end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.features import build
from earmark.features.segments import (
    Crop,
    chunk_starts,
    covering_starts,
    cut,
    even_starts,
    fixed_crop,
    lengths_in_rows,
    random_crop,
    random_start,
)
from earmark.params import ModelInput

LENGTHS = st.integers(1, 200)


def test_a_long_clip_is_covered_by_the_last_segment_from_the_right():
    assert covering_starts(24, 10).tolist() == [0, 10, 14]
    assert covering_starts(20, 10).tolist() == [0, 10]
    assert covering_starts(10, 10).tolist() == [0]
    assert covering_starts(3, 10).tolist() == [0]


@pytest.mark.parametrize(("seconds", "segment_rows", "count"), [(29.1, 39366, 12), (10, 19683, 9)])
def test_the_papers_segments_per_clip_are_rounded_up(seconds, segment_rows, count):
    assert len(covering_starts(round(seconds * 16000), segment_rows)) == count


def test_chunks_do_not_overlap():
    assert chunk_starts(24, 10).tolist() == [0, 10, 20]
    assert chunk_starts(20, 10).tolist() == [0, 10]
    assert chunk_starts(3, 10).tolist() == [0]


@given(LENGTHS, LENGTHS)
def test_every_row_is_covered_by_as_few_segments_as_it_takes(n_rows, segment_rows):
    for starts in (covering_starts(n_rows, segment_rows), chunk_starts(n_rows, segment_rows)):
        seen = {row for start in starts for row in range(start, start + segment_rows)}
        assert seen >= set(range(n_rows))
        assert len(starts) == -(-n_rows // segment_rows)
    if n_rows >= segment_rows:
        assert covering_starts(n_rows, segment_rows)[-1] + segment_rows == n_rows


@given(LENGTHS, LENGTHS, st.integers(1, 12))
def test_even_starts_lie_inside_the_clip_and_spread_evenly(n_rows, segment_rows, count):
    starts = even_starts(n_rows, segment_rows, count)
    last = max(n_rows - segment_rows, 0)
    assert len(starts) == (min(count, last + 1) if count > 1 else 1)
    assert starts.min() >= 0
    assert starts.max() <= last
    gaps = np.diff(starts)
    if count > 1:
        assert (starts[0], starts[-1]) == (0, last)
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 2


def test_a_single_even_segment_lies_in_the_middle():
    assert even_starts(20, 10, 1).tolist() == [5]
    assert even_starts(20, 10, 3).tolist() == [0, 5, 10]
    assert even_starts(5, 10, 3).tolist() == [0]


@settings(max_examples=50)
@given(LENGTHS, LENGTHS, st.integers(0, 100))
def test_random_crops_lie_inside_the_clip(n_rows, segment_rows, seed):
    start = random_start(n_rows, segment_rows, np.random.default_rng(seed))
    assert 0 <= start <= max(n_rows - segment_rows, 0)


def test_random_crops_reach_both_ends():
    rng = np.random.default_rng(0)
    assert {random_start(5, 3, rng) for _ in range(100)} == {0, 1, 2}


@given(LENGTHS, LENGTHS, st.data())
def test_a_segment_is_the_clip_and_then_its_padding(n_rows, segment_rows, data):
    start = data.draw(st.integers(0, n_rows - 1))
    rows = np.arange(n_rows, dtype=np.int16)
    inside = rows[start : start + segment_rows]

    silent = cut(rows, Crop(start), segment_rows, silence=-7)
    assert silent.tolist() == [*inside, *[-7] * (segment_rows - len(inside))]

    repeated = cut(rows, Crop(start, period=n_rows), segment_rows)
    expected = [*rows[start:], *(rows.tolist() * (segment_rows // n_rows + 1))][:segment_rows]
    assert repeated.tolist() == expected
    assert silent.dtype == repeated.dtype == np.int16


def test_frames_are_padded_with_a_silent_row():
    frames = np.ones((3, 2), dtype=np.float16)
    segment = cut(frames, Crop(1), 4, silence=np.array([-80, -60]))
    assert segment.tolist() == [[1, 1], [1, 1], [-80, -60], [-80, -60]]
    assert segment.dtype == np.float16


def test_the_last_chunk_is_padded_from_the_start_of_the_clip():
    clip = np.arange(5)
    crops = [fixed_crop(5, 3, "tile", start) for start in chunk_starts(5, 3)]
    chunks = [cut(clip, crop, 3).tolist() for crop in crops]
    assert chunks == [[0, 1, 2], [3, 4, 0]]


def test_a_clip_that_is_long_enough_is_not_copied():
    rows = np.zeros((100, 4))
    assert np.shares_memory(cut(rows, Crop(90), 10), rows)


def segment_of(crop):
    """A segment of 12 rows of the clip abcde."""
    return "".join(cut(np.array(list("abcde")), crop, 12, silence="."))


def test_a_crop_gives_what_lies_around_the_clip():
    assert segment_of(Crop(-2)) == "..abcde....."
    assert segment_of(Crop(-2, period=5)) == "deabcdeabcde"
    assert segment_of(Crop(-2, period=7)) == "..abcde..abc"
    assert segment_of(Crop(-2, rotation=1)) == "..bcdea....."
    assert segment_of(Crop(1)) == "bcde........"


@settings(max_examples=50)
@given(LENGTHS, LENGTHS, st.sampled_from(["right", "random", "tile", "tile_gap"]), st.booleans())
def test_a_random_crop_holds_all_of_a_short_clip_and_nothing_else(
    n_rows, n_segment, padding, shift
):
    rows = 1 + np.arange(n_rows)
    crop = random_crop(n_rows, n_segment, padding, shift=shift, rng=np.random.default_rng(0))
    segment = cut(rows, crop, n_segment, silence=0)
    heard = segment[segment > 0]
    if n_rows <= n_segment:
        assert set(heard) == set(rows)
        assert padding != "tile" or len(heard) == n_segment
        assert padding not in ("right", "random") or len(heard) == n_rows
    else:
        assert len(heard) == n_segment
    steps = np.diff(heard)
    assert np.isin(steps, [1, 1 - n_rows]).all(), "the clip's order, and round from end to start"


def test_random_padding_draws_every_start_and_a_fixed_crop_is_centred():
    rng = np.random.default_rng(0)
    starts = {random_crop(3, 6, "random", shift=False, rng=rng).start for _ in range(100)}
    assert starts == {-3, -2, -1, 0}
    assert fixed_crop(4, 8, "random", 0) == Crop(-2)
    assert fixed_crop(9, 8, "random", 1) == Crop(1)
    assert fixed_crop(4, 8, "right", 0) == Crop(0)
    assert fixed_crop(4, 8, "tile_gap", 0) == Crop(0, period=4)


def test_tiling_with_a_gap_draws_silence_between_the_repetitions():
    rng = np.random.default_rng(0)
    periods = {random_crop(3, 6, "tile_gap", shift=False, rng=rng).period for _ in range(100)}
    assert periods == {3, 4, 5, 6}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: covering_starts(0, 10), "a clip of 0 rows has no segment"),
        (lambda: chunk_starts(5, 0), "segment_rows must be at least 1, got 0"),
        (lambda: even_starts(5, 2, 0), "count must be at least 1, got 0"),
        (lambda: random_start(0, 2, np.random.default_rng(0)), "a clip of 0 rows"),
        (lambda: cut(np.zeros(0), Crop(0), 2), "a clip of 0 rows"),
    ],
)
def test_what_cannot_be_cut_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_length_of_a_model_is_counted_in_rows():
    options = {"n_fft": 2048, "hop_length": 512, "n_mels": 80, "f_min_hz": 0.0, "f_max_hz": 22050.0}
    log_mel = build("logmel", options, sample_rate=44_100)
    several = ModelInput(segment_seconds=2.0, lengths=[1.0, 0.5, 1.5])
    assert lengths_in_rows(several, log_mel) == [173, 87, 259]
    assert lengths_in_rows(ModelInput(segment_seconds=2.0), log_mel) == [173]
