"""Equal and near-equal recordings: found by fingerprint, confirmed by the waveforms themselves.

A pair is a duplicate if the trusted bits of its fingerprints agree over the overlap, and if the
whitened waveforms of the overlap correlate more than those of clips of one class do which have
nothing to do with each other. That threshold is measured on the corpus itself: see `Null`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earmark.audit.fingerprints import RATE, UNIT, Fingerprint, errors, fingerprint
from earmark.audit.matching import candidates
from earmark.processes import map_ordered
from earmark.seeding import rng_for
from earmark.sound.decoding import Float32, as_float, resample
from earmark.store import Store

EXPECTED_FALSE = 0.1  # pairs that chance may add to the whole list
LEAST_CORRELATION, ENOUGH_CORRELATION = 0.3, 0.6  # the threshold lies between
_MOST_ERRORS = 0.25  # of the trusted bits; Haitsma & Kalker allow 0.35 of all bits
_LEAST_BITS = 64
_NULL_PAIRS, _LEAST_NULL_PAIRS = 400, 40
_LOG_2 = float(np.log(2))
_TAIL = 0.1  # the share of the null that is fitted
_WHITENING = 0.8  # power of the magnitude that is divided out; 1 would count bare noise in full
_REACH = 3 * UNIT  # samples by which an offset may err
_LEAST_OVERLAP = RATE // 5  # samples
_WHOLE = 0.9  # of a clip; an overlap of so much is all of it, since the ends have no frames

COLUMNS = ["first", "second", "kind", "offset_seconds", "overlap_seconds", "errors", "correlation"]


@dataclass(frozen=True)
class Null:
    """How unrelated clips of one class correlate, and the threshold that follows from it.

    The upper tenth is fitted by an exponential (peaks over threshold), so that chance is expected
    to lift `EXPECTED_FALSE` of the tested pairs, or fewer, above `threshold`. A corpus full of
    duplicates spoils that fit, so the threshold never exceeds 0.6, which unrelated hits of 0.3 s
    that were laid onto each other did not reach; `expected_false` then tells what the fit says.
    """

    start: float  # where the upper tenth begins
    scale: float  # by how much an exponential with its median exceeds that, on average
    n_pairs: int
    n_tests: int
    threshold: float

    @classmethod
    def of(cls, correlations: NDArray[np.float64], *, n_tests: int) -> "Null":
        """Fit correlations (n,) of unrelated pairs; of too few the threshold is the strictest."""
        n_pairs = len(correlations)
        if n_pairs < _LEAST_NULL_PAIRS:
            return cls(np.nan, np.nan, n_pairs, n_tests, ENOUGH_CORRELATION)
        start = float(np.quantile(correlations, 1 - _TAIL))
        # By the median, so that a few duplicates among the drawn pairs do not blind the test.
        scale = float(np.median(correlations[correlations >= start]) - start) / _LOG_2
        share = min(_TAIL, EXPECTED_FALSE / max(n_tests, 1))
        needed = start + scale * float(np.log(_TAIL / share))
        threshold = float(np.clip(needed, LEAST_CORRELATION, ENOUGH_CORRELATION))
        return cls(start, scale, n_pairs, n_tests, threshold)

    @property
    def expected_false(self) -> float:
        """How many of the tested pairs chance should lift above the threshold; NaN if unknown."""
        excess = (self.threshold - self.start) / max(self.scale, 1e-9)
        return self.n_tests * _TAIL * float(np.exp(-excess))


@dataclass(frozen=True)
class Found:
    """Pairs of duplicates (columns COLUMNS, clips by name) and how they were judged."""

    pairs: pd.DataFrame
    null: Null
    n_candidates: int
    without_fingerprint: list[str]  # clips too short or too quiet to compare


class _Pair(NamedTuple):
    """Lines of two clips, and the time in the first less that in the second, in units."""

    first: int
    second: int
    offset: int


class Sounds:
    """The decoded waveforms of a store by line, at the rate that fingerprints are taken at."""

    def __init__(self, store: Store) -> None:
        self.store, self.rate = store, int(store.metadata["sample_rate"])

    def __len__(self) -> int:
        return len(self.store)

    def fingerprint(self, line: int) -> Fingerprint:
        return fingerprint(as_float(self.store.rows(line)), sample_rate=self.rate)

    def at_16k(self, line: int) -> Float32:
        return resample(as_float(self.store.rows(line)), from_hz=self.rate, to_hz=RATE)


def find_duplicates(store: Store, labels: Sequence[str], *, seed: int, workers: int) -> Found:
    """Look for duplicates among the decoded clips, whose labels are given in the same order."""
    sounds = Sounds(store)
    firsts, equal = _equal_samples(store)
    taken = map_ordered(
        sounds.fingerprint, firsts, workers=workers, description="fingerprints", chunk=16
    )
    prints = list(taken)  # of distinct recordings
    proposed = candidates(prints)
    proposals = zip(proposed.first, proposed.second, proposed.offsets, strict=True)
    agreeing = []
    for i, j, offset in proposals:
        share, offset = _fewest_errors(prints[i], prints[j], int(offset))
        if share <= _MOST_ERRORS:
            agreeing.append((_Pair(firsts[i], firsts[j], offset), share))
    tests = [pair for pair, _ in agreeing]
    confirm = partial(_confirm, sounds=sounds)
    measured = list(map_ordered(confirm, tests, workers=workers, description="duplicates"))
    heard = [line for line, f in zip(firsts, prints, strict=True) if f.strong.any()]
    unrelated = _unrelated(np.asarray(labels)[heard], tests, heard, seed=seed)
    chance = map_ordered(
        partial(_best_correlation, sounds=sounds),
        unrelated,
        workers=workers,
        description="unrelated pairs",
    )
    null = Null.of(np.array(list(chance)), n_tests=len(tests))
    rows = [
        _row(store, pair, share, correlation)
        for (pair, share), correlation in zip(agreeing, measured, strict=True)
        if correlation >= null.threshold
    ]
    pairs = pd.DataFrame([*equal, *rows], columns=COLUMNS)
    names = store.index["clip"].to_numpy()
    unheard = [str(names[line]) for line in sorted(set(firsts) - set(heard))]
    return Found(pairs, null, len(proposed), unheard)


def _equal_samples(store: Store) -> tuple[list[int], list[dict[str, object]]]:
    """Lines of the distinct recordings, and a row for each clip that equals an earlier one."""
    first_of: dict[str, int] = {}
    rows = []
    names, seconds = store.index["clip"], store.index["seconds"]
    for line, sha256 in enumerate(store.index["sha256"]):
        first = first_of.setdefault(sha256, line)
        if first != line:
            values = [names[first], names[line], "equal", 0.0, seconds[line], 0.0, 1.0]
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return list(first_of.values()), rows


def _fewest_errors(a: Fingerprint, b: Fingerprint, offset: int) -> tuple[float, int]:
    """The least share of wrong bits near the offset, and where; 1 where too few can be trusted."""
    shares = []
    for near in range(offset - 2, offset + 3):
        wrong, trusted = errors(a, b, near)
        shares.append(
            (wrong / trusted if trusted >= _LEAST_BITS else 1.0, abs(near - offset), near)
        )
    share, _, best = min(shares)
    return share, best


def _confirm(pair: _Pair, sounds: Sounds) -> float:
    a, b = sounds.at_16k(pair.first), sounds.at_16k(pair.second)
    start = pair.offset * UNIT
    a, b = a[max(start, 0) :], b[max(-start, 0) :]
    n = min(len(a), len(b))
    return correlation(a[:n], b[:n], reach=_REACH) if n >= _LEAST_OVERLAP else 0.0


def _best_correlation(pair: tuple[int, int], sounds: Sounds) -> float:
    """The largest correlation over all offsets: more than a test at one offset could find."""
    a, b = sounds.at_16k(pair[0]), sounds.at_16k(pair[1])
    n = min(len(a), len(b))
    return correlation(a[:n], b[:n], reach=n // 2) if n >= _LEAST_OVERLAP else 0.0


def correlation(a: Float32, b: Float32, *, reach: int) -> float:
    """The largest magnitude of the whitened cross-correlation of (n,) and (n,), 0 to 1.

    Whitening makes one sharp peak of a common source, and none of a common pitch or rhythm; the
    sign does not count, since some recorders turn it. Lags up to `reach` samples are looked at.
    """
    n_fft = 1 << (len(a) + len(b) - 1).bit_length()
    window = np.hanning(len(a)).astype(np.float32)  # or the cuts at the ends would correlate
    first, second = _whitened(a * window, n_fft), _whitened(b * window, n_fft)
    scale = np.sqrt((np.abs(first) ** 2).mean() * (np.abs(second) ** 2).mean())
    if not scale:
        return 0.0
    lags = np.fft.irfft(first * second.conj(), n_fft)
    reached = np.concatenate([lags[: reach + 1], lags[-reach:]])
    return float(np.abs(reached).max() / scale)


def _whitened(waveform: Float32, n_fft: int) -> NDArray[np.complex64]:
    spectrum = np.fft.rfft(waveform, n_fft)
    magnitude = np.abs(spectrum) ** _WHITENING
    floor = 1e-3 * magnitude.mean()
    return np.asarray(spectrum / (magnitude + max(float(floor), 1e-20)), dtype=np.complex64)


def _unrelated(
    labels: NDArray[np.str_], tests: list[_Pair], lines: list[int], *, seed: int
) -> list[tuple[int, int]]:
    """Pairs of lines drawn at random, of one label each, from groups that nothing joins."""
    rng = rng_for(seed, "audit", "unrelated")
    group = group_of([(pair.first, pair.second) for pair in tests], max(lines, default=0) + 1)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    members = [m for m in members if len(m) > 1]
    if not members:
        return []
    drawn = set()
    for _ in range(_NULL_PAIRS):
        one, other = rng.choice(members[rng.integers(len(members))], 2, replace=False)
        pair = sorted((lines[one], lines[other]))
        if group[pair[0]] != group[pair[1]]:
            drawn.add((pair[0], pair[1]))
    return sorted(drawn)


def group_of(pairs: Sequence[tuple[int, int]], n: int) -> NDArray[np.int64]:
    """Number the connected groups of n things, some of them joined in pairs: (n,)."""
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _row(store: Store, pair: _Pair, share: float, found: float) -> dict[str, object]:
    seconds = store.index["seconds"].to_numpy()[[pair.first, pair.second]]
    names = store.index["clip"].to_numpy()[[pair.first, pair.second]]
    offset = pair.offset * UNIT / RATE
    overlap = min(seconds[0] - max(offset, 0), seconds[1] - max(-offset, 0))
    whole = overlap >= _WHOLE * seconds
    kind = "same" if whole.all() else "part" if whole.any() else "overlap"
    values = [*names, kind, round(offset, 3), round(overlap, 3), round(share, 4), round(found, 4)]
    return dict(zip(COLUMNS, values, strict=True))
