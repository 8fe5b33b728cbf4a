"""How a recording is cut into segments, and which of them have sound."""

import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.ensemble.rules import Windows
from earmark.ensemble.segments import (
    Segment,
    prepared_segment,
    segments_of,
    tag_segments,
    with_sound,
)
from earmark.spool import Scratch, Spool
from earmark.taggers.device import Device

LENGTHS = st.integers(1, 60)


@given(n=st.integers(1, 500), window=LENGTHS, hop=LENGTHS)
def test_segments_are_whole_begin_at_every_hop_and_end_with_the_recording(n, window, hop):
    windows = Windows(window_seconds=window, hop_seconds=hop)
    segments = segments_of(n, windows, sample_rate=1)
    assert {end - start for start, end in segments} == {min(n, window)}
    starts = [start for start, _ in segments]
    assert starts == sorted(set(starts))
    assert all(start % hop == 0 for start in starts[:-1])
    assert segments[-1].end == n
    if hop <= window:  # nothing is left out
        assert all(b.start <= a.end for a, b in pairwise(segments))


def test_a_segment_has_sound_where_a_frame_is_within_the_level_of_the_loudest():
    waveform = np.zeros(40_000, np.int16)
    waveform[:10_000], waveform[20_000:30_000] = 20_000, 30  # 56 dB lower
    segments = [Segment(0, 8000), Segment(13_000, 18_000), Segment(22_000, 28_000)]
    assert with_sound(waveform, segments, top_db=60.0) == [True, False, True]
    assert with_sound(waveform, segments, top_db=40.0) == [True, False, False]
    assert with_sound(np.zeros(40_000, np.int16), segments, top_db=60.0) == [True] * 3


def test_a_segment_is_as_loud_as_a_clip_is_made_and_the_recording_stays_as_it_was():
    waveform = np.array([0, 10, -20, 5, 300], np.int16)
    normalised = {"trim": {"normalise": True}}
    part = prepared_segment(waveform, Segment(1, 4), normalised)
    assert part.tolist() == [16_384, -32_767, 8192]
    as_it_is = prepared_segment(waveform, Segment(1, 4), {"trim": {"normalise": False}})
    assert as_it_is.tolist() == [10, -20, 5]
    assert waveform.tolist() == [0, 10, -20, 5, 300]


def test_the_memory_of_a_long_recording_is_given_back_while_it_is_tagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(np.int16, scratch=Scratch(tmp_path, memory_bytes=0))
    for _ in range(64):  # of 1 MB
        spool.append(np.ones(1 << 19, np.int16))
    waveform = np.asarray(spool.rows())
    answers = np.zeros((1, 1))
    monkeypatch.setattr("earmark.ensemble.segments._tag_chunk", lambda *_: answers)
    rules: Any = SimpleNamespace(sample_rate=8000, preparation={"trim": {"normalise": False}})
    windows = Windows(window_seconds=10.0, hop_seconds=10.0)
    cut = segments_of(len(waveform), windows, sample_rate=8000)
    before, device = (
        _mapped_megabytes(),
        Device(name="cpu", precision="float32", channels_last=False),
    )
    most = max(_mapped_megabytes() - before for _ in tag_segments({}, waveform, cut, rules, device))
    assert most < 8  # of 64


def _mapped_megabytes() -> float:
    (line,) = re.findall(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024
