"""Whether a probability means what it says, a temperature that fixes it, and what to leave open.

Guo et al., "On Calibration of Modern Neural Networks" (2017), for temperature and reliability;
Geifman & El-Yaniv, "Selective Classification for Deep Neural Networks" (2017), for coverage.
Shapes: B clips, C confidences (one a clip, or one a clip and tag), K tags, N bins, R resamples.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from earmark.ensemble.combining import log, logit
from earmark.evaluation.intervals import Estimate, estimates
from earmark.evaluation.points import Bools, Floats, Ints, ratio

N_BINS = 15  # as Guo et al.
COLDEST, HOTTEST = 0.05, 20.0  # where a tagger errs never, or always, no temperature is the best


def fit_temperature(probabilities: Floats, targets: Floats, *, is_multi_label: bool) -> float:
    """Find the one temperature that makes `(B, K)` targets likeliest: above 1 it tempers.

    The loss is convex in its inverse, so there is one answer; it is kept in [0.05, 20].
    """
    from scipy.optimize import minimize_scalar

    def loss(inverse: float) -> float:
        tempered = _tempered_logs(probabilities, 1 / inverse, is_multi_label=is_multi_label)
        if is_multi_label:
            return float((np.logaddexp(0, tempered) - targets * tempered).mean())
        return float(-(tempered * targets).sum(axis=1).mean())

    bounds = (1 / HOTTEST, 1 / COLDEST)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(1 / found.x)


def temper(probabilities: Floats, temperature: float, *, is_multi_label: bool) -> Floats:
    """Divide the logits of `(B, K)` by the temperature; the order of the tags stays as it is."""
    from scipy.special import expit

    tempered = _tempered_logs(probabilities, temperature, is_multi_label=is_multi_label)
    return np.asarray(expit(tempered) if is_multi_label else np.exp(tempered))


def cross_fitted(
    probabilities: Floats, targets: Floats, parts: Ints, *, is_multi_label: bool
) -> Floats:
    """Temper each part of the clips by the temperature of the others; a lone part stays."""
    tempered = np.array(probabilities, dtype=np.float64)
    for part in np.unique(parts):
        own = parts == part
        if not own.all():
            others = probabilities[~own], targets[~own]
            temperature = fit_temperature(*others, is_multi_label=is_multi_label)
            tempered[own] = temper(probabilities[own], temperature, is_multi_label=is_multi_label)
    return tempered


def _tempered_logs(probabilities: Floats, temperature: float, *, is_multi_label: bool) -> Floats:
    """Logits of each tag, or normalised log-probabilities of the classes."""
    from scipy.special import log_softmax

    if is_multi_label:
        return logit(probabilities) / temperature
    return np.asarray(log_softmax(log(probabilities) / temperature, axis=1))


@dataclass(frozen=True)
class Confidences:
    """How sure a tagger is of statements `(C,)`, whether they hold, and the clip of each.

    For clips with one tag a statement is "it is the likeliest tag"; with several, every tag of
    every clip is one.
    """

    values: Floats
    is_right: Bools
    clip_of: Ints

    @classmethod
    def of(cls, probabilities: Floats, targets: Floats, *, is_multi_label: bool) -> "Confidences":
        n_clips, n_tags = probabilities.shape
        if is_multi_label:
            clips = np.repeat(np.arange(n_clips), n_tags)
            return cls(probabilities.ravel(), targets.ravel() > 0.5, clips)
        return cls(*top_answers(probabilities, targets), np.arange(n_clips))


def top_answers(probabilities: Floats, targets: Floats) -> tuple[Floats, Bools]:
    """The probability `(B,)` of the likeliest tag, and whether the clip has that tag."""
    top = probabilities.argmax(axis=1)[:, np.newaxis]
    is_right = np.take_along_axis(targets, top, axis=1)[:, 0] > 0.5
    return np.take_along_axis(probabilities, top, axis=1)[:, 0], is_right


def bins_of(values: Floats, *, equal_mass: bool) -> Ints:
    """Return the bin `(C,)` of each confidence, from 0, at most 15.

    With equal mass every bin has as many values but for ties, so that none rests on a clip or two:
    right where most values lie near 1. Of the probabilities of every tag nearly all lie near 0, and
    bins of equal width tell more.
    """
    if not equal_mass:
        return np.minimum((values * N_BINS).astype(np.int64), N_BINS - 1)
    edges = np.quantile(values, np.linspace(0, 1, N_BINS + 1)[1:-1], method="lower")
    return np.searchsorted(np.unique(edges), values, side="left")


def reliability(found: Confidences, *, equal_mass: bool) -> pd.DataFrame:
    """One row per bin that is not empty: low, high, n, mean confidence, share_right."""
    bins = bins_of(found.values, equal_mass=equal_mass)
    rows = [
        {
            "low": found.values[bins == i].min(),
            "high": found.values[bins == i].max(),
            "n": int((bins == i).sum()),
            "confidence": found.values[bins == i].mean(),
            "share_right": found.is_right[bins == i].mean(),
        }
        for i in np.unique(bins)
    ]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _ErrorMeasure:
    """Expected calibration error of clips that count more or less often; the bins stay."""

    n: csr_array  # (N, B) statements of each clip in each bin
    gaps: csr_array  # (N, B) sum of confidence less those that are right

    def values(self, counts: Floats) -> dict[str, Floats]:
        gaps = np.abs(self.gaps @ counts).sum(axis=0)
        return {"ece": ratio(gaps, (self.n @ counts).sum(axis=0))}


def calibration_error(
    found: Confidences,
    *,
    equal_mass: bool,
    seed: int,
    n_resamples: int,
    sources: Sequence[str] | None = None,
) -> Estimate:
    """Expected calibration error: the mean over statements of their bin's |confidence - right|.

    A resample adds as much noise to the error as the sample has already, so the ends are the
    bootstrap's mirrored at the value (the "basic" interval), not its percentiles; 0 at the least.
    For a few hundred clips both are still a little high: see `error_if_calibrated`.
    """
    bins = bins_of(found.values, equal_mass=equal_mass)
    shape = (int(bins.max()) + 1, int(found.clip_of.max()) + 1)
    places = (bins, found.clip_of)
    gaps = csr_array((found.values - found.is_right, places), shape=shape)
    measure = _ErrorMeasure(csr_array((np.ones(len(bins)), places), shape=shape), gaps)
    e = estimates(
        measure, np.arange(shape[1]), sources=sources, seed=seed, n_resamples=n_resamples
    )["ece"]

    mirrored = [
        None if end is None else max(0.0, 2 * e.value - end)
        for end in (e.low_by_source, e.high_by_source)
    ]
    low, high = max(0.0, 2 * e.value - e.high), max(0.0, 2 * e.value - e.low)
    return Estimate(e.value, low, high, mirrored[1], mirrored[0])


def error_if_calibrated(found: Confidences, *, equal_mass: bool) -> float:
    """The error that a tagger which means what it says would show, by chance, on as many clips.

    A bin's gap is then nearly normal with variance sum of c (1 - c), its mean size sqrt(2 / pi)
    standard deviations. An error that is not above this is no sign of bad calibration.
    """
    bins = bins_of(found.values, equal_mass=equal_mass)
    variances = np.bincount(bins, found.values * (1 - found.values))
    return float(np.sqrt(2 / np.pi * np.maximum(variances, 0)).sum() / len(bins))


def coverage_curve(confidences: Floats, is_right: Bools) -> pd.DataFrame:
    """Answer only the surest: share answered (coverage) against accuracy among them, surest first.

    One row per distinct confidence, which is the least that is answered; clips of equal confidence
    are answered together.
    """
    order = np.argsort(-confidences, kind="stable")
    ordered = confidences[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    n_answered = ends + 1
    return pd.DataFrame(
        {
            "confidence": ordered[ends],
            "coverage": n_answered / len(ordered),
            "accuracy": is_right[order].cumsum()[ends] / n_answered,
        }
    )


def area_under_risk(confidences: Floats, is_right: Bools) -> float:
    """AURC: the mean, over 1 to B clips answered, of the share of wrong answers among them.

    0 is best. Clips of equal confidence share their mistakes evenly, whatever their order.
    """
    order = np.argsort(-confidences, kind="stable")
    level = np.unique(-confidences[order], return_inverse=True)[1]
    share_wrong = np.bincount(level, ~is_right[order]) / np.bincount(level)
    n_answered = np.arange(1, len(order) + 1)
    return float((share_wrong[level].cumsum() / n_answered).mean())


@dataclass(frozen=True)
class Selection:
    """What is left when the unsure is answered "unknown"; no accuracy if nothing is."""

    coverage: float
    accuracy: float | None

    @classmethod
    def at(cls, threshold: float, confidences: Floats, is_right: Bools) -> "Selection":
        answered = confidences >= threshold
        accuracy = float(is_right[answered].mean()) if answered.any() else None
        return cls(float(answered.mean()), accuracy)


def calibration_report(
    rows: pd.DataFrame,
    targets: Floats,
    probabilities: Floats,
    temperature: float,
    *,
    is_multi_label: bool,
    rejection_threshold: float,
    seed: int,
    n_resamples: int,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Judge the ensemble's `(B, K)` probabilities as they are and tempered, on unseen clips.

    Held-out clips are tempered by the other parts' temperatures, test clips by the one given.
    Returns plain values `{"temperature", "out_of_fold": {"ece_before", "ece_after",
    "ece_if_calibrated", "aurc", "rejection_threshold", "coverage", "accuracy"}, "test": the same}`, the
    reliability of each bin, and the coverage curve; the tables have a column `clips` (out_of_fold
    or test), reliability also `probabilities` (before or after).
    """
    values: dict[str, Any] = {"temperature": temperature}
    bins, curves = [], []
    is_labelled = np.asarray(rows["label"] != "")
    for what, role in (("out_of_fold", "validation"), ("test", "test")):
        chosen = is_labelled & np.asarray(rows["role"] == role)
        if not chosen.any():
            continue
        part, own, before = rows[chosen], targets[chosen], probabilities[chosen]
        if role == "test":
            after = temper(before, temperature, is_multi_label=is_multi_label)
        else:
            codes = pd.factorize(part["part"])[0]
            after = cross_fitted(before, own, codes, is_multi_label=is_multi_label)
        judged: dict[str, Any] = {}
        for when, p in (("before", before), ("after", after)):
            found = Confidences.of(p, own, is_multi_label=is_multi_label)
            judged[f"ece_{when}"] = calibration_error(
                found,
                equal_mass=not is_multi_label,
                seed=seed,
                n_resamples=n_resamples,
                sources=list(part["source"]),
            ).to_json()
            table = reliability(found, equal_mass=not is_multi_label)
            bins.append(table.assign(clips=what, probabilities=when))
        judged["ece_if_calibrated"] = error_if_calibrated(found, equal_mass=not is_multi_label)
        confidences, is_right = top_answers(after, own)
        judged["aurc"] = area_under_risk(confidences, is_right)
        kept = Selection.at(rejection_threshold, confidences, is_right)
        judged |= {"rejection_threshold": rejection_threshold, **asdict(kept)}
        values[what] = judged
        curves.append(coverage_curve(confidences, is_right).assign(clips=what))
    return values, pd.concat(bins, ignore_index=True), pd.concat(curves, ignore_index=True)
