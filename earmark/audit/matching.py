"""Find pairs of clips that may share sound, through an index of codes instead of all pairs.

Two frames with the same code vote for their pair of clips and for an offset between them. Every
frame is indexed under its own code and under the codes with its weakest bits flipped (Haitsma &
Kalker, section 5.2), so that a few bit errors do no harm. Time grows linearly with the number of
frames: each clip is compared with the next few clips of the same code only, and codes that very
many clips share are ignored. Entries are gathered in buckets by their code, and votes by their
first clip, in files where they are many, so that memory holds one bucket at a time.
Shapes: P pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from earmark.audit.fingerprints import Fingerprint
from earmark.spool import Scratch, Spool

_NEIGHBOURS = 8  # following clips of the same code to compare with: enough to connect a group
_STOP_SHARE, _STOP_CLIPS = 0.05, 64  # a code that more clips than both share is ignored
_MIN_VOTES = 2
_SHORT_FRAMES = 128  # about a second: with fewer frames, one vote is enough
_TOLERANCE = 2  # units; votes this close agree, since frames do not start at the same time
_VOTE = np.dtype([("first", np.int32), ("second", np.int32), ("offset", np.int32)])
_BUCKET_CLIPS, _MAX_BUCKETS = 500, 200  # each of the buckets may be an open file
_BLOCK_ENTRIES = 1 << 18  # that are put into buckets at a time

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Pairs of clips that may share sound.

    Attributes:
        first: int64 (P,), the index of one clip of each pair.
        second: int64 (P,), the index of the other clip, which comes later.
        offsets: int64 (P,), the time in the first clip minus the time of the same sound in the
            second, in units.
        votes: int64 (P,), how many equal codes support the offset.
    """

    first: Ints
    second: Ints
    offsets: Ints
    votes: Ints

    def __len__(self) -> int:
        return len(self.first)


def find_candidates(
    fingerprints: Sequence[Fingerprint], *, folder: Path | None = None
) -> Candidates:
    """Find pairs with two or more votes for an offset; one vote is enough for a short clip.

    Args:
        fingerprints: of the clips, each read twice.
        folder: where index and votes go that are too many for memory, in files without a name;
            None keeps all in memory. It changes no result.
    """
    lengths = np.array([len(f) for f in fingerprints], np.int64)
    clips = _Clips(
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        steps=np.array([f.step for f in fingerprints], np.int64),
        sizes=np.array([np.count_nonzero(f.reliable) for f in fingerprints], np.int64),
    )
    votes = _Buckets(_VOTE, len(lengths), Scratch(folder))
    index = _index(fingerprints, clips.starts, Scratch(folder))
    for entries in index:
        for found in _collisions(_shared(entries, clips), clips):
            votes.add(found, found["first"] * votes.n_buckets // max(len(lengths), 1))
    # Buckets follow each other as their first clips do, so that the pairs are in order.
    parts = [_best_offsets(bucket) for bucket in votes]
    first, second, offsets, n_votes = (
        np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*parts, strict=True)
    )
    is_short = np.minimum(clips.sizes[first], clips.sizes[second]) < _SHORT_FRAMES
    keep = (n_votes >= _MIN_VOTES) | is_short
    return Candidates(first[keep], second[keep], offsets[keep], n_votes[keep])


@dataclass(frozen=True)
class _Clips:
    """Where frames belong: the number of all frames before each clip, its step, its voting frames.

    `starts` (n + 1,), `steps` and `sizes` (n,).
    """

    starts: Ints
    steps: Ints
    sizes: Ints

    def of(self, frames: Ints) -> Ints:
        return np.searchsorted(self.starts, frames, "right") - 1

    def times(self, frames: Ints, clips: Ints) -> Ints:
        return (frames - self.starts[clips]) * self.steps[clips]


