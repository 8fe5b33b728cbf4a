"""A network that checks labels answers clips that it did not train on, and no label of theirs."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.corpora.label_rounds import COLUMNS, begin_rounds, read_decisions
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_table, write_table
from earmark.store import Store
from earmark.training import building, run
from earmark.training.label_checks import check_labels
from tests.training.test_run import tiny_params, write_features

BASELINE = {
    "network": {"name": "linear", "n_inputs": 80, "pooling": "statistics"},
    "input": {"segment_seconds": "all"},
    "training": {},
    "prediction": {"aggregation": "mean"},
}


def baseline_params(**changes: Any) -> Params:
    return tiny_params(
        models={"logmel": {"baseline": BASELINE}},
        label_rounds={"feature": "logmel", "model": "baseline"},
        **changes,
    )


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A workspace with the features of 16 clips, of which every second label is unverified."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    layout = Layout(tmp_path)
    write_features(layout)
    folds = read_table(layout.folds)
    write_table(layout.folds, folds.assign(verified=folds.index % 2 == 1))
    begin_rounds(layout, ["i"], ["0"])
    return layout


def answers_of(layout: Layout, params: Params, round_: str = "i") -> dict[str, list[float]]:
    check_labels(params, layout, round_, "0")
    store = Store.open(layout.check(round_, "0"))
    return {clip: store.rows(i)[0].tolist() for i, clip in enumerate(store.index["clip"])}


def test_validation_clips_alone_are_answered_and_their_labels_reach_no_answer(
    layout: Layout,
) -> None:
    params = baseline_params()
    first = answers_of(layout, params)
    folds = read_table(layout.folds)
    validates = folds["fold_0"] == "validation"
    assert list(first) == list(folds.loc[validates, "clip"])
    np.testing.assert_allclose(np.sum(list(first.values()), axis=1), 1, rtol=1e-5)
    tags = sorted(set(folds["label"]))
    other = folds["label"].map(dict(zip(tags, [*tags[1:], tags[0]], strict=True)))
    write_table(layout.folds, folds.assign(label=folds["label"].where(~validates, other)))
    assert answers_of(layout, params) == first


def decide_about(layout: Layout, clip: str, decision: str, suggested: str) -> None:
    row = {"clip": clip, "decision": decision, "suggested": suggested, "weight": 1.0}
    rest = {"label": "", "p_label": 0.0, "p_suggested": 1.0, "round": "i"}
    write_table(layout.labels_before("ii"), pd.DataFrame([row | rest])[list(COLUMNS)])


def test_a_round_trains_on_the_labels_as_the_one_before_left_them(layout: Layout) -> None:
    params = baseline_params(rounds=["i"])
    folds = read_table(layout.folds)
    chosen = folds[(folds["fold_0"] == "train") & ~folds["verified"]].iloc[0]
    other = next(tag for tag in sorted(set(folds["label"])) if tag != chosen["label"])
    first = answers_of(layout, params)
    decide_about(layout, chosen["clip"], "leave", other)
    assert answers_of(layout, params, "ii") == first
    decide_about(layout, chosen["clip"], "correct", other)
    corrected = answers_of(layout, params, "ii")
    assert corrected != first
    is_chosen = folds["clip"] == chosen["clip"]
    write_table(layout.folds, folds.assign(label=folds["label"].where(~is_chosen, other)))
    begin_rounds(layout, ["i"], ["0"])
    assert answers_of(layout, params) == corrected  # as if the corpus had it so


def test_the_last_round_reaches_the_trainings_of_members_but_not_what_they_are_scored_on(
    layout: Layout,
) -> None:
    params = baseline_params(rounds=["i"])
    folds = read_table(layout.folds)
    chosen = folds[(folds["fold_0"] == "train") & ~folds["verified"]].iloc[0]
    validated = folds[(folds["fold_0"] == "validation") & ~folds["verified"]].iloc[0]
    with pytest.raises(UserError, match="before_ii"):
        run.train_model(params, layout, "logmel", "baseline", "0", None)
    for clip in (chosen, validated):
        other = next(tag for tag in sorted(set(folds["label"])) if tag != clip["label"])
        decide_about(layout, clip["clip"], "correct", other)
        decisions = read_decisions(layout, "ii")
        job = building.model_job(
            params, layout, "logmel", "baseline", "0", None, decisions=decisions
        )
        plain = building.model_job(params, layout, "logmel", "baseline", "0", None)
        is_trained_on = clip["clip"] in job.train.clips
        assert job.train.is_corrected.any() == is_trained_on
        assert (job.train.targets == plain.train.targets).all() != is_trained_on
        assert (job.validation.targets == plain.validation.targets).all()
    run.train_model(params, layout, "logmel", "baseline", "0", None)
