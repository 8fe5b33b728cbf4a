"""The whole evaluation of data/ensemble: scores, calibration and tables, from what is on disk."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from earmark.evaluation.calibration import CalibrationReport, calibration_report
from earmark.evaluation.paired import gain
from earmark.evaluation.points import check_metric, confusion_matrix
from earmark.evaluation.predictions import (
    ENSEMBLE,
    Predictions,
    read_metadata,
    read_predictions,
)
from earmark.evaluation.scores import best_member, score_member, shown_metrics, summarise
from earmark.evaluation.tables import predicted_tags, tag_tables
from earmark.layout import Layout
from earmark.params import Params
from earmark.store import read_table


@dataclass(frozen=True)
class Evaluation:
    """What there is to write and to show; `scores` and `summary` are plain values.

    `metrics` are those that a short table shows, the one that counts first; `tables` are named as
    their files in metrics/; `confusion` `(K, K)` is None where clips may have several tags.
    """

    tags: list[str]
    metrics: list[str]
    scores: dict[str, Any]
    summary: dict[str, Any]
    calibration: CalibrationReport
    tables: dict[str, pd.DataFrame]
    confusion: NDArray[np.integer[Any]] | None


def evaluate(params: Params, layout: Layout) -> Evaluation:
    """Score every member and the ensemble by `evaluate.metric`, with `evaluate.label_groups`.

    Raises:
        UserError: there is no ensemble yet, or the metric or the groups do not fit the corpus.
    """
    metadata, metric = read_metadata(layout.ensemble), params.evaluate.metric
    names = [*metadata["members"], ENSEMBLE]
    ungrouped = {name: read_predictions(layout.ensemble, name) for name in names}
    check_metric(metric, ungrouped[ENSEMBLE].task, key="evaluate.metric")
    groups = params.evaluate.label_groups
    predictions = {name: one.grouped(groups).with_answers() for name, one in ungrouped.items()}
    ensemble = predictions[ENSEMBLE]
    metrics = shown_metrics(metric, ensemble.task)
    scores = _scores(predictions, metadata, params)
    n_quarantined = len(read_table(layout.decoded / "quarantine.parquet"))
    calibration = calibration_report(
        ungrouped[ENSEMBLE],
        metadata["temperature"],
        rejection_threshold=params.evaluate.rejection_threshold,
        seed=params.seed,
        n_resamples=params.evaluate.n_resamples,
    )
    return Evaluation(
        tags=ensemble.task.tags,
        metrics=metrics,
        scores=scores,
        summary=summarise(scores, calibration.values, n_quarantined=n_quarantined),
        calibration=calibration,
        tables={
            **tag_tables(ensemble.validation, metadata["temperature"]),
            **_test_tables(ensemble),
            "reliability": calibration.reliability,
            "coverage": calibration.coverage,
            "learning_curves": _learning_curves(layout),
        },
        confusion=_confusion(ensemble.validation),
    )


def _scores(
    predictions: dict[str, Predictions], metadata: dict[str, Any], params: Params
) -> dict[str, Any]:
    """What metrics/scores.json holds; `gain` is the ensemble's over the best of several members."""
    options = {"seed": params.seed, "n_resamples": params.evaluate.n_resamples}
    metric, ensemble = params.evaluate.metric, predictions[ENSEMBLE]
    bar = tqdm(predictions.items(), desc="evaluate", disable=None)
    models = {name: score_member(one, **options) for name, one in bar}
    scores = {
        "corpus": {"name": params.corpus.name, "synthetic": params.corpus.synthetic},
        "metric": metric,
        "ensemble": models.pop(ENSEMBLE),
        "models": models,
        "weights": metadata["weights"],
        "notes": [*_notes(params, ensemble), *metadata["notes"]],
    }
    if len(models) > 1:
        best = predictions[best_member(models, metric)].validation
        scores["gain"] = gain(best, ensemble.validation, metric=metric, **options).to_json()
    return scores


def _notes(params: Params, ensemble: Predictions) -> list[str]:
    """What a reader of the scores must know."""
    notes = [
        "Each network's epoch was chosen on the fold that it is scored on, as in the papers: "
        "out-of-fold scores are slightly too high, those of a test set are not."
    ]
    if params.corpus.synthetic:
        notes.append("The corpus is synthetic: these scores say nothing about recordings.")
    is_verified = ensemble.clips["verified"][ensemble.clips["split"] == "validation"]
    if not is_verified.all():
        share = 1 - is_verified.mean()
        notes.append(f"Out of fold, {share:.0%} of the labels are unverified; some may be wrong.")
    notes += [
        f"{name} counts as one tag of {', '.join(members)}; calibration is of the tags themselves."
        for name, members in params.evaluate.label_groups.items()
    ]
    notes += [
        f"VGGish {name} started from random values: no weight file was given."
        for name, extractor in params.extractors.items()
        if not extractor.weights
    ]
    return notes


def _confusion(validation: Predictions) -> NDArray[np.integer[Any]] | None:
    if validation.task.is_multi_label:
        return None
    return confusion_matrix(validation.probabilities, validation.labels)


def _test_tables(ensemble: Predictions) -> dict[str, pd.DataFrame]:
    predicted = predicted_tags(ensemble)
    kaggle = predicted.rename(columns={"clip": "fname", "tags": "label"})[["fname", "label"]]
    return {"test_predictions": predicted, "submission": kaggle}


def _learning_curves(layout: Layout) -> pd.DataFrame:
    paths = sorted(layout.all_learning_curves.glob("*.csv"))
    return pd.concat([pd.read_csv(p, dtype={"fold": str}) for p in paths], ignore_index=True)
