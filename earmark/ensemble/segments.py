"""A recording as segments of equal length, each of which is tagged as a clip of its own.

Shapes: T samples, L loud frames, S segments, K tags.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.ensemble.combining import combine, mean_over_folds
from earmark.ensemble.rules import Rules, Windows
from earmark.ensemble.tagging import tag_together
from earmark.sound.samples import Int16
from earmark.sound.trimming import loud_frames, peak_normalise
from earmark.spool import release
from earmark.taggers.device import Device
from earmark.taggers.rows import WaveformFeatures, rows_read
from earmark.taggers.tagger import Tagger

Floats = NDArray[np.floating[Any]]
# Member -> fold -> its network, and the extractor that it reads embeddings of.
Networks = Mapping[str, Mapping[str, tuple[Tagger, Tagger | None]]]

_CHUNK_SECONDS = 120.0  # of segments whose features are in memory together


class Segment(NamedTuple):
    """A part waveform[start:end] of a recording."""

    start: int
    end: int


def segments_of(n_samples: int, windows: Windows, *, sample_rate: int) -> list[Segment]:
    """Cut a recording into segments of one length; one begins at every hop.

    The last one ends with the recording, so it may begin less than a hop after the one before. A
    recording that is no longer than the window is one segment.

    Args:
        n_samples: of the recording, at least 1.
        windows: how long segments are and how far apart they begin.
        sample_rate: in Hz.

    >>> windows = Windows(window_seconds=3.0, hop_seconds=2.0)
    >>> [tuple(segment) for segment in segments_of(8, windows, sample_rate=1)]
    [(0, 3), (2, 5), (4, 7), (5, 8)]
    """
    window, hop = windows.samples(sample_rate)
    last = max(0, n_samples - window)
    return [
        Segment(start, min(start + window, n_samples)) for start in [*range(0, last, hop), last]
    ]


def with_sound(waveform: Int16, segments: Sequence[Segment], *, top_db: float) -> list[bool]:
    """Whether something is to be heard in each segment of a recording `(T,)`.

    By the rule that trims clips: a frame counts that is within `top_db` of the loudest one. In a
    recording of silence all segments do.
    """
    loud = loud_frames(waveform, top_db=top_db)  # (L,)
    ends = [(segment.start, segment.end) for segment in segments]
    first, last = np.searchsorted(loud, np.array(ends, dtype=np.int64).reshape(-1, 2)).T
    is_loud: list[bool] = (first < last).tolist()
    return is_loud


def prepared_segment(waveform: Int16, segment: Segment, preparation: Mapping[str, Any]) -> Int16:
    """The samples of a segment, as loud as a clip is made; its ends are not trimmed."""
    samples = np.array(waveform[segment.start : segment.end])
    return peak_normalise(samples) if preparation["trim"]["normalise"] else samples


def tag_segments(
    networks: Networks,
    waveform: Int16,
    segments: Sequence[Segment],
    rules: Rules,
    device: Device,
) -> Iterator[Floats]:
    """Yield what the networks together give for segments `(S, K)`, some of them at a time.

    Every network gives the mean over the crops that cover a segment, whatever its aggregation of
    clips: a rule that draws crops has little to draw from in a second or three.
    """
    for chosen in in_chunks(segments, sample_rate=rules.sample_rate, seconds=_CHUNK_SECONDS):
        features = [
            WaveformFeatures(prepared_segment(waveform, one, rules.preparation)) for one in chosen
        ]
        yield _tag_chunk(networks, features, rules, device)
        release(waveform)  # of hours


def _tag_chunk(
    networks: Networks, features: Sequence[WaveformFeatures], rules: Rules, device: Device
) -> Floats:
    def ask(_: str, __: str, tagger: Tagger, extractor: Tagger | None) -> Floats:
        rows = [rows_read(one, tagger, extractor, device) for one in features]
        return tag_together(tagger, rows, device)[0]

    return ask_all(networks, rules, ask)


def in_chunks(
    segments: Sequence[Segment], *, sample_rate: int, seconds: float
) -> Iterator[Sequence[Segment]]:
    """Some segments at a time, together at most so many seconds, whose features fit into memory."""
    longest = max((segment.end - segment.start for segment in segments), default=1)
    n_at_once = max(1, int(seconds * sample_rate / longest))
    for first in range(0, len(segments), n_at_once):
        yield segments[first : first + n_at_once]


def ask_all(
    networks: Networks, rules: Rules, ask: Callable[[str, str, Tagger, Tagger | None], Floats]
) -> Floats:
    """What the networks together give, `(B, K)`.

    Args:
        ask: gives the probabilities `(B, K)` by one network; is called with member, fold, the
            network and the extractor that it reads embeddings of.
    """
    is_multi_label, members = rules.is_multi_label, {}
    for member, folds in networks.items():
        by_fold = {fold: ask(member, fold, *network) for fold, network in folds.items()}
        members[member] = mean_over_folds(
            by_fold, fold_mean=rules.fold_mean, is_multi_label=is_multi_label
        )
    weights = {name: rules.weights[name] for name in members}
    return combine(members, weights, is_multi_label=is_multi_label)
