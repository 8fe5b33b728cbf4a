"""How strongly unrelated clips of one class correlate, and the threshold that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earmark.audit.pairs import Pair, group_of
from earmark.seeding import rng_for

EXPECTED_FALSE = 0.1  # pairs that chance may add to the whole list
MIN_THRESHOLD, MAX_THRESHOLD = 0.3, 0.6
_N_PAIRS, _MIN_PAIRS = 400, 40
_LOG_2 = float(np.log(2))
_TAIL = 0.1  # the share of the correlations of unrelated pairs that is fitted
ALIKE = 0.1  # what unrelated noise stays below; tested pairs above it have something in common
_N_PRIOR, _PRIOR = 4, 0.05  # made excesses above ALIKE: how many, and how large each


@dataclass(frozen=True)
class NullDistribution:
    """The correlations of pairs that are no duplicates, and the threshold for a duplicate.

    Two samples bound how many of the tested pairs chance lifts above a correlation:

    - unrelated pairs of one class, drawn at random. Their upper tenth is fitted by an exponential
      (peaks over threshold).
    - the tested pairs themselves. They are the most alike of all pairs, of which a larger corpus
      has more, so drawn pairs say little about their tail. Those below `MIN_THRESHOLD` are no
      duplicates by definition; an exponential, cut off there, is fitted to those of them above
      0.1, where sounds have an event in common, and continued (an empirical null: Efron,
      "Large-scale simultaneous hypothesis testing", JASA 99, 2004).

    The threshold is where both expect at most `EXPECTED_FALSE` pairs, within limits: duplicates
    that were changed much spoil the fits, and the faintest copies correlate by 0.5 to 0.6.
    `expected_false` then gives the number that follows from the fits.

    Attributes:
        tail_start: where the upper tenth of the unrelated pairs begins; NaN with too few pairs.
        tail_scale: the mean excess of an exponential with the median of that tail; NaN likewise.
        n_pairs: how many unrelated pairs were correlated.
        n_tests: how many candidate pairs the threshold is applied to.
        n_alike: how many of the tested pairs chance lifts above 0.1.
        alike_scale: the mean excess of their exponential.
        threshold: the correlation that a duplicate must reach.
    """

    tail_start: float
    tail_scale: float
    n_pairs: int
    n_tests: int
    n_alike: float
    alike_scale: float
    threshold: float

    @classmethod
    def fit(cls, unrelated: NDArray[np.float64], tested: NDArray[np.float64]) -> "NullDistribution":
        """Fit correlations of unrelated (n,) and of tested pairs (P,).

        Too few unrelated pairs give the highest threshold.
        """
        alike = tested[(tested >= ALIKE) & (tested < MIN_THRESHOLD)]
        n_alike, alike_scale = _cut_exponential(alike - ALIKE, MIN_THRESHOLD - ALIKE)
        n_pairs, start, scale = len(unrelated), np.nan, np.nan
        if n_pairs >= _MIN_PAIRS:
            start = float(np.quantile(unrelated, 1 - _TAIL))
            # The median, so that a few duplicates among the drawn pairs do not spoil the fit.
            scale = float(np.median(unrelated[unrelated >= start]) - start) / _LOG_2
        null = cls(start, scale, n_pairs, len(tested), n_alike, alike_scale, MAX_THRESHOLD)
        return replace(null, threshold=null._needed())

    def _needed(self) -> float:
        if np.isnan(self.tail_start):
            return MAX_THRESHOLD
        by_tail = _above(self.tail_start, self.tail_scale, self.n_tests * _TAIL)
        by_alike = _above(ALIKE, self.alike_scale, self.n_alike)
        return float(np.clip(max(by_tail, by_alike), MIN_THRESHOLD, MAX_THRESHOLD))

    @property
    def expected_false(self) -> float:
        """How many tested pairs chance is expected to lift above the threshold; NaN if unknown."""
        excess = (self.threshold - self.tail_start) / max(self.tail_scale, 1e-9)
        unrelated = self.n_tests * _TAIL * float(np.exp(-excess))
        alike = self.n_alike * float(np.exp((ALIKE - self.threshold) / self.alike_scale))
        return float(np.maximum(unrelated, alike))


def _above(start: float, scale: float, n: float) -> float:
    """Where an exponential tail of n values has so few left as chance may add."""
    return start + scale * float(np.log(max(n / EXPECTED_FALSE, 1.0)))


def _cut_exponential(excesses: NDArray[np.float64], end: float) -> tuple[float, float]:
    """The number and the mean of exponential excesses of which those (n,) below `end` are known.

    The mean is that of maximum likelihood, with a few made excesses that keep it sensible where
    there are hardly any; at most 1, where the excesses do not become rarer towards `end`.
    """
    from scipy.optimize import brentq  # not above: commands that need none of it start faster

    mean = (excesses.sum() + _N_PRIOR * _PRIOR) / (len(excesses) + _N_PRIOR)

    def surplus(scale: float) -> float:
        """By how much the mean of an exponential of this scale, below `end`, is above `mean`."""
        return scale - end / float(np.expm1(end / scale)) - float(mean)

    scale = float(brentq(surplus, 1e-3, 1.0)) if surplus(1.0) > 0 else 1.0
    return len(excesses) / -float(np.expm1(-end / scale)), scale


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
