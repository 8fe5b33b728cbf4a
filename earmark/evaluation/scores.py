"""Scores of members and ensemble on the clips that they never trained on.

Shapes: B rows (a validation clip in its fold, or a test clip), K tags.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from earmark.evaluation.intervals import Scores, score_classes, score_tags
from earmark.evaluation.measures import CLASS_METRICS, TAG_METRICS
from earmark.evaluation.points import metrics_of
from earmark.evaluation.predictions import Predictions
from earmark.labels import Task
from earmark.seeding import seed_for


def score(predictions: Predictions, *, seed: int, n_resamples: int) -> Scores:
    """Score labelled rows by every metric that the task has."""
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
    options["sources"] = predictions.sources
    if predictions.answers is None:
        tags = predictions.task.tags
        return score_classes(predictions.probabilities, predictions.labels, tags=tags, **options)
    return score_tags(
        predictions.probabilities, predictions.targets, predictions.answers, **options
    )


def score_member(predictions: Predictions, *, seed: int, n_resamples: int) -> dict[str, Any]:
    """Scores out of fold (all together, and their spread over folds) and on the test set.

    Returns plain values `{"out_of_fold": scores, "folds": {"mean", "std"}, "test": {"all",
    "public", "private", "n_quarantined"}}`, scores being those of `intervals.Scores.to_json`.
    """

    def scores(rows: Predictions, key: str) -> dict[str, Any]:
        own_seed = seed_for(seed, "bootstrap", key)
        return score(rows, seed=own_seed, n_resamples=n_resamples).to_json()

    validation, test = predictions.validation, predictions.test
    result = {"out_of_fold": scores(validation, "out_of_fold"), "folds": _spread(validation)}
    if len(test):
        result["test"] = {"all": scores(test, "test")}
        for usage in ("Public", "Private"):
            rows = test.where(usage=usage)
            if len(rows):
                result["test"][usage.lower()] = scores(rows, f"test {usage}")
        result["test"]["n_quarantined"] = int(test.clips["quarantined"].sum())
    return result


def _spread(validation: Predictions) -> dict[str, dict[str, float]]:
    """Mean and population standard deviation of each metric over the folds."""
    metrics = TAG_METRICS if validation.task.is_multi_label else CLASS_METRICS
    by_fold: list[list[float]] = []
    for fold in validation.clips["fold"].unique():
        scores = score(validation.where(fold=fold), seed=0, n_resamples=1)
        by_fold.append([scores[name].value for name in metrics])
    # A fold may lack what a metric needs, such as a clip without the tag.
    spread = {"mean": np.nanmean(by_fold, axis=0), "std": np.nanstd(by_fold, axis=0)}
    return {key: dict(zip(metrics, values.tolist(), strict=True)) for key, values in spread.items()}


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
        Of the ensemble, out of fold and on the test set, the metric that counts and the accuracy
        (mean average precision where clips have several tags), and out of fold the calibration
        error; the metric of each member out of fold; how many clips were scored.
    """
    metric, sets = scores["metric"], {"out_of_fold": scores["ensemble"]["out_of_fold"]}
    if "test" in scores["ensemble"]:
        sets["test"] = scores["ensemble"]["test"]["all"]
    second = "accuracy" if "accuracy" in sets["out_of_fold"] else "mean_average_precision"

    def rounded(estimate: Mapping[str, float]) -> float:
        return round(estimate["value"], 6)

    summary: dict[str, dict[str, float]] = {
        key: {name: rounded(estimates[name]) for name in dict.fromkeys((metric, second))}
        for key, estimates in sets.items()
    }
    error = calibration["out_of_fold"]["ece_after"]
    summary["out_of_fold"]["ece"] = rounded(error)
    members = scores["models"].items()
    summary["members"] = {name: rounded(one["out_of_fold"][metric]) for name, one in members}
    n_clips = {key: estimates["n_clips"] for key, estimates in sets.items()}
    return {**summary, "clips": {**n_clips, "quarantined": n_quarantined}}


def best_member(models: Mapping[str, Any], metric: str) -> str:
    """The model with the highest out-of-fold value; of equals the first by name."""
    names: list[str] = sorted(models)
    return max(names, key=lambda name: float(models[name]["out_of_fold"][metric]["value"]))
