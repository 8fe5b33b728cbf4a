"""Scores of members and ensemble on the clips that they never trained on.

Shapes: B rows (a held-out clip in its fold, or a test clip), K tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.evaluation import thresholds
from earmark.evaluation.intervals import Scores, score_classes, score_tags
from earmark.evaluation.measures import CLASS_METRICS, TAG_METRICS, Answers
from earmark.evaluation.points import MULTI_CLASS_METRICS, MULTI_LABEL_METRICS, Floats
from earmark.labels import SEPARATOR
from earmark.seeding import seed_for


@dataclass(frozen=True)
class Task:
    """What is scored: the tags, whether a clip may have several, and the figure that counts.

    Raises:
        UserError: the metric is not for this kind of corpus.
    """

    tags: list[str]
    is_multi_label: bool
    metric: str

    def __post_init__(self) -> None:
        fitting = MULTI_LABEL_METRICS if self.is_multi_label else MULTI_CLASS_METRICS
        if self.metric not in fitting:
            kind = "several tags a clip" if self.is_multi_label else "one tag a clip"
            raise UserError(
                f"params.yaml: evaluate.metric: {self.metric} is not for a corpus of {kind}; "
                f"set one of {', '.join(fitting)}"
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        return TAG_METRICS if self.is_multi_label else CLASS_METRICS

    @property
    def summarised(self) -> list[str]:
        """The figures that a short table shows, the one that counts first."""
        fitting = MULTI_LABEL_METRICS if self.is_multi_label else MULTI_CLASS_METRICS
        return [self.metric, *(name for name in fitting if name != self.metric)]


@dataclass(frozen=True)
class Predictions:
    """What one member, or the ensemble, said of some rows.

    `rows` has the columns clip, role (validation or test), fold, part, label, usage, quarantined
    and source. Where clips may have several tags, `answers` says which of them are said to be there
    and `tuned` from which probability upwards a new clip has them.
    """

    rows: pd.DataFrame
    targets: Floats  # (B, K), a row of 0 where nobody labelled the clip
    probabilities: Floats  # (B, K)
    answers: Answers | None = None
    tuned: thresholds.Thresholds | None = None

    @classmethod
    def of(
        cls,
        rows: pd.DataFrame,
        targets: Floats,
        probabilities: Floats,
        task: Task,
    ) -> "Predictions":
        """Tune thresholds on the held-out clips; those themselves are answered cross-fitted."""
        if not task.is_multi_label:
            return cls(rows, targets, probabilities)
        held_out = np.asarray((rows["role"] == "validation") & (rows["label"] != ""))
        tuned = thresholds.tune(probabilities[held_out], targets[held_out])
        answers = tuned.answers(probabilities)
        parts = rows["part"].to_numpy()[held_out]
        fitted = thresholds.cross_fitted_answers(
            probabilities[held_out], targets[held_out], pd.factorize(parts)[0]
        )
        answers.by_one[held_out], answers.by_tag[held_out] = fitted
        return cls(rows, targets, probabilities, answers, tuned)

    def where(self, **wanted: str) -> "Predictions":
        """The labelled rows whose columns have the wanted values."""
        keep = np.asarray(self.rows["label"] != "")
        for column, value in wanted.items():
            keep = keep & np.asarray(self.rows[column] == value)
        answers = self.answers and Answers(*(cells[keep] for cells in self.answers))
        rows, targets = self.rows[keep], self.targets[keep]
        return Predictions(rows, targets, self.probabilities[keep], answers, self.tuned)

    @property
    def held_out(self) -> "Predictions":
        return self.where(role="validation")

    @property
    def labels(self) -> NDArray[np.int64]:
        """Where a clip has one tag: its index, `(B,)`."""
        labels: NDArray[np.int64] = self.targets.argmax(axis=1)
        return labels

    def __len__(self) -> int:
        return len(self.rows)


def score(said: Predictions, task: Task, *, seed: int, n_resamples: int) -> Scores:
    """Score labelled rows by the task's metrics."""
    how: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
    how["sources"] = list(said.rows["source"])
    if said.answers is None:
        return score_classes(said.probabilities, said.labels, tags=task.tags, **how)
    return score_tags(said.probabilities, said.targets, said.answers, **how)


