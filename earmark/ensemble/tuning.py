"""What is tuned on the ensemble's predictions: its temperature, and thresholds of tags.

Shapes: B clips, F folds, K tags.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.ensemble.combining import combine
from earmark.evaluation.calibration import judge, tempered_out_of_fold
from earmark.evaluation.predictions import ENSEMBLE, Predictions
from earmark.evaluation.temperature import fit_temperature, mean_temperature, temper
from earmark.evaluation.thresholds import tune

Floats = NDArray[np.floating[Any]]

MIN_UNLABELLED = 30  # so many tell how much sharper one network is than the mean over folds


def unlabelled_clips(ensemble: Predictions) -> list[str]:
    """The clips that no network was trained on and every fold's predicted, whatever their label."""
    clips = ensemble.clips
    return list(clips["clip"][(clips["split"] == "test") & ~clips["quarantined"].astype(bool)])


def tune_ensemble(
    ensemble: Predictions,
    members: Mapping[str, Predictions],
    weights: Mapping[str, float],
    networks: Mapping[str, Floats],
) -> dict[str, Any]:
    """Tune on trusted validation clips, and transfer it from one fold's networks to their mean.

    No label of a test clip is used.

    Args:
        ensemble: its predictions, test clips by the mean over folds.
        members: likewise, by name.
        weights: of the members.
        networks: member -> `(F, B, K)` for the B `unlabelled_clips`, by its network of each fold.

    Returns:
        `temperature`, of the mean over folds; `mean_temperatures`, for each member and the ensemble
        by how much it differs from that of one network; `thresholds` of tempered probabilities,
        where clips may have several tags; `calibration`, what is known of tempered probabilities
        of validation clips (see `judge`), and how the temperature came about.
    """
    validation, is_multi_label = ensemble.validation, ensemble.task.is_multi_label
    rows = validation.is_trusted
    networks = {**networks, ENSEMBLE: _by_fold(networks, weights, is_multi_label=is_multi_label)}
    every = {**members, ENSEMBLE: ensemble}
    of_one = {name: _fitted(one) for name, one in every.items()}
    of_mean = {name: _of_mean(one, networks[name], of_one[name]) for name, one in every.items()}
    tuned: dict[str, Any] = {
        "temperature": of_one[ENSEMBLE] * of_mean[ENSEMBLE],
        "mean_temperatures": of_mean,
    }
    if is_multi_label:
        tempered = temper(validation.probabilities, of_one[ENSEMBLE], is_multi_label=True)
        thresholds = tune(tempered, validation.targets, rows)
        by_tag = dict(zip(ensemble.task.tags, thresholds.by_tag.tolist(), strict=True))
        tuned["thresholds"] = by_tag
    n_folds, n_unlabelled = networks[ENSEMBLE].shape[:2]
    calibration = {
        "fitted_on": "all" if rows.all() else "verified",
        "n_clips": int(rows.sum()),
        "n_unverified": int((~validation.clips["verified"][rows]).sum()),
        "n_folds": n_folds,
        "n_unlabelled": n_unlabelled if n_unlabelled >= MIN_UNLABELLED else 0,
        "temperature_out_of_fold": of_one[ENSEMBLE],
        **judge(validation.take(rows), tempered_out_of_fold(validation)[rows]),
    }
    return {**tuned, "calibration": calibration}


def tuning_notes(calibration: Mapping[str, Any]) -> list[str]:
    """What a reader must know of how temperature, thresholds and weights were fitted."""
    notes = []
    if calibration["n_unverified"]:
        notes.append(
            "Too few labels are verified: temperature, thresholds and weights are fitted on all "
            "labels. Where some of them are wrong, `predict` is less confident than it should be."
        )
    if calibration["n_folds"] > 1 and not calibration["n_unlabelled"]:
        notes.append(
            f"There are no {MIN_UNLABELLED} test clips (labels are not needed) to tell how much "
            "less confident the mean over folds is than the one network of a validation clip: "
            "`predict`, which shows the mean, is less confident than it should be."
        )
    return notes


def _by_fold(
    networks: Mapping[str, Floats], weights: Mapping[str, float], *, is_multi_label: bool
) -> Floats:
    """The ensemble `(F, B, K)` of each fold's networks alone."""
    first = next(iter(networks.values()))
    n_folds, n_clips = first.shape[:2]
    if not n_clips:
        return first
    folds = [{name: p[fold] for name, p in networks.items()} for fold in range(n_folds)]
    return np.stack([combine(one, weights, is_multi_label=is_multi_label) for one in folds])


def _fitted(predictions: Predictions) -> float:
    """The temperature of one fold's networks."""
    validation = predictions.validation
    trusted = validation.take(validation.is_trusted)
    return fit_temperature(
        trusted.probabilities, trusted.targets, is_multi_label=trusted.task.is_multi_label
    )


def _of_mean(predictions: Predictions, networks: Floats, temperature: float) -> float:
    """The factor from the temperature of one fold's networks to that of their mean."""
    if len(networks) == 1 or networks.shape[1] < MIN_UNLABELLED:
        return 1.0
    rows = predictions.clips["clip"].isin(unlabelled_clips(predictions))
    is_test = predictions.clips["split"] == "test"
    mean = predictions.take(np.asarray(rows & is_test)).probabilities
    return mean_temperature(
        networks, mean, temperature, is_multi_label=predictions.task.is_multi_label
    )
