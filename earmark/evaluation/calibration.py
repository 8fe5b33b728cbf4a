"""Whether a probability means what it says.

Guo et al., "On Calibration of Modern Neural Networks" (2017).
Shapes: B clips, C confidences (one per clip, or one per clip and tag), K tags, N bins, R resamples.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from earmark.evaluation.coverage import Selection, area_under_risk, coverage_curve
from earmark.evaluation.points import Bools, Floats, Ints
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.temperature import temper, temper_cross_fitted

N_BINS = 15  # as Guo et al.
_NO_INTERVAL = "the noise of its bins makes it too high, by how much is not known"


@dataclass(frozen=True)
class Confidences:
    """How confident a tagger is of statements `(C,)`, and whether they are right.

    With one tag per clip the statement is "the clip has its most probable tag"; with several, every
    tag of every clip is a statement.
    """

    values: Floats
    is_right: Bools

    @classmethod
    def of(cls, probabilities: Floats, targets: Floats, *, is_multi_label: bool) -> "Confidences":
        if is_multi_label:
            return cls(probabilities.ravel(), targets.ravel() > 0.5)
        return cls(*top_predictions(probabilities, targets))


def top_predictions(probabilities: Floats, targets: Floats) -> tuple[Floats, Bools]:
    """The probability `(B,)` of the most probable tag, and whether the clip has that tag."""
    top = probabilities.argmax(axis=1)[:, np.newaxis]
    is_right = np.take_along_axis(targets, top, axis=1)[:, 0] > 0.5
    return np.take_along_axis(probabilities, top, axis=1)[:, 0], is_right


def bins_of(values: Floats, *, equal_mass: bool) -> Ints:
    """Return the bin `(C,)` of each confidence, from 0, at most 15.

    With equal mass every bin has as many values (but for ties), so that no bin rests on one or two
    clips: right where most values lie near 1. The probabilities of all tags lie mostly near 0;
    there bins of equal width show more.
    """
    if not equal_mass:
        return np.minimum((values * N_BINS).astype(np.int64), N_BINS - 1)
    edges = np.quantile(values, np.linspace(0, 1, N_BINS + 1)[1:-1], method="lower")
    return np.searchsorted(np.unique(edges), values, side="left")


def reliability(confidences: Confidences, *, equal_mass: bool) -> pd.DataFrame:
    """One row per bin that is not empty: low, high, n, mean confidence, share_right."""
    bins = bins_of(confidences.values, equal_mass=equal_mass)
    rows = [
        {
            "low": confidences.values[bins == i].min(),
            "high": confidences.values[bins == i].max(),
            "n": int((bins == i).sum()),
            "confidence": confidences.values[bins == i].mean(),
            "share_right": confidences.is_right[bins == i].mean(),
        }
        for i in np.unique(bins)
    ]
    return pd.DataFrame(rows)


def calibration_error(confidences: Confidences, *, equal_mass: bool) -> float:
    """Expected calibration error: the mean over statements of their bin's |confidence - right|.

    Noise of the bins adds to it, so that it is too high by up to `error_if_calibrated`. By how much
    depends on what is not known, and no interval that was tried covers; it is to be read beside
    `chance_limit`.
    """
    bins = bins_of(confidences.values, equal_mass=equal_mass)
    gaps = np.bincount(bins, confidences.values - confidences.is_right)
    return float(np.abs(gaps).sum() / len(bins))


def error_if_calibrated(confidences: Confidences, *, equal_mass: bool) -> float:
    """The error that a perfectly calibrated tagger would show, by chance, on as many clips.

    A bin's gap is then nearly normal with variance sum of c (1 - c), its mean size sqrt(2 / pi)
    standard deviations.
    """
    deviations = _deviations_if_calibrated(confidences, equal_mass=equal_mass)
    return float(np.sqrt(2 / np.pi) * deviations.sum())


def chance_limit(confidences: Confidences, *, equal_mass: bool) -> float:
    """The error that 95 % of perfectly calibrated taggers stay below on as many clips.

    The sizes of the gaps vary by 1 - 2 / pi of their variances, and their sum is nearly normal. An
    error that is not above this is no sign of bad calibration.
    """
    deviations = _deviations_if_calibrated(confidences, equal_mass=equal_mass)
    spread = np.sqrt((1 - 2 / np.pi) * (deviations**2).sum())
    return float(np.sqrt(2 / np.pi) * deviations.sum() + 1.645 * spread)


def _deviations_if_calibrated(confidences: Confidences, *, equal_mass: bool) -> Floats:
    """The standard deviation `(N,)` of each bin's share in the error."""
    bins = bins_of(confidences.values, equal_mass=equal_mass)
    variances = np.bincount(bins, confidences.values * (1 - confidences.values))
    return np.sqrt(np.maximum(variances, 0)) / len(bins)


class CalibrationReport(NamedTuple):
    """How well the ensemble is calibrated.

    `values` is `{"temperature", "temperature_out_of_fold", "out_of_fold", "test"}`. Both parts are
    `{"estimator", "clips", "n_clips", "ece_before", "ece_after"}` with what `judge` says and what
    remains by the rejection threshold; `out_of_fold` has `rejection_for_accuracy` too, see
    `Selection.for_accuracy`. Both tables have a column `clips` (out_of_fold or test);
    `reliability` has a row per bin and also a column `probabilities` (before or after tempering),
    `coverage` is the coverage curve.
    """

    values: dict[str, Any]
    reliability: pd.DataFrame
    coverage: pd.DataFrame


