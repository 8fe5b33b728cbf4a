"""Runs as they were logged, and how a training of a test is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from earmark.layout import Layout
from earmark.params import Params
from earmark.tracking.runs import TrackedRun, tracked
from earmark.tracking.store import store_uri

NAMES: dict[str, Any] = {
    "name": "densenet-0",
    "stage": "train_logmel",
    "tags": {"model": "densenet", "fold": "0", "feature": "logmel", "code.digest": "5f0c"},
}

RATES = dict.fromkeys(("learning_rate", "learning_rate_low", "learning_rate_high"), 0.1)
CURVES = {"validation_loss": 1.0, **RATES}
EPOCHS = [
    {"epoch": 1, "train_loss": 1.5, "map_at_3": 0.5, **CURVES},
    {"epoch": 2, "train_loss": 1.0, "map_at_3": 0.7, **CURVES},
    {"epoch": 3, "train_loss": 0.5, "map_at_3": 0.6, **CURVES},
]
# A training for a process of its own; its arguments: root, name, epochs, seconds that it goes on.
TRAINING = """
import sys, time
from pathlib import Path
from earmark.layout import Layout
from earmark.params.reading import load_params
from tests.tracking.runs import followed
root, name, epochs, seconds = sys.argv[1:]
with followed(Layout(Path(root)), load_params(Path("params.yaml")), name=name) as run:
    for epoch in range(int(epochs)):
        run.log_epoch({"epoch": epoch + 1, "map_at_3": epoch / 10})
    run.wait()
    print("logged", flush=True)
    time.sleep(float(seconds))
assert not run.is_lost
"""


def work_of(layout: Layout, name: str = "densenet-0") -> Path:
    """The folder of the work in progress of a training."""
    folder = layout.home / "work" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def followed(layout: Layout, params: Params, **names: Any) -> Iterator[TrackedRun]:
    """A tracked run that is started, as a training starts it."""
    named = {**NAMES, **names}
    with tracked(layout, params, **named) as run:
        run.start(work_of(layout, named["name"]))
        yield run


def client_of(layout: Layout) -> MlflowClient:
    return MlflowClient(store_uri(layout))


def runs_of(layout: Layout, experiment: str = "earmark/x") -> list[Run]:
    client = client_of(layout)
    known = client.get_experiment_by_name(experiment)
    assert known is not None
    return list(client.search_runs([known.experiment_id]))


def parents_of(layout: Layout, experiment: str = "earmark/x") -> list[Run]:
    return [run for run in runs_of(layout, experiment) if run.data.tags.get("role") == "experiment"]


def trainings_of(layout: Layout, experiment: str = "earmark/x") -> list[Run]:
    return [run for run in runs_of(layout, experiment) if "mlflow.parentRunId" in run.data.tags]


def changed(params: Params, section: str, **values: Any) -> Params:
    one = getattr(params, section).model_copy(update=values)
    return params.model_copy(update={section: one})
