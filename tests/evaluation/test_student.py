"""The student beside the ensemble: on test clips alone, by what its training left."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.errors import DamagedError
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.student import student_scores
from earmark.evaluation.temperature import temper
from earmark.params.reading import load_params
from earmark.records import write_json, write_table
from tests.evaluation.small_predictions import several_tags, small
from tests.source_graph import ROOT

KNOWN = {"temperature": 2.0, "teacher_weight": 0.7}
METADATA = {"calibration": {"temperature_out_of_fold": 0.5}}


def scores_of(folder: Path, ensemble: Predictions, own: Any, **groups: list[str]) -> dict[str, Any]:
    write_json(folder / "student.json", KNOWN)
    write_table(folder / "test.parquet", pd.DataFrame(own, columns=ensemble.task.tags))
    params = load_params(ROOT / "params.yaml")
    chosen = params.evaluate.model_copy(update={"metric": "accuracy", "n_resamples": 50})
    if ensemble.task.is_multi_label:
        chosen = chosen.model_copy(update={"metric": "micro_f1"})
    params = params.model_copy(update={"evaluate": chosen})
    grouped = ensemble.grouped(groups).with_answers()
    return student_scores(folder, ensemble, grouped, groups, METADATA, params)


def test_labelled_test_clips_are_scored_and_paired_with_the_ensembles(tmp_path):
    ensemble = small()
    own = ensemble.probabilities[4:].copy()
    own[1] = own[1][[1, 2, 0, 3]]  # f, a Cough, of which the ensemble says Bark: now Flute
    own[0] = [0.1, 0.6, 0.2, 0.1]  # e, a Bark that the ensemble knows
    found = scores_of(tmp_path, ensemble, own)
    assert found["test"]["n_clips"] == 3  # h has no label
    assert found["test"]["accuracy"]["value"] == 0.0
    assert found["gain"]["difference"]["value"] == pytest.approx(-1 / 3)
    tempered = temper(own[:3], 2.0, is_multi_label=False).max(axis=1).mean()
    assert found["calibration"]["confidence"] == pytest.approx(tempered)
    assert found["teacher_weight"] == 0.7


def test_a_student_that_answers_as_the_ensemble_gains_nothing(tmp_path):
    ensemble = small()
    found = scores_of(tmp_path, ensemble, ensemble.probabilities[4:])
    assert found["gain"]["difference"]["value"] == 0
    ungrouped = found["test"]["accuracy"]["value"]
    one = scores_of(tmp_path, ensemble, ensemble.probabilities[4:], Noise=["Bark", "Cough"])
    assert one["test"]["accuracy"]["value"] >= ungrouped


def test_without_labelled_test_clips_there_is_no_score(tmp_path):
    ensemble = small()
    rows = ensemble.take(np.arange(4))
    assert scores_of(tmp_path, rows, np.zeros((0, 4))) == KNOWN
    unlabelled = ensemble.clips.assign(label=[*"abcd", "", "", "", ""])
    unlabelled["label"] = unlabelled["label"].mask(
        unlabelled["split"] == "validation", ensemble.clips["label"]
    )
    none = Predictions.of("small", ensemble.task, unlabelled, ensemble.probabilities)
    assert scores_of(tmp_path, none, ensemble.probabilities[4:]) == KNOWN


def test_several_tags_are_answered_by_thresholds_of_calibrated_answers_out_of_fold(tmp_path):
    ensemble = several_tags()
    low = ensemble.probabilities**4  # a threshold far from a half, where tempering moves nothing
    ensemble = replace(ensemble, probabilities=low)
    out_of_fold = temper(ensemble.probabilities, 0.5, is_multi_label=True)
    own = temper(out_of_fold[40:], 0.5, is_multi_label=True)  # which 2.0 turns back
    found = scores_of(tmp_path, ensemble, own)
    as_tempered = Predictions.of("same", ensemble.task, ensemble.clips, out_of_fold)
    same = as_tempered.with_answers().test
    assert same.answers is not None
    both = same.answers.by_one & (same.targets > 0.5)
    f1 = 2 * both.sum() / (same.answers.by_one.sum() + same.targets.sum())
    assert found["test"]["micro_f1"]["value"] == pytest.approx(f1)


def test_probabilities_of_other_clips_are_refused(tmp_path):
    ensemble = small()
    with pytest.raises(DamagedError, match="3 clips instead of 4"):
        scores_of(tmp_path, ensemble, ensemble.probabilities[5:])
