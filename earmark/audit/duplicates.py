"""Find equal and nearly equal recordings: by fingerprint, confirmed by their waveforms.

A pair is a duplicate if the reliable bits of its fingerprints agree over the overlap, and if the
whitened waveforms of the overlap correlate, frame by frame, more than those of unrelated clips of
one class, and than pairs whose fingerprints agree by chance. That threshold is measured on the
corpus itself: see `NullDistribution`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.audit.correlation import lasting_correlation
from earmark.audit.duplicate_search import DuplicateSearch
from earmark.audit.fingerprint_file import FingerprintFile
from earmark.audit.fingerprints import RATE, UNIT, Fingerprint, count_bit_errors, fingerprint
from earmark.audit.matching import find_candidates
from earmark.audit.null_distribution import NullDistribution, unrelated_pairs
from earmark.audit.pairs import Pair
from earmark.audit.sound import beginning
from earmark.processes import map_ordered
from earmark.sound.samples import Float32, as_float, resample
from earmark.spool import release
from earmark.store import Store

_MAX_BIT_ERROR_RATE = 0.25  # of the reliable bits; Haitsma & Kalker allow 0.35 of all bits
_MIN_BITS = 64
_MAX_LAG = 3 * UNIT  # samples by which an offset may be wrong
_MIN_OVERLAP = RATE // 5  # samples
_MIN_PART = RATE * 3 // 10  # samples of a longer clip that may be a duplicate
_WHOLE = 0.9  # an overlap of this share of a clip is all of it, since the ends have no frames

_DTYPES = {
    "first": "str",
    "second": "str",
    "relation": "str",
    "offset_seconds": "float64",
    "overlap_seconds": "float64",
    "bit_error_rate": "float64",
    "correlation": "float64",
}
COLUMNS = list(_DTYPES)


class Waveforms:
    """The decoded waveforms of a store by index, for other processes to compare.

    Of a clip above ten minutes its beginning is compared alone; see `sound.beginning`.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.sample_rate = store, int(store.metadata["sample_rate"])

    def __len__(self) -> int:
        return len(self.store)

    def fingerprint(self, index: int) -> Fingerprint:
        return fingerprint(self._float(index), sample_rate=self.sample_rate)

    def at_16k(self, index: int) -> Float32:
        return resample(self._float(index), from_hz=self.sample_rate, to_hz=RATE)

    def _float(self, index: int) -> Float32:
        rows = beginning(self.store, index)
        waveform = as_float(rows)
        release(rows)
        return waveform


def find_duplicates(
    store: Store, labels: Sequence[str], *, seed: int, workers: int
) -> DuplicateSearch:
    """Search the decoded clips for duplicates.

    What is too much for memory goes into files without a name beside the store.

    Args:
        store: the decoded clips.
        labels: one per clip, in the order of the store; only pairs of one label are drawn for
            the null distribution.
        seed: of the whole pipeline.
        workers: processes to use; their number changes no result.
    """
    waveforms, folder = Waveforms(store), store.folder.parent
    distinct, equal = _equal_samples(store)
    clips = store.index["clip"].to_numpy()
    compare = partial(_correlations, waveforms, clips, workers)
    fingerprints, audible = _fingerprints(waveforms, distinct, folder, clips, workers)
    n_candidates, tests, error_rates = _agreeing_pairs(fingerprints, distinct, folder)
    correlations = compare(_correlation_at_offset, tests, "duplicates")
    drawn = unrelated_pairs(np.asarray(labels)[audible], tests, audible, seed=seed)
    unrelated = compare(_largest_correlation, drawn, "unrelated pairs")
    null = NullDistribution.fit(unrelated, correlations)
    confirmed = [
        _row(store, pair, error_rate, correlation)
        for pair, error_rate, correlation in zip(tests, error_rates, correlations, strict=True)
        if correlation >= null.threshold
    ]
    pairs = pd.DataFrame([*equal, *confirmed], columns=COLUMNS).astype(_DTYPES)
    silent = [str(clips[i]) for i in sorted(set(distinct) - set(audible))]
    return DuplicateSearch(pairs, null, n_candidates, silent)


def _fingerprints(
    waveforms: Waveforms,
    distinct: list[int],
    folder: Path,
    clips: NDArray[np.object_],
    workers: int,
) -> tuple[FingerprintFile, list[int]]:
    """The fingerprints of distinct recordings, and the indices of those with a frame to use."""
    file, audible = FingerprintFile(folder), []
    results = map_ordered(
        waveforms.fingerprint,
        distinct,
        workers=workers,
        description="fingerprints",
        name_of=clips.__getitem__,
    )
    for index, of_clip in zip(distinct, results, strict=True):
        file.append(of_clip)
        if of_clip.reliable.any():
            audible.append(index)
    return file, audible


