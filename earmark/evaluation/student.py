"""How good the student is beside the ensemble, on test clips: all others have trained it.

Shapes: B test clips, K tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.errors import reading
from earmark.evaluation.calibration import judge
from earmark.evaluation.paired import gain
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.scores import score
from earmark.evaluation.temperature import temper
from earmark.params import Params
from earmark.records import read_json, read_table

DESCRIPTION, PROBABILITIES = "student.json", "test.parquet"


def student_scores(
    folder: Path,
    ungrouped: Predictions,
    ensemble: Predictions,
    label_groups: Mapping[str, Sequence[str]],
    metadata: Mapping[str, Any],
    params: Params,
) -> dict[str, Any]:
    """Score the student on labelled test clips, if there are any.

    Where clips may have several tags it answers by the ensemble's thresholds, which were tuned on
    calibrated probabilities out of fold: its own are as confident.

    Args:
        folder: what its training left, see `Layout.student`.
        ungrouped: the ensemble's predictions of the tags themselves.
        ensemble: its predictions of the tags as they are scored, with its answers.
        label_groups: the tags as they are scored.
        metadata: of the ensemble.
        params: with the metric and the seed.

    Returns:
        What student.json of the folder holds and, where there are labelled test clips, `test` (see
        `intervals.Scores.to_json`), `gain` over the ensemble and `calibration`.
    """
    known: dict[str, Any] = dict(read_json(folder / DESCRIPTION))
    if not len(ensemble.test):
        return known
    tempered = _tempered(folder, ungrouped, metadata, known["temperature"])
    student = tempered.grouped(label_groups).with_answers().test
    options = {"seed": params.seed, "n_resamples": params.evaluate.n_resamples}
    of_tags = tempered.test
    is_trusted = of_tags.is_trusted
    judged = judge(of_tags.take(is_trusted), of_tags.probabilities[is_trusted])
    return {
        **known,
        "test": score(student).to_json(),
        "gain": gain(ensemble.test, student, metric=params.evaluate.metric, **options).to_json(),
        "calibration": {"n_clips": int(is_trusted.sum()), **judged},
    }


def _tempered(
    folder: Path, ensemble: Predictions, metadata: Mapping[str, Any], temperature: float
) -> Predictions:
    """Calibrated probabilities: the student's of test clips, the ensemble's of all others."""
    is_test = np.asarray(ensemble.clips["split"] == "test")
    is_multi_label = ensemble.task.is_multi_label
    path = folder / PROBABILITIES
    table = read_table(path, *ensemble.task.tags)
    with reading(path):
        if len(table) != is_test.sum():
            raise ValueError(f"{len(table)} clips instead of {is_test.sum()}")
    out_of_fold = metadata["calibration"]["temperature_out_of_fold"]
    probabilities = temper(ensemble.probabilities, out_of_fold, is_multi_label=is_multi_label)
    own = table.to_numpy(np.float64)
    probabilities[is_test] = temper(own, temperature, is_multi_label=is_multi_label)
    return replace(ensemble, name="student", probabilities=probabilities, mean_temperature=1.0)
