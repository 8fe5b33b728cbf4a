"""Find pairs of clips that may share sound, through an index of codes instead of all pairs.

Two frames with the same code vote for their pair of clips and for an offset between them. Every
frame is indexed under its own code and under the codes with its weakest bits flipped (Haitsma &
Kalker, section 5.2), so that a few bit errors do no harm. Memory and time grow linearly with the
number of frames: each clip is compared with the next few clips of the same code only, and codes
that very many clips share are ignored.
Shapes: P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audit.fingerprints import Fingerprint

_NEIGHBOURS = 8  # following clips of the same code to compare with: enough to connect a group
_STOP_SHARE, _STOP_CLIPS = 0.05, 64  # a code that more clips than both share is ignored
_MIN_VOTES = 2
_SHORT_FRAMES = 128  # about a second: with fewer frames, one vote is enough
_TOLERANCE = 2  # units; votes this close agree, since frames do not start at the same time

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


def find_candidates(fingerprints: Sequence[Fingerprint]) -> Candidates:
    """Find pairs with two or more votes for an offset; one vote is enough for a short clip."""
    entries, clip_of, time_of = _index(fingerprints)
    if not len(entries):
        return Candidates(*(np.zeros(0, np.int64) for _ in range(4)))
    pairs, offsets = _collisions(entries, clip_of, time_of)
    pairs, offsets, votes = _best_offsets(pairs, offsets)
    n = len(fingerprints)
    first, second = pairs // n, pairs % n
    sizes = np.array([np.count_nonzero(f.reliable) for f in fingerprints])
    is_short = np.minimum(sizes[first], sizes[second]) < _SHORT_FRAMES
    keep = (votes >= _MIN_VOTES) | is_short
    return Candidates(first[keep], second[keep], offsets[keep], votes[keep])


def _index(fingerprints: Sequence[Fingerprint]) -> tuple[NDArray[np.uint64], Ints, Ints]:
    """Sorted (code << 32 | frame) entries, one per code and clip; clip and time of each frame."""
    lengths = [len(f) for f in fingerprints]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    clip_of = np.repeat(np.arange(len(fingerprints)), lengths)
    times = [np.arange(len(f)) * f.step for f in fingerprints]
    time_of = np.concatenate([np.zeros(0, np.int64), *times])
    parts = [_entries(f, int(starts[i])) for i, f in enumerate(fingerprints)]
    entries = np.concatenate([np.zeros(0, np.uint64), *parts])
    entries.sort()
    code, clip = _code(entries), clip_of[_frame(entries)]
    is_new = np.ones(len(entries), bool)
    is_new[1:] = (code[1:] != code[:-1]) | (clip[1:] != clip[:-1])
    entries, code = entries[is_new], code[is_new]
    bounds = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1], [True]]))
    sizes = np.diff(bounds) if len(code) else np.zeros(0, np.int64)
    limit = max(_STOP_CLIPS, int(_STOP_SHARE * len(fingerprints)))
    keep = np.repeat((sizes > 1) & (sizes <= limit), sizes)
    return entries[keep], clip_of, time_of


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


def _collisions(entries: NDArray[np.uint64], clip_of: Ints, time_of: Ints) -> tuple[Ints, Ints]:
    """Pairs (first * n + second) and offsets of neighbouring entries that have the same code."""
    n_clips = int(clip_of.max()) + 1
    code, frame = _code(entries), _frame(entries)
    clip, time = clip_of[frame], time_of[frame]
    pairs, offsets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for ahead in range(1, _NEIGHBOURS + 1):
        index = np.flatnonzero(code[:-ahead] == code[ahead:])
        # The entries of a code are in the order of their clips.
        pairs.append(clip[index] * n_clips + clip[index + ahead])
        offsets.append(time[index] - time[index + ahead])
    return np.concatenate(pairs), np.concatenate(offsets)


def _best_offsets(pairs: Ints, offsets: Ints) -> tuple[Ints, Ints, Ints]:
    """For each pair: the offset with the most votes at or near it, and the number of votes."""
    order = np.lexsort((offsets, pairs))
    pairs, offsets = pairs[order], offsets[order]
    # Sorted keys: two votes of one pair are as far apart as their offsets, others farther.
    span = int(offsets.max(initial=0) - offsets.min(initial=0)) + 2 * _TOLERANCE + 1
    keys = np.unique(pairs, return_inverse=True)[1] * span + (offsets - offsets.min(initial=0))
    end = np.searchsorted(keys, keys + _TOLERANCE, "right")
    votes = end - np.searchsorted(keys, keys - _TOLERANCE)
    order = np.lexsort((offsets, -votes, pairs))
    _, best = np.unique(pairs[order], return_index=True)
    best = order[best]
    return pairs[best], offsets[best], votes[best]