def _correlations(
    waveforms: Waveforms,
    clips: NDArray[np.object_],
    workers: int,
    function: Callable[..., float],
    pairs: Sequence[tuple[int, ...]],
    description: str,
) -> NDArray[np.float64]:
    """What `function` of a pair and the waveforms gives for each of the pairs: (P,)."""
    results = map_ordered(
        partial(function, waveforms=waveforms),
        pairs,
        workers=workers,
        description=description,
        name_of=lambda pair: f"{clips[pair[0]]} and {clips[pair[1]]}",
    )
    return np.fromiter(results, np.float64, len(pairs))


def _equal_samples(store: Store) -> tuple[list[int], list[dict[str, object]]]:
    """Indices of the distinct recordings, and a row for each clip that equals an earlier one."""
    first_of: dict[str, int] = {}
    rows = []
    clips, seconds = store.index["clip"], store.index["seconds"]
    for index, sha256 in enumerate(store.index["sha256"]):
        first = first_of.setdefault(sha256, index)
        if first != index:
            values = [clips[first], clips[index], "equal", 0.0, seconds[index], 0.0, 1.0]
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return list(first_of.values()), rows


def _agreeing_pairs(
    fingerprints: Sequence[Fingerprint], index: Sequence[int], folder: Path
) -> tuple[int, list[Pair], list[float]]:
    """The number of candidates, the pairs whose fingerprints agree, and their bit error rates."""
    candidates = find_candidates(fingerprints, folder=folder)
    proposed = zip(candidates.first, candidates.second, candidates.offsets, strict=True)
    pairs, error_rates = [], []
    for i, j, start in proposed:
        error_rate, offset = _lowest_error_rate(fingerprints[i], fingerprints[j], int(start))
        if error_rate <= _MAX_BIT_ERROR_RATE:
            pairs.append(Pair(index[i], index[j], offset))
            error_rates.append(error_rate)
    return len(candidates), pairs, error_rates


def _lowest_error_rate(a: Fingerprint, b: Fingerprint, offset: int) -> tuple[float, int]:
    """The lowest bit error rate near an offset, and where; 1 where too few bits are reliable."""
    by_offset = []
    for near in range(offset - 2, offset + 3):
        wrong, n_bits = count_bit_errors(a, b, near)
        rate = wrong / n_bits if n_bits >= _MIN_BITS else 1.0
        by_offset.append((rate, abs(near - offset), near))
    rate, _, best = min(by_offset)
    return rate, best


def _correlation_at_offset(pair: Pair, waveforms: Waveforms) -> float:
    a, b = waveforms.at_16k(pair.first), waveforms.at_16k(pair.second)
    start = pair.offset * UNIT
    shorter = min(len(a), len(b))
    a, b = a[max(start, 0) :], b[max(-start, 0) :]
    n = min(len(a), len(b))
    # Within so few frames one event is all; of clips that are as short, the ends agree as well.
    if n < min(_MIN_PART, _WHOLE * shorter):
        return 0.0
    return _correlation(a[:n], b[:n], max_lag=_MAX_LAG)


def _largest_correlation(pair: tuple[int, int], waveforms: Waveforms) -> float:
    """The correlation at the best of all offsets."""
    a, b = waveforms.at_16k(pair[0]), waveforms.at_16k(pair[1])
    n = min(len(a), len(b))
    return _correlation(a[:n], b[:n], max_lag=n // 2)


def _correlation(a: Float32, b: Float32, *, max_lag: int) -> float:
    return lasting_correlation(a, b, max_lag=max_lag) if len(a) >= _MIN_OVERLAP else 0.0


def _row(store: Store, pair: Pair, error_rate: float, correlation: float) -> dict[str, object]:
    seconds = store.index["seconds"].to_numpy()[[pair.first, pair.second]]
    clips = store.index["clip"].to_numpy()[[pair.first, pair.second]]
    offset = pair.offset * UNIT / RATE
    overlap = min(seconds[0] - max(offset, 0), seconds[1] - max(-offset, 0))
    is_whole = overlap >= _WHOLE * seconds
    relation = "same" if is_whole.all() else "part" if is_whole.any() else "overlap"
    numbers = (round(offset, 3), round(overlap, 3), round(error_rate, 4), round(correlation, 4))
    return dict(zip(COLUMNS, [*clips, relation, *numbers], strict=True))