class _Buckets:
    """Rows that are collected by bucket, and then read one bucket at a time.

    Args:
        dtype: of a row.
        n_clips: of the corpus; more clips have more buckets, so that one bucket stays small.
        scratch: shared by all buckets.
    """

    def __init__(self, dtype: DTypeLike, n_clips: int, scratch: Scratch) -> None:
        self.n_buckets = int(np.clip(n_clips // _BUCKET_CLIPS, 1, _MAX_BUCKETS))
        self._spools = [Spool(dtype, scratch=scratch) for _ in range(self.n_buckets)]

    def add(self, rows: NDArray[Any], bucket: NDArray[Any]) -> None:
        """Add rows (R,) to the buckets (R,)."""
        if self.n_buckets == 1:
            self._spools[0].append(rows)
            return
        order = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[order], np.arange(1, self.n_buckets))
        for spool, part in zip(self._spools, np.split(rows[order], ends), strict=True):
            spool.append(part.copy())  # a view would keep the rows of all buckets in memory

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for spool in self._spools:
            yield np.array(spool.rows())
            spool.discard()


def _index(fingerprints: Sequence[Fingerprint], starts: Ints, scratch: Scratch) -> "_Buckets":
    """All entries (code << 32 | frame), with those of one code in one bucket."""
    index = _Buckets(np.uint64, len(fingerprints), scratch)
    waiting: list[NDArray[np.uint64]] = []
    n_waiting = 0
    for number, f in enumerate(fingerprints):
        waiting.append(_entries(f, int(starts[number])))
        n_waiting += len(waiting[-1])
        if n_waiting > _BLOCK_ENTRIES or number == len(fingerprints) - 1:
            entries = np.concatenate(waiting)
            # Fibonacci hashing: the codes themselves crowd where neighbouring bands agree.
            hashed = (_code(entries) * np.uint32(2_654_435_769)).astype(np.uint64)
            index.add(entries, hashed * np.uint64(index.n_buckets) >> np.uint64(32))
            waiting.clear()
            n_waiting = 0
    return index


def _shared(entries: NDArray[np.uint64], clips: _Clips) -> NDArray[np.uint64]:
    """Sorted entries, one per code and clip, of codes that some but not too many clips share."""
    entries.sort()
    entries = entries[_size_of_run(_code(entries)) > 1]  # most codes occur once
    code, clip = _code(entries), clips.of(_frame(entries))
    is_new = np.ones(len(entries), bool)
    is_new[1:] = (code[1:] != code[:-1]) | (clip[1:] != clip[:-1])
    entries = entries[is_new]
    sizes = _size_of_run(_code(entries))
    limit = max(_STOP_CLIPS, int(_STOP_SHARE * len(clips.steps)))
    return entries[(sizes > 1) & (sizes <= limit)]


def _size_of_run(values: NDArray[Any]) -> Ints:
    """For each of the sorted values (R,): how many are equal to it."""
    bounds = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
    sizes = np.diff(bounds) if len(values) else np.zeros(0, np.int64)
    return np.repeat(sizes, sizes)


def _entries(f: Fingerprint, start: int) -> NDArray[np.uint64]:
    """The entries of a clip: its reliable frames under their code and codes 1 or 2 bits away."""
    index = np.flatnonzero(f.reliable)
    codes = f.codes[index]
    flips = (np.uint32(1) << f.weakest[index].astype(np.uint32)).T  # (2, n)
    variants = [codes, codes ^ flips[0]]
    if f.step == 1:  # short clips have few frames, so more codes per frame are affordable
        variants += [codes ^ flips[1], codes ^ flips[0] ^ flips[1]]
    frames = (start + index).astype(np.uint64)
    return np.concatenate([(v.astype(np.uint64) << np.uint64(32)) | frames for v in variants])


def _code(entries: NDArray[np.uint64]) -> NDArray[np.uint32]:
    return (entries >> np.uint64(32)).astype(np.uint32)


def _frame(entries: NDArray[np.uint64]) -> Ints:
    return (entries & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _collisions(entries: NDArray[np.uint64], clips: _Clips) -> Iterator[NDArray[Any]]:
    """Votes of neighbouring entries that have the same code."""
    code, frame = _code(entries), _frame(entries)
    clip = clips.of(frame)
    time = clips.times(frame, clip)
    for ahead in range(1, _NEIGHBOURS + 1):
        index = np.flatnonzero(code[:-ahead] == code[ahead:])
        votes = np.empty(len(index), _VOTE)
        # The entries of a code are in the order of their clips.
        votes["first"], votes["second"] = clip[index], clip[index + ahead]
        votes["offset"] = time[index] - time[index + ahead]
        yield votes


def _best_offsets(votes: NDArray[Any]) -> tuple[Ints, Ints, Ints, Ints]:
    """Of each pair: its clips, the offset with the most votes at or near it, and their number."""
    span_of_clip = int(votes["second"].max(initial=0)) + 1
    pairs = votes["first"].astype(np.int64) * span_of_clip + votes["second"]
    offsets = votes["offset"].astype(np.int64)
    order = np.lexsort((offsets, pairs))
    pairs, offsets = pairs[order], offsets[order]
    # Sorted keys: two votes of one pair are as far apart as their offsets, others farther.
    span = int(offsets.max(initial=0) - offsets.min(initial=0)) + 2 * _TOLERANCE + 1
    keys = np.unique(pairs, return_inverse=True)[1] * span + (offsets - offsets.min(initial=0))
    end = np.searchsorted(keys, keys + _TOLERANCE, "right")
    n_votes = end - np.searchsorted(keys, keys - _TOLERANCE)
    order = np.lexsort((offsets, -n_votes, pairs))
    _, best = np.unique(pairs[order], return_index=True)
    best = order[best]
    return pairs[best] // span_of_clip, pairs[best] % span_of_clip, offsets[best], n_votes[best]
