"""MLflow: one run per training, under one parent for the experiment. The only import of mlflow.

Tracking never ends a training: where the store refuses, one warning is logged, and the training
goes on untracked.
"""

import fcntl
import functools
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import pandas as pd

from earmark.evaluation.points import confusion_matrix
from earmark.layout import Layout
from earmark.params.reading import flattened
from earmark.store import whole_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from earmark.training.examples import Examples
    from earmark.training.job import Fitted

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")

# Set before mlflow is imported: no telemetry, and no messages about a new database.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def store_uri(layout: Layout) -> str:
    """The embedded sqlite store, or the server that MLFLOW_TRACKING_URI names."""
    embedded = f"sqlite:///{layout.home / 'mlflow' / 'mlflow.db'}"
    return os.environ.get("MLFLOW_TRACKING_URI") or embedded


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """Make a database or parent run alone: sqlite breaks for good where several do it at once."""
    (layout.home / "mlflow").mkdir(parents=True, exist_ok=True)
    with (layout.home / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forgiving(method: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Log the first error of the store; from then on the run logs nothing."""

    @functools.wraps(method)
    def attempt(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        run: Any = args[0]
        if run.is_lost:
            return
        try:
            method(*args, **kwargs)
        except Exception as error:  # whatever a server or a disk may throw
            run.is_lost = True
            logger.warning(
                "MLflow at %s refused (%s); training goes on untracked. Fix: start that server, "
                "or unset MLFLOW_TRACKING_URI for the embedded store",
                run.uri,
                error,
            )

    return attempt


class TrackedRun:
    """One MLflow run of one training; opened lazily, closed by `finish`."""

    def __init__(self, layout: Layout, *, experiment: str, name: str, stage: str) -> None:
        self.uri = store_uri(layout)
        self.is_lost = False
        self._client: MlflowClient
        self._run_id = ""
        self._open(layout, experiment, name, stage)

    @_forgiving
    def _open(self, layout: Layout, experiment: str, name: str, stage: str) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        from mlflow import MlflowClient

        with _locked(layout):
            _make_store(layout, self.uri)
            self._client = MlflowClient(self.uri)
            experiment_id = self._experiment(experiment, layout)
            tags = {"dvc.exp": dvc_experiment(), "git.commit": git_commit(layout.root)}
            parent = self._parent(experiment_id, tags)
        tags |= {"stage": stage, "mlflow.parentRunId": parent}
        self._run_id = self._client.create_run(experiment_id, tags=tags, run_name=name).info.run_id

    def _experiment(self, name: str, layout: Layout) -> str:
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        embedded = self.uri.startswith("sqlite:")
        artifacts = (layout.home / "mlflow" / "artifacts").as_uri() if embedded else None
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def _parent(self, experiment_id: str, tags: dict[str, str]) -> str:
        """The run that stands for one DVC experiment on one commit; made by whoever comes first."""
        wanted = {**tags, "role": "experiment"}
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items())
        known = self._client.search_runs([experiment_id], query, max_results=1)
        if known:
            return str(known[0].info.run_id)
        run = self._client.create_run(experiment_id, tags=wanted, run_name=tags["dvc.exp"])
        self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    @_forgiving
    def log_params(self, params: dict[str, Any]) -> None:
        """Log nested params under dotted keys."""
        from mlflow.entities import Param

        flat = [Param(key, str(value)) for key, value in flattened(params).items()]
        self._client.log_batch(self._run_id, params=flat)

    @_forgiving
    def log_epoch(self, values: dict[str, float]) -> None:
        """Log a row of a training's history, at the step that its `epoch` says."""
        from mlflow.entities import Metric

        now, epoch = int(time.time() * 1000), int(values["epoch"])
        metrics = [
            Metric(key, value, now, epoch) for key, value in values.items() if key != "epoch"
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    @_forgiving
    def log_figures(self, fitted: "Fitted", validation: "Examples") -> None:
        """Draw the learning curve and, where a clip has one tag, the confusion matrix."""
        from earmark.reports.figures import confusion_figure, learning_curve_figure

        if not validation.task.is_multi_label:  # else no tag is taken for another
            labels = validation.tag_targets.argmax(axis=1)
            probabilities = fitted.validation_probabilities.astype(np.float64)
            confusion = confusion_matrix(probabilities, labels)
            figure = confusion_figure(confusion, validation.task.tags)
            self._client.log_figure(self._run_id, figure, "confusion_matrix.png")
        figure = learning_curve_figure(pd.DataFrame(fitted.history))
        self._client.log_figure(self._run_id, figure, "learning_curve.png")

    @_forgiving
    def finish(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self._run_id, status)


@contextmanager
def tracked(layout: Layout, *, experiment: str, name: str, stage: str) -> Iterator[TrackedRun]:
    """A run that is closed with how the block ended."""
    run = TrackedRun(layout, experiment=experiment, name=name, stage=stage)
    try:
        yield run
    except BaseException as error:
        run.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    run.finish("FINISHED")


def dvc_experiment() -> str:
    """The name that DVC gave to the experiment under way, or `workspace` for a plain repro."""
    return os.environ.get("DVC_EXP_NAME") or "workspace"


def git_commit(root: Path) -> str:
    """The commit that is checked out, or `none` outside a repository."""
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"


def prepare_store(layout: Layout) -> str:
    """Create the embedded database if it is not there, under the lock; returns the store's uri."""
    with _locked(layout):
        _make_store(layout, store_uri(layout))
    return store_uri(layout)


def _make_store(layout: Layout, uri: str) -> None:
    """Make the embedded database whole or not at all: one that was cut short stays broken."""
    from mlflow import MlflowClient

    database = layout.home / "mlflow" / "mlflow.db"
    if uri != f"sqlite:///{database}" or database.exists():
        return
    with whole_file(database) as part:
        MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
