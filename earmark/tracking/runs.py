"""One run per training, under the parent of its experiment."""

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.layout import Layout
from earmark.params import Params
from earmark.tracking.parents import log_params, open_parent
from earmark.tracking.store import store_uri, warn_untracked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

Arguments = ParamSpec("Arguments")
MONITOR_SECONDS = 5.0  # that the end of a training waits for its last system metrics


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
            warn_untracked(run.uri, "training goes on untracked", error)

    return attempt


class TrackedRun:
    """One MLflow run of one training, closed by `finish`."""

    def __init__(
        self, layout: Layout, params: Params, *, name: str, stage: str, tags: Mapping[str, str]
    ) -> None:
        self.uri = store_uri(layout)
        self.is_lost = False
        self.run_id = ""
        self._client: MlflowClient
        self._monitor: SystemMetricsMonitor | None = None
        self._open(layout, params, name, {"stage": stage, **tags})

    @_forgiving
    def _open(self, layout: Layout, params: Params, name: str, tags: dict[str, str]) -> None:
        self._client, experiment_id, parent = open_parent(layout, params)
        tags |= {
            key: value
            for key, value in self._client.get_run(parent).data.tags.items()
            if key in ("corpus", "dvc.exp", "git.commit", "params.digest")
        }
        tags |= {"mlflow.parentRunId": parent}
        self._end_killed(experiment_id, parent, name)
        self.run_id = self._client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
        self._monitor = _system_metrics(self.run_id, self.uri)

    def _end_killed(self, experiment_id: str, parent: str, name: str) -> None:
        """Close the run that a killed process left; no other trains this under this parent now."""
        query = f"attributes.status = 'RUNNING' and attributes.run_name = '{name}'"
        query += f" and tags.`mlflow.parentRunId` = '{parent}'"
        for left in self._client.search_runs([experiment_id], query):
            self._client.set_terminated(left.info.run_id, "KILLED")

    @_forgiving
    def log_params(self, params: dict[str, Any]) -> None:
        """Log nested params under dotted keys."""
        log_params(self._client, self.run_id, params)

    @_forgiving
    def log_epoch(self, values: Mapping[str, float]) -> None:
        """Log a row of a training's history, at the step that its `epoch` says."""
        curves = {key: value for key, value in values.items() if key != "epoch"}
        self._log(curves, step=int(values["epoch"]))

    @_forgiving
    def log_kept(self, values: Mapping[str, float]) -> None:
        """Log the row of history of the epoch whose weights are kept, as `kept.<name>`."""
        self._log({f"kept.{key}": value for key, value in values.items()}, step=0)

    def _log(self, values: Mapping[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    @_forgiving
    def log_figures(
        self,
        history: list[dict[str, float]],
        confusion: NDArray[np.integer[Any]] | None,
        tags: list[str],
    ) -> None:
        """Draw the learning curve and the confusion matrix `(K, K)`, where there is one."""
        from earmark.reports.figures import confusion_figure, learning_curve_figure

        if confusion is not None:
            figure = confusion_figure(confusion, tags)
            self._client.log_figure(self.run_id, figure, "confusion_matrix.png")
        figure = learning_curve_figure(pd.DataFrame(history))
        self._client.log_figure(self.run_id, figure, "learning_curve.png")

    @_forgiving
    def finish(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        if self._monitor is not None:
            # It waits for its thread, which may wait for a server.
            stopping = threading.Thread(target=self._monitor.finish, daemon=True)
            stopping.start()
            stopping.join(timeout=MONITOR_SECONDS)
        self._client.set_terminated(self.run_id, status)


@contextmanager
def tracked(
    layout: Layout, params: Params, *, name: str, stage: str, tags: Mapping[str, str]
) -> Iterator[TrackedRun]:
    """A run that is closed with how the block ended; `tags` are its own beside the parent's."""
    run = TrackedRun(layout, params, name=name, stage=stage, tags=tags)
    try:
        yield run
    except BaseException as error:
        run.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    run.finish("FINISHED")


def _system_metrics(run_id: str, uri: str) -> "SystemMetricsMonitor | None":
    """Follow processor, memory and disk, and a GPU where nvidia-ml-py is installed, every 10 s.

    A shorter run has none of them. MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false turns it off.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "").lower() in ("false", "0"):
        return None
    monitor = SystemMetricsMonitor(run_id, tracking_uri=uri)  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    return monitor
