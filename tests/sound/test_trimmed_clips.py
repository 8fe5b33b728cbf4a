"""Trimmed clips are made of the decoded ones, sample for sample as `trim` makes them."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earmark.sound.trimming
from earmark.errors import DamagedError
from earmark.layout import Layout
from earmark.params import Trim
from earmark.records import write_table
from earmark.sound.trimmed_clips import TrimmedClips
from earmark.sound.trimming import find_part, trim
from earmark.spool import Scratch
from earmark.store import StoreWriter
from tests.stored_clips import store_clips
from tests.waveforms import noise

RATE = 8000
TRIM = Trim(top_db=60.0, min_seconds=0.1, normalise=True)


def padded(level: float, n_samples: int, silence: int) -> np.ndarray:
    return np.pad(noise(n_samples, level=level), silence)


@settings(max_examples=30, deadline=None)
@given(
    level=st.sampled_from([0.0, 1.0, 40.0, 3000.0, 20_000.0]),
    n_samples=st.integers(1, 9000),
    silence=st.integers(0, 6000),
    normalise=st.booleans(),
    limit=st.booleans(),
)
def test_samples_are_those_of_trim(
    tmp_path_factory, level, n_samples, silence, normalise, limit
) -> None:
    waveform = padded(level, n_samples, silence)
    if limit:
        waveform[len(waveform) // 2] = -32768  # the one peak that is scaled down
    options = TRIM.model_copy(update={"normalise": normalise}).model_dump()
    expected = trim(waveform, sample_rate=RATE, **options)
    part = find_part(waveform, sample_rate=RATE, **options)
    row = {"trimmed_start": part.start, "length": part.end - part.start, "peak": part.peak}
    layout = Layout(tmp_path_factory.mktemp("clips"))
    clips = store_clips(layout, {"a": waveform}, rate=RATE, part=row)
    np.testing.assert_array_equal(clips.waveform(0), expected.waveform)
    for n in (100, 100_000):
        np.testing.assert_array_equal(clips.beginning(0, n), expected.waveform[:n])
    assert clips.waveform(0).dtype == np.int16
    assert (part.start, part.kept_whole) == (expected.start, expected.kept_whole)


def test_a_long_clip_lies_in_a_file_without_a_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(earmark.sound.trimming, "_BLOCK_SAMPLES", 1000)
    waveform = noise(5000)
    clips = store_clips(Layout(tmp_path), {"a": waveform}, rate=RATE, part={"peak": 20_000})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    long = clips.waveform(0, scratch=Scratch(scratch, memory_bytes=4000))
    np.testing.assert_array_equal(long, clips.waveform(0))
    base: Any = long
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    assert list(scratch.iterdir()) == []


def test_nothing_but_two_small_files_is_kept(tmp_path) -> None:
    layout = Layout(tmp_path)
    store_clips(layout, {str(n): noise(50_000) for n in range(4)}, rate=RATE)
    sizes = {path.name: path.stat().st_size for path in layout.trimmed.iterdir()}
    assert set(sizes) == {"index.parquet", "store.json"}
    assert sum(sizes.values()) < 10_000


def test_the_digest_changes_with_the_samples(tmp_path) -> None:
    digests = {
        store_clips(Layout(tmp_path), {"a": noise(900, key=key)}, rate=RATE).digest
        for key in ("x", "y", "x")
    }
    assert len(digests) == 2


def test_clips_that_were_decoded_anew_do_not_fit(tmp_path) -> None:
    layout = Layout(tmp_path)
    store_clips(layout, {"a": noise(900)}, rate=RATE)
    with StoreWriter(
        layout.decoded, row_shape=(), dtype="int16", metadata={"sample_rate": RATE}
    ) as store:
        store.append(noise(900, key="other"), clip="a", split="train")
    with pytest.raises(DamagedError, match=r"trimmed: damaged \(it was not made of the clips"):
        TrimmedClips.open(layout.trimmed, layout.decoded)


@pytest.mark.parametrize("column", ["trimmed_start", "length"])
def test_an_index_that_points_beyond_a_clip_is_damaged(tmp_path: Path, column: str) -> None:
    layout = Layout(tmp_path)
    clips = store_clips(layout, {"a": noise(900)}, rate=RATE)
    write_table(layout.trimmed / "index.parquet", clips.index.assign(**{column: [901]}))
    with pytest.raises(DamagedError, match=r"trimmed: damaged"):
        TrimmedClips.open(layout.trimmed, layout.decoded)
