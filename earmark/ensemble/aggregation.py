"""The rules that make a clip of its crops, side by side, and the choice between them.

Shapes: B rows (a validation clip in its fold, or a test clip), K tags.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.calibration import Confidences, calibration_error
from earmark.evaluation.logits import log
from earmark.evaluation.points import metrics_of, point_values
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.temperature import fit_temperature, temper, temper_cross_fitted
from earmark.params import Aggregation, AggregationKey, Crops

Floats = NDArray[np.floating[Any]]


def compared(given: AggregationKey) -> dict[Aggregation, Crops]:
    """The aggregations that the stored crops of a model allow, and of which crops they are.

    A mean and Shan & Ren's rule are always there, of the same crops.
    """
    if given == "mean":
        return {"mean": "cover", "confident_crop": "cover"}
    of_random: dict[Aggregation, Crops] = {
        "mean_of_random_crops": "random",
        "confident_crop": "random",
    }
    return {"mean": "cover", **of_random} if given == "best_out_of_fold" else of_random


def choose(candidates: Mapping[Aggregation, Predictions]) -> tuple[Aggregation, Predictions]:
    """Choose the aggregation with the lowest log loss of the validation clips, each tempered.

    Every candidate gets the temperature that suits it, so that what only states too high
    probabilities does not lose. Of equals the first wins. The clips of a cross-fit group have the
    predictions of the aggregation that wins on the other groups, so that their score is not
    flattered; a lone group has those of the first candidate. Test clips have the winner's.

    Args:
        candidates: the predictions of one model for the same rows.
    """
    first = next(iter(candidates.values()))
    winner = _lowest_loss(candidates, _is_judged(first))
    probabilities = candidates[winner].probabilities.copy()
    groups = first.cross_fit_groups
    is_validation = np.asarray(first.clips["split"] == "validation")
    for group in np.unique(groups[is_validation]):
        in_group = groups == group
        of_others = _lowest_loss(candidates, _is_judged(first) & ~in_group)
        probabilities[in_group] = candidates[of_others].probabilities[in_group]
    return winner, replace(candidates[winner], probabilities=probabilities)


def _is_judged(predictions: Predictions) -> NDArray[np.bool_]:
    clips = predictions.clips
    judged = np.array((clips["split"] == "validation") & (clips["label"] != ""))
    judged[judged] = predictions.validation.is_trusted
    return judged


def _lowest_loss(
    candidates: Mapping[Aggregation, Predictions], rows: NDArray[np.bool_]
) -> Aggregation:
    if not rows.any():
        return next(iter(candidates))
    losses = {name: _tempered_loss(one.take(rows))[1] for name, one in candidates.items()}
    return min(losses, key=lambda name: losses[name])


def _tempered_loss(predictions: Predictions) -> tuple[float, float]:
    """The temperature that suits these clips, and their mean negative log-likelihood with it."""
    p, targets = predictions.probabilities, predictions.targets
    is_multi_label = predictions.task.is_multi_label
    temperature = fit_temperature(p, targets, is_multi_label=is_multi_label)
    tempered = temper(p, temperature, is_multi_label=is_multi_label)
    losses = -targets * log(tempered)
    if is_multi_label:
        losses -= (1 - targets) * log(1 - tempered)
    return temperature, float(losses.sum(axis=1).mean())


def describe(predictions: Predictions, *, n_crops: float) -> dict[str, float]:
    """What an aggregation gives on the validation clips, as a row of the table of aggregations.

    Returns:
        The metrics of the task; `overconfidence` (mean confidence less the share that is right) and
        `ece` (expected calibration error) of the probabilities as they are; `ece_calibrated`, with
        temperatures of the other cross-fit groups; `temperature` and the `log_loss` with it of all
        trusted clips, which decides; `n_crops`, the mean number of crops that were looked at.
    """
    one = predictions.validation
    is_multi_label = one.task.is_multi_label
    values = point_values(one.probabilities, one.targets, is_multi_label=is_multi_label)
    confidences = Confidences.of(one.probabilities, one.targets, is_multi_label=is_multi_label)
    calibrated = temper_cross_fitted(
        one.probabilities, one.targets, one.cross_fit_groups, is_multi_label=is_multi_label
    )
    temperature, log_loss = _tempered_loss(one.take(one.is_trusted))  # as `choose` has them
    return {
        **{metric: values[metric] for metric in metrics_of(one.task)},
        "overconfidence": float(confidences.values.mean() - confidences.is_right.mean()),
        "ece": _error(one, one.probabilities),
        "ece_calibrated": _error(one, calibrated),
        "temperature": temperature,
        "log_loss": log_loss,
        "n_crops": n_crops,
    }


def _error(predictions: Predictions, probabilities: Floats) -> float:
    """The expected calibration error."""
    is_multi_label = predictions.task.is_multi_label
    confidences = Confidences.of(probabilities, predictions.targets, is_multi_label=is_multi_label)
    return calibration_error(confidences, equal_mass=not is_multi_label)
