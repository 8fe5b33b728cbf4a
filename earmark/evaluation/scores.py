"""Scores of members and ensemble on the clips that they never trained on.

Shapes: B rows (a validation clip in its fold, or a test clip), K tags.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from earmark.evaluation.intervals import Scores, score_classes, score_tags
from earmark.evaluation.measures import Measure, TagMeasure, classes_of
from earmark.evaluation.points import Ints, metrics_of
from earmark.evaluation.predictions import Predictions
from earmark.labels import Task

AS_GIVEN = "out_of_fold_as_given"  # the scores on the labels before label corrections


def measure_of(predictions: Predictions) -> tuple[Measure, Ints]:
    """Return the measure of labelled rows, and the cell of each of them."""
    if predictions.answers is None:
        return classes_of(predictions.probabilities, predictions.labels)
    is_true = predictions.targets > 0.5
    measure = TagMeasure(predictions.probabilities, is_true, predictions.answers)
    return measure, np.arange(len(predictions))


def values_of(predictions: Predictions) -> dict[str, float]:
    """Every metric of labelled rows, without its interval."""
    measure, cell_of = measure_of(predictions)
    whole = np.bincount(cell_of)[:, np.newaxis].astype(np.float64)
    return {name: float(value[0]) for name, value in measure.values(whole).items()}


def score(predictions: Predictions) -> Scores:
    """Score labelled rows by every metric that the task has."""
    p, sources = predictions.probabilities, predictions.sources
    if predictions.answers is None:
        return score_classes(p, predictions.labels, tags=predictions.task.tags, sources=sources)
    return score_tags(p, predictions.targets, predictions.answers, sources=sources)


def score_member(predictions: Predictions, as_given: Predictions | None = None) -> dict[str, Any]:
    """Scores out of fold (all together, and their spread over folds) and on the test set.

    Where labels were corrected, `as_given` (see `Predictions.as_given`) adds scores AS_GIVEN.
    Returns plain values `{"out_of_fold": scores, "folds": {"mean", "std"}, "test": {"all",
    "public", "private", "n_quarantined"}}`, scores being those of `intervals.Scores.to_json`.
    """

    validation, test = predictions.validation, predictions.test
    result = {"out_of_fold": score(validation).to_json(), "folds": _spread(validation)}
    if as_given is not None:
        result[AS_GIVEN] = score(as_given).to_json()
    if len(test):
        result["test"] = {"all": score(test).to_json()}
        for usage in ("Public", "Private"):
            rows = test.where(usage=usage)
            if len(rows):
                result["test"][usage.lower()] = score(rows).to_json()
        result["test"]["n_quarantined"] = int(test.clips["quarantined"].sum())
    return result


def _spread(validation: Predictions) -> dict[str, dict[str, float]]:
    """Mean and population standard deviation of each metric over the folds."""
    folds = validation.clips["fold"].unique()
    by_fold = pd.DataFrame([values_of(validation.where(fold=fold)) for fold in folds])
    # A fold may lack what a metric needs, such as a clip without the tag: that fold is left out.
    spread = {"mean": by_fold.mean(), "std": by_fold.std(ddof=0)}
    return {key: {str(name): v for name, v in values.items()} for key, values in spread.items()}


def shown_metrics(metric: str, task: Task) -> list[str]:
    """The metrics that a short table shows, the one that counts first."""
    return [metric, *(name for name in metrics_of(task) if name != metric)]


def summarise(
    scores: Mapping[str, Any], calibration: Mapping[str, Any], *, n_quarantined: int
) -> dict[str, Any]:
    """The dozen figures of metrics/summary.json, which `dvc metrics diff` and `dvc exp show` show.

    Args:
        scores: the content of metrics/scores.json.
        calibration: the content of metrics/calibration.json.
        n_quarantined: how many recordings could not be used.

    Returns:
        Of the ensemble, out of fold (on labels as given too, if some were corrected) and on the
        test set, the metric that counts and the accuracy
        (mean average precision where clips have several tags), and out of fold the calibration
        error; the metric of each member out of fold, and where there is a baseline, whether it
        beats that, by how much, and the interval of the difference; how many clips were scored.
    """
    metric, ensemble = scores["metric"], scores["ensemble"]
    sets = {key: ensemble[key] for key in ("out_of_fold", AS_GIVEN) if key in ensemble}
    if "test" in ensemble:
        sets["test"] = ensemble["test"]["all"]
    second = "accuracy" if "accuracy" in sets["out_of_fold"] else "mean_average_precision"

    def rounded(estimate: Mapping[str, float]) -> float:
        return round(estimate["value"], 6)

    summary: dict[str, dict[str, Any]] = {
        key: {name: rounded(estimates[name]) for name in dict.fromkeys((metric, second))}
        for key, estimates in sets.items()
    }
    error = calibration["out_of_fold"]["ece_after"]
    summary["out_of_fold"]["ece"] = rounded(error)
    members = scores["models"].items()
    summary["members"] = {name: rounded(one["out_of_fold"][metric]) for name, one in members}
    if "test" in scores.get("student", {}):
        summary["student"] = {metric: rounded(scores["student"]["test"][metric])}
    n_clips = {key: estimates["n_clips"] for key, estimates in sets.items()}
    return {**summary, "clips": {**n_clips, "quarantined": n_quarantined}}


def best_member(models: Mapping[str, Any], metric: str) -> str:
    """The model with the highest out-of-fold value; of equals the first by name."""
    names: list[str] = sorted(models)
    return max(names, key=lambda name: float(models[name]["out_of_fold"][metric]["value"]))
