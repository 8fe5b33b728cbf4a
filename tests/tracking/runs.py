"""Runs as they were logged, and how a training of a test is named."""

from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from earmark.layout import Layout
from earmark.params import Params
from earmark.tracking.store import store_uri

NAMES: dict[str, Any] = {
    "name": "densenet-0",
    "stage": "train_logmel",
    "tags": {"model": "densenet", "fold": "0", "feature": "logmel", "code.digest": "5f0c"},
}


def client_of(layout: Layout) -> MlflowClient:
    return MlflowClient(store_uri(layout))


def runs_of(layout: Layout, experiment: str = "earmark/x") -> list[Run]:
    client = client_of(layout)
    known = client.get_experiment_by_name(experiment)
    assert known is not None
    return list(client.search_runs([known.experiment_id]))


def parents_of(layout: Layout) -> list[Run]:
    return [run for run in runs_of(layout) if run.data.tags.get("role") == "experiment"]


def changed(params: Params, section: str, **values: Any) -> Params:
    one = getattr(params, section).model_copy(update=values)
    return params.model_copy(update={section: one})
