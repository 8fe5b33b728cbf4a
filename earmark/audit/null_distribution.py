"""How strongly unrelated clips of one class correlate, and the threshold that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audit.pairs import Pair, group_of
from earmark.seeding import rng_for

EXPECTED_FALSE = 0.1  # pairs that chance may add to the whole list
MIN_THRESHOLD, MAX_THRESHOLD = 0.3, 0.6
_N_PAIRS, _MIN_PAIRS = 400, 40
_LOG_2 = float(np.log(2))
_TAIL = 0.1  # the share of the correlations that is fitted


@dataclass(frozen=True)
class NullDistribution:
    """The correlations of unrelated pairs of clips, and the threshold for a duplicate.

    The upper tenth is fitted by an exponential (peaks over threshold), so that chance lifts at
    most `EXPECTED_FALSE` of the tested pairs above `threshold`. Many duplicates in a corpus
    spoil that fit, so the threshold is limited to 0.6; aligned but unrelated hits of 0.3 s
    stayed below that. `expected_false` then gives the number that follows from the fit.

    Attributes:
        tail_start: where the upper tenth begins; NaN with too few pairs.
        tail_scale: the mean excess of an exponential with the median of the tail; NaN likewise.
        n_pairs: how many unrelated pairs were correlated.
        n_tests: how many candidate pairs the threshold is applied to.
        threshold: the correlation that a duplicate must reach.
    """

    tail_start: float
    tail_scale: float
    n_pairs: int
    n_tests: int
    threshold: float

    @classmethod
    def fit(cls, correlations: NDArray[np.float64], *, n_tests: int) -> "NullDistribution":
        """Fit correlations (n,) of unrelated pairs; too few give the highest threshold."""
        n_pairs = len(correlations)
        if n_pairs < _MIN_PAIRS:
            return cls(np.nan, np.nan, n_pairs, n_tests, MAX_THRESHOLD)
        start = float(np.quantile(correlations, 1 - _TAIL))
        # The median, so that a few duplicates among the drawn pairs do not spoil the fit.
        scale = float(np.median(correlations[correlations >= start]) - start) / _LOG_2
        share = min(_TAIL, EXPECTED_FALSE / max(n_tests, 1))
        needed = start + scale * float(np.log(_TAIL / share))
        threshold = float(np.clip(needed, MIN_THRESHOLD, MAX_THRESHOLD))
        return cls(start, scale, n_pairs, n_tests, threshold)

    @property
    def expected_false(self) -> float:
        """How many tested pairs chance is expected to lift above the threshold; NaN if unknown."""
        excess = (self.threshold - self.tail_start) / max(self.tail_scale, 1e-9)
        return self.n_tests * _TAIL * float(np.exp(-excess))


def unrelated_pairs(
    labels: NDArray[np.str_], tested: Sequence[Pair], index: Sequence[int], *, seed: int
) -> list[tuple[int, int]]:
    """Draw pairs of clips with the same label that no chain of tested pairs connects.

    Args:
        labels: (n,), one per entry of `index`.
        tested: the candidate pairs.
        index: the clips to draw from.
        seed: of the whole pipeline.
    """
    rng = rng_for(seed, "audit", "unrelated")
    group = group_of([(pair.first, pair.second) for pair in tested], max(index, default=0) + 1)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    members = [m for m in members if len(m) > 1]
    if not members:
        return []
    pairs = set()
    for _ in range(_N_PAIRS):
        one, other = rng.choice(members[rng.integers(len(members))], 2, replace=False)
        first, second = sorted((index[one], index[other]))
        if group[first] != group[second]:
            pairs.add((first, second))
    return sorted(pairs)