def calibration_report(
    predictions: Predictions,
    temperature: float,
    *,
    rejection_threshold: float,
) -> CalibrationReport:
    """Judge probabilities as they are and tempered, on trusted clips that nothing was tuned on.

    Validation clips, each predicted by one fold's networks, are tempered by temperatures of the
    other cross-fit groups. Test clips, like new recordings by the mean over folds, are tempered by
    the temperature given.
    """
    values: dict[str, Any] = {"temperature": temperature}
    values["temperature_out_of_fold"] = temperature / predictions.mean_temperature
    bins, curves = [], []
    for name, split in (("out_of_fold", "validation"), ("test", "test")):
        labelled = predictions.where(split=split)
        if not len(labelled):
            continue
        rows = labelled.is_trusted
        before, after = labelled.take(rows), _tempered(labelled, temperature, split)[rows]
        values[name] = _description(labelled, rows)
        for when, p in (("before", before.probabilities), ("after", after)):
            ece, table = _calibration(before, p)
            values[name][f"ece_{when}"] = ece
            bins.append(table.assign(clips=name, probabilities=when))
        values[name] |= judge(before, after) | _selection(before, after, rejection_threshold)
        top, is_right = top_predictions(after, before.targets)
        curve = coverage_curve(top, is_right)
        if split == "validation":
            values[name]["rejection_for_accuracy"] = Selection.for_accuracy(curve, len(before))
        curves.append(curve.assign(clips=name))
    tables = (pd.concat(parts, ignore_index=True) for parts in (bins, curves))
    return CalibrationReport(values, *tables)


def judge(predictions: Predictions, tempered: Floats) -> dict[str, float]:
    """How far from calibrated `(B, K)` tempered probabilities are, beside what chance gives.

    Returns `{"ece", "ece_if_calibrated", "ece_chance_limit", "confidence", "share_right"}`; the
    latter two are means over the statements of `Confidences`.
    """
    is_multi_label = predictions.task.is_multi_label
    confidences = Confidences.of(tempered, predictions.targets, is_multi_label=is_multi_label)
    table = reliability(confidences, equal_mass=not is_multi_label)
    gaps = (table["confidence"] - table["share_right"]).abs()
    return {
        "ece": float((gaps * table["n"]).sum() / table["n"].sum()),
        "ece_if_calibrated": error_if_calibrated(confidences, equal_mass=not is_multi_label),
        "ece_chance_limit": chance_limit(confidences, equal_mass=not is_multi_label),
        "confidence": float(confidences.values.mean()),
        "share_right": float(confidences.is_right.mean()),
    }


def verdict(judged: Mapping[str, Any]) -> str:
    """What may be claimed of probabilities, from what `judge` returns."""
    error = f"expected calibration error {judged['ece']:.3f}"
    if judged["ece"] <= judged["ece_chance_limit"]:
        return (
            f"calibrated within chance ({error}, by chance up to {judged['ece_chance_limit']:.3f})"
        )
    gap = judged["confidence"] - judged["share_right"]
    how = "not calibrated"
    if abs(gap) > judged["ece"] / 2:
        how = f"{'over' if gap > 0 else 'under'}confident by {abs(gap):.3f}"
    return f"{how} ({error}, by chance at most {judged['ece_chance_limit']:.3f})"


def _description(labelled: Predictions, rows: Bools) -> dict[str, Any]:
    """Whose probabilities a part of the report judges, and on which clips."""
    is_test = labelled.clips["split"].iloc[0] == "test"
    return {
        "estimator": "mean over folds" if is_test else "one fold's networks",
        "clips": "all" if rows.all() else "verified",
        "n_clips": int(rows.sum()),
    }


def tempered_out_of_fold(validation: Predictions) -> Floats:
    """Probabilities of labelled validation rows, by temperatures of the other groups' trusted."""
    return temper_cross_fitted(
        validation.probabilities,
        validation.targets,
        validation.cross_fit_groups,
        is_multi_label=validation.task.is_multi_label,
        is_trusted=validation.is_trusted,
    )


def _tempered(labelled: Predictions, temperature: float, split: str) -> Floats:
    if split == "validation":
        return tempered_out_of_fold(labelled)
    is_multi_label = labelled.task.is_multi_label
    return temper(labelled.probabilities, temperature, is_multi_label=is_multi_label)


def _calibration(
    predictions: Predictions, probabilities: Floats
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Calibration error and reliability of the clips' probabilities, tempered or not."""
    is_multi_label = predictions.task.is_multi_label
    confidences = Confidences.of(probabilities, predictions.targets, is_multi_label=is_multi_label)
    error = calibration_error(confidences, equal_mass=not is_multi_label)
    table = reliability(confidences, equal_mass=not is_multi_label)
    return {"value": error, "why_no_interval": _NO_INTERVAL}, table


def _selection(
    predictions: Predictions, tempered: Floats, rejection_threshold: float
) -> dict[str, Any]:
    top, is_right = top_predictions(tempered, predictions.targets)
    return {
        "aurc": area_under_risk(top, is_right),
        "rejection_threshold": rejection_threshold,
        **asdict(Selection.at(rejection_threshold, top, is_right)),
    }
