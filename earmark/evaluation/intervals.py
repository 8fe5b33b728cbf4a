"""The interval that another draw of the same kind of clips would give: a bootstrap of every metric.

Shapes: B clips, C cells (clips that fare alike), G groups of clips, R resamples, K tags.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from earmark.evaluation.measures import Measure, TagMeasure, classes_of
from earmark.evaluation.points import Floats, Ints, validate, validate_targets
from earmark.evaluation.thresholds import Answers
from earmark.seeding import rng_for

CHUNK = 500_000  # counts held at once: what fits a cache is faster than all of them


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval over clips.

    Where some recordings were cut into several clips, also the ends over recordings (`_by_source`):
    clips of one recording fare alike, so that there are fewer independent ones than it seems.
    """

    value: float
    low: float
    high: float
    low_by_source: float | None = None
    high_by_source: float | None = None

    def to_json(self) -> dict[str, float]:
        return {key: end for key, end in asdict(self).items() if end is not None}

    def widest(self, clips: str, sources: str) -> tuple[float, float, str]:
        """The ends that are farther apart, and the given name of what they range over."""
        low, high = self.low_by_source, self.high_by_source
        if low is not None and high is not None and high - low > self.high - self.low:
            return low, high, sources
        return self.low, self.high, clips


@dataclass(frozen=True)
class Scores:
    """How one set of probabilities fares on one set of clips."""

    estimates: dict[str, Estimate]
    n_clips: int

    def __getitem__(self, metric: str) -> Estimate:
        return self.estimates[metric]

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries: `{"map_at_3": {"value", "low", "high"}, ..., "n_clips"}`."""
        values: dict[str, Any] = {name: e.to_json() for name, e in self.estimates.items()}
        return {**values, "n_clips": self.n_clips}


def score_classes(
    probabilities: Floats,
    labels: Ints,
    *,
    tags: Sequence[str],
    seed: int,
    n_resamples: int,
    sources: Sequence[str] | None = None,
) -> Scores:
    """Score `(B, K)` probabilities of clips with one tag each; every name of CLASS_METRICS.

    Macro values average the classes that occur among the labels or the predictions (those of the
    resample, for the interval), as scikit-learn does. The interval is of the percentiles of a
    bootstrap; it has no width where every clip fares alike. The order of the clips does not matter.
    `sources` names the recording of each clip, "" where it is not known.
    """
    validate(probabilities, labels, tags)
    measure, cell_of = classes_of(probabilities, labels)
    values = estimates(measure, cell_of, sources=sources, seed=seed, n_resamples=n_resamples)
    return Scores(values, len(labels))


def score_tags(
    probabilities: Floats,
    targets: Floats,
    answers: Answers,
    *,
    seed: int,
    n_resamples: int,
    sources: Sequence[str] | None = None,
) -> Scores:
    """Score `(B, K)` probabilities against targets of 0 and 1; every name of TAG_METRICS.

    `micro_*` pool the answers by one threshold over clips and tags, `macro_f1` is the mean over
    tags of the answers by tag. Answers are given, not tuned here, since a threshold that was tuned
    on the clips it is scored on flatters.
    """
    validate_targets(probabilities, targets)
    measure = TagMeasure(probabilities, targets > 0.5, answers)
    cell_of = np.arange(len(targets))
    values = estimates(measure, cell_of, sources=sources, seed=seed, n_resamples=n_resamples)
    return Scores(values, len(targets))


def estimates(
    measure: Measure,
    cell_of: Ints,
    *,
    sources: Sequence[str] | None,
    seed: int,
    n_resamples: int,
) -> dict[str, Estimate]:
    """Estimate every metric of a measure, given the cell of each of the B clips."""
    whole = np.bincount(cell_of)[:, np.newaxis].astype(np.float64)
    values = measure.values(whole)
    rng = rng_for(seed, "bootstrap")
    clips = _ends(measure, resamples(cell_of, None, rng=rng, n_resamples=n_resamples))
    groups = groups_of(sources)
    recordings: dict[str, tuple[float, float]] = {}
    if groups is not None:
        rng = rng_for(seed, "bootstrap", "source")
        recordings = _ends(measure, resamples(cell_of, groups, rng=rng, n_resamples=n_resamples))
    return {
        name: Estimate(float(value[0]), *clips[name], *recordings.get(name, (None, None)))
        for name, value in values.items()
    }


def resamples(
    cell_of: Ints, groups: Ints | None, *, rng: np.random.Generator, n_resamples: int
) -> Iterator[Floats]:
    """Yield counts `(C, r)` of resampled clips, or of all clips of resampled groups, R in all.

    Clips of one cell are interchangeable, so resampling B clips is a multinomial draw over the
    cells: the same distribution as drawing clips, without an (R, B) matrix.
    """
    cells = np.bincount(cell_of)
    n_units, shares = len(cell_of), cells / len(cell_of)
    clips_of: csr_array | None = None  # (C, G): how many clips of each group are in each cell
    if groups is not None:
        n_units = int(groups.max()) + 1
        shares = np.full(n_units, 1 / n_units)
        ones = np.ones(len(groups))
        clips_of = csr_array((ones, (cell_of, groups)), shape=(len(cells), n_units))
    step = max(1, CHUNK // max(len(cells), len(shares)))
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        counts = rng.multinomial(n_units, shares, size=size).T.astype(np.float64)
        yield np.ascontiguousarray(counts) if clips_of is None else clips_of @ counts


def groups_of(sources: Sequence[str] | None) -> Ints | None:
    """Return `(B,)` group numbers, a clip of unknown source ("") alone; None if all are alone."""
    if sources is None:
        return None
    names = [source or f"\x1f{row}" for row, source in enumerate(sources)]
    groups = np.unique(names, return_inverse=True)[1]
    return groups if groups.max() + 1 < len(groups) else None


def _ends(measure: Measure, chunks: Iterator[Floats]) -> dict[str, tuple[float, float]]:
    parts = [measure.values(counts) for counts in chunks]
    resampled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    # A resample may lack what a metric needs (AUC: a clip without the tag), which leaves a NaN.
    return {
        name: (float(np.nanquantile(values, 0.025)), float(np.nanquantile(values, 0.975)))
        if not np.isnan(values).all()
        else (float("nan"), float("nan"))
        for name, values in resampled.items()
    }
