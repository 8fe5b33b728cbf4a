"""The whole evaluation of data/ensemble: scores, calibration and tables, from what is on disk."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from earmark.evaluation.baseline import baseline_notes, over_baseline
from earmark.evaluation.calibration import CalibrationReport, calibration_report
from earmark.evaluation.epoch_choice import epoch_choices, epoch_notes
from earmark.evaluation.fit import fit_notes, model_fits
from earmark.evaluation.paired import gain
from earmark.evaluation.points import check_metric, confusion_matrix
from earmark.evaluation.predictions import (
    ENSEMBLE,
    Predictions,
    read_metadata,
    read_predictions,
)
from earmark.evaluation.scores import best_member, score_member, shown_metrics, summarise
from earmark.evaluation.student import DESCRIPTION, student_scores
from earmark.evaluation.tables import aggregation_table, predicted_tags, tag_tables
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_table

CURVE_COLUMNS = ("model", "fold", "epoch_choice", "epoch", "train_loss", "validation_loss")


@dataclass(frozen=True)
class Evaluation:
    """What there is to write and to show; `scores` and `summary` are plain values.

    `metrics` are those that a short table shows, the one that counts first; `tables` are named as
    their files in metrics/; `members` are theirs without the ensemble, by the corpus' tags, and
    `predictions` those of all by the tags that are scored; `confusion` `(K, K)` is None where clips
    may have several tags.
    """

    tags: list[str]
    metrics: list[str]
    scores: dict[str, Any]
    summary: dict[str, Any]
    calibration: CalibrationReport
    tables: dict[str, pd.DataFrame]
    members: dict[str, Predictions]
    predictions: dict[str, Predictions]
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
    given = {
        name: rows.grouped(groups).with_answers()
        for name, one in ungrouped.items()
        if (rows := one.as_given) is not None
    }
    ensemble = predictions[ENSEMBLE]
    metrics = shown_metrics(metric, ensemble.task)
    curves = _learning_curves(layout)
    scores = _scores(predictions, given, metadata, curves, params)
    if (layout.student / DESCRIPTION).exists():
        student = student_scores(
            layout.student, ungrouped[ENSEMBLE], ensemble, groups, metadata, params
        )
        scores |= {"student": student}
    n_quarantined = len(read_table(layout.decoded / "quarantine.parquet", "clip", "reason"))
    calibration = calibration_report(
        ungrouped[ENSEMBLE],
        metadata["temperature"],
        rejection_threshold=params.evaluate.rejection_threshold,
    )
    return Evaluation(
        tags=ensemble.task.tags,
        metrics=metrics,
        scores=scores,
        summary=summarise(scores, calibration.values, n_quarantined=n_quarantined),
        calibration=calibration,
        tables={
            **tag_tables(ensemble.validation, calibration.values["temperature_out_of_fold"]),
            **_test_tables(ensemble),
            "reliability": calibration.reliability,
            "coverage": calibration.coverage,
            "aggregation": aggregation_table(metadata),
            "learning_curves": curves,
        },
        members={name: one for name, one in ungrouped.items() if name != ENSEMBLE},
        predictions=predictions,
        confusion=_confusion(ensemble.validation),
    )


def _scores(
    predictions: dict[str, Predictions],
    given: dict[str, Predictions],
    metadata: dict[str, Any],
    curves: pd.DataFrame,
    params: Params,
) -> dict[str, Any]:
    """What metrics/scores.json holds; `gain` is the ensemble's over the best of several members.

    `baseline` is that of `over_baseline`, where the members are not all baselines.
    """
    options = {"seed": params.seed, "n_resamples": params.evaluate.n_resamples}
    metric, ensemble = params.evaluate.metric, predictions[ENSEMBLE]
    epochs = epoch_choices(curves, metric)
    baselines = [name for name in metadata.get("baselines", []) if name in predictions]
    fits = model_fits(curves[~curves["model"].isin(baselines)], metric)
    bar = tqdm(predictions.items(), desc="evaluate", disable=None)
    models = {name: score_member(one, given.get(name)) for name, one in bar}
    starts = {name: text for name, text in metadata.get("random_starts", {}).items() if text}
    for name, text in starts.items():
        models[name]["random_start"] = text
    scores = {
        "corpus": {"name": params.corpus.name, "synthetic": params.corpus.synthetic},
        "metric": metric,
        "ensemble": models.pop(ENSEMBLE),
        "models": models,
        "weights": metadata["weights"],
        "epochs": epochs,
        "fits": fits,
        "notes": [
            *_notes(params, ensemble, epochs),
            *fit_notes(fits, metric),
            *_start_notes(starts),
            *metadata["notes"],
        ],
    }
    if baselines and len(models) > len(baselines):
        baseline = best_member({name: models[name] for name in baselines}, metric)
        validations = {name: predictions[name].validation for name in sorted(models)}
        others = {name: one for name, one in validations.items() if name not in baselines}
        scores["baseline"] = over_baseline(validations[baseline], others, metric=metric, **options)
        scores["notes"][:0] = baseline_notes(scores["baseline"])
    if len(models) > 1:
        best = predictions[best_member(models, metric)].validation
        scores["gain"] = gain(best, ensemble.validation, metric=metric, **options).to_json()
    return scores


def _notes(params: Params, ensemble: Predictions, epochs: dict[str, Any]) -> list[str]:
    """What a reader of the scores must know."""
    notes = epoch_notes(epochs)
    if ensemble.as_given is not None:
        notes.append(
            "Labels were corrected. Out-of-fold scores are given on the labels as corrected and as "
            "given, dropped clips included. Those as corrected are too high where the corrections "
            "follow these networks."
        )
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
    return notes


def _start_notes(starts: dict[str, str]) -> list[str]:
    """Which members started from random values, by the weights that their papers start from."""
    return [
        f"{', '.join(name for name in starts if starts[name] == weights)} started from random "
        f"values: no weight file was given. The paper starts from {weights}."
        for weights in dict.fromkeys(starts.values())
    ]


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
    return pd.concat(
        [read_table(p, *CURVE_COLUMNS, dtype={"fold": str}) for p in paths], ignore_index=True
    )