def score_member(said: Predictions, task: Task, *, seed: int, n_resamples: int) -> dict[str, Any]:
    """Scores out of fold (each fold apart, and all together) and on the test set, as plain values.

    The layout is `{"out_of_fold": scores, "folds": {"mean", "std"}, "test": {"all", "public",
    "private", "n_quarantined"}}`, scores being those of `intervals.Scores.to_json`.
    """

    def scores(part: Predictions, what: str) -> dict[str, Any]:
        keyed = seed_for(seed, "bootstrap", what)
        return score(part, task, seed=keyed, n_resamples=n_resamples).to_json()

    held_out, test = said.held_out, said.where(role="test")
    result = {"out_of_fold": scores(held_out, "out_of_fold"), "folds": _spread(held_out, task)}
    if len(test):
        result["test"] = {"all": scores(test, "test")}
        for usage in ("Public", "Private"):
            part = test.where(usage=usage)
            if len(part):
                result["test"][usage.lower()] = scores(part, f"test {usage}")
        result["test"]["n_quarantined"] = int(test.rows["quarantined"].sum())
    return result


def _spread(held_out: Predictions, task: Task) -> dict[str, dict[str, float]]:
    """Mean and population standard deviation of each metric over the folds."""
    by_fold: list[list[float]] = []
    for fold in held_out.rows["fold"].unique():
        found = score(held_out.where(fold=fold), task, seed=0, n_resamples=1)
        by_fold.append([found[name].value for name in task.metrics])
    # A fold may lack what a metric needs, such as a clip without the tag.
    spread = {"mean": np.nanmean(by_fold, axis=0), "std": np.nanstd(by_fold, axis=0)}
    return {
        key: dict(zip(task.metrics, values.tolist(), strict=True)) for key, values in spread.items()
    }


def summarise(scores: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """The few values that `dvc metrics diff` should show, of the ensemble and each model."""

    def values(entry: Mapping[str, Any]) -> dict[str, Any]:
        parts = {"out_of_fold": entry["out_of_fold"]}
        if "test" in entry:
            parts["test"] = entry["test"]["all"]
        return {
            part: {name: round(found[name]["value"], 6) for name in task.summarised}
            for part, found in parts.items()
        }

    models = {name: values(entry) for name, entry in scores["models"].items()}
    return {"ensemble": values(scores["ensemble"]), **models}


def confusion_rows(said: Predictions, tags: list[str]) -> pd.DataFrame:
    """One row a clip, its actual and its predicted tag: what DVC's confusion plot reads."""
    named = np.array(tags)
    predicted = named[said.probabilities.argmax(axis=1)]
    return pd.DataFrame({"actual": named[said.labels], "predicted": predicted})


def predicted_tags(said: Predictions, task: Task) -> pd.DataFrame:
    """What is said of every test clip, how likely the likeliest tag is, and what was quarantined.

    For one tag a clip these are the three likeliest, a space between; else the tags above their
    thresholds, the likeliest first, with ";" between ("" for none).
    """
    is_test = np.asarray(said.rows["role"] == "test")
    probabilities = said.probabilities[is_test]
    order = np.argsort(-probabilities, axis=1, kind="stable")
    named = np.array(task.tags)
    if said.answers is None:
        tags = [" ".join(row) for row in named[order[:, :3]]]
    else:
        is_said = np.take_along_axis(said.answers.by_tag[is_test], order, axis=1)
        tags = [SEPARATOR.join(row[keep]) for row, keep in zip(named[order], is_said, strict=True)]
    return pd.DataFrame(
        {
            "clip": said.rows["clip"][is_test],
            "tags": tags,
            "probability": probabilities.max(axis=1, initial=0).round(4),
            "quarantined": said.rows["quarantined"][is_test],
        }
    )
