"""One run per training, under the parent of its experiment."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.layout import Layout
from earmark.params import Params
from earmark.tracking.claims import TOKEN_TAG, Claim
from earmark.tracking.parents import log_params, open_parent, taken_key
from earmark.tracking.sender import Sender
from earmark.tracking.store import check_store, forgiving, is_remote, store_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

GOING_ON = "training goes on untracked"
MONITOR_SECONDS = 5.0  # that the end of a training waits for its last system metrics
STOP_SECONDS = 3.0  # that a training waits for a server after Ctrl-C


class TrackedRun:
    """One MLflow run of one training, opened by `start` and closed by `finish`.

    Nothing here waits for the store but `finish`: a thread sends what is logged.
    """

    def __init__(
        self, layout: Layout, params: Params, *, name: str, stage: str, tags: Mapping[str, str]
    ) -> None:
        self.run_id = ""
        self._layout, self._params, self._name = layout, params, name
        self._tags = {"stage": stage, **tags}
        self._sender: Sender | None = None
        self._claim: Claim
        self._client: MlflowClient
        self._known_params: set[str] = set()
        self._known_steps: dict[str, set[int]] = {}  # by metric
        self._monitor: SystemMetricsMonitor | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the store refused, so that the run is not recorded any more."""
        return self._sender is None or self._sender.is_lost

    def start(self, work: Path) -> None:
        """Open the run, or go on with the one that a killed process left.

        Args:
            work: the folder of this training's work in progress; it has the claim on the run.
        """
        with forgiving(self._layout, GOING_ON):
            # Here, not in the thread: two threads that import at once may get in each other's way.
            import mlflow.entities  # noqa: F401

            self._claim = Claim(work)
            self._sender = Sender(self._layout, GOING_ON)
            self._send("everything", self._open)

    def log_params(self, params: dict[str, Any]) -> None:
        """Log nested params under dotted keys; a run that goes on keeps those that it has."""
        self._send(
            "params",
            lambda: log_params(self._client, self.run_id, params, known=self._known_params),
        )

    def log_epoch(self, values: Mapping[str, float]) -> None:
        """Log a row of a training's history, at the step that its `epoch` says."""
        curves = {key: value for key, value in values.items() if key != "epoch"}
        self._log(curves, step=int(values["epoch"]), record=f"epoch {int(values['epoch'])}")

    def log_kept(self, values: Mapping[str, float]) -> None:
        """Log the row of history of the epoch whose weights are kept, as `kept.<name>`."""
        kept = {f"kept.{key}": value for key, value in values.items()}
        self._log(kept, step=0, record="the kept epoch")

    def log_figures(
        self,
        history: list[dict[str, float]],
        confusion: NDArray[np.integer[Any]] | None,
        tags: list[str],
    ) -> None:
        """Draw the learning curve and the confusion matrix `(K, K)`, where there is one."""
        if self.is_lost:
            return
        from earmark.reports.figures import confusion_figure, learning_curve_figure

        with forgiving(self._layout, "the figures are not recorded"):
            figures = {"learning_curve.png": learning_curve_figure(pd.DataFrame(history))}
            if confusion is not None:
                figures["confusion_matrix.png"] = confusion_figure(confusion, tags)
            self._send("figures", lambda: self._log_figures(figures))

    def finish(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED, and wait, for seconds, until it is sent."""
        if self._sender is None:
            return
        self._send("the end", lambda: self._close(status))
        is_hurried = status == "KILLED" and is_remote(self._layout)
        self.wait(STOP_SECONDS if is_hurried else None)
        self._claim.release()

    def wait(self, seconds: float | None = None) -> None:
        """Return once the store has all that was logged, or has cost so many seconds."""
        if self._sender is not None:
            self._sender.wait(seconds)

    def _send(self, record: str, call: Callable[[], None]) -> None:
        if self._sender is not None:
            self._sender.send(f"{record} of {self._name}", call)

    def _log(self, values: Mapping[str, float], *, step: int, record: str) -> None:
        now = int(time.time() * 1000)

        def call() -> None:
            from mlflow.entities import Metric

            metrics = [
                Metric(taken_key(key), value, now, step)
                for key, value in values.items()
                if step not in self._known_steps.get(taken_key(key), ())
            ]
            self._client.log_batch(self.run_id, metrics=metrics)

        self._send(record, call)

    def _open(self) -> None:
        self._client, experiment_id, parent = open_parent(self._layout, self._params)
        inherited = ("corpus", "dvc.exp", "git.commit", "params.digest")
        of_parent = self._client.get_run(parent).data.tags
        tags = self._tags | {key: of_parent[key] for key in inherited if key in of_parent}
        tags |= {"mlflow.parentRunId": parent, TOKEN_TAG: self._claim.token}
        self._end_dead(experiment_id)
        query = f"tags.`{TOKEN_TAG}` = '{self._claim.token}' and attributes.status != 'FINISHED'"
        if left := self._client.search_runs([experiment_id], query, max_results=1):
            self._go_on(left[0], tags)
        else:
            run = self._client.create_run(experiment_id, tags=tags, run_name=self._name)
            self.run_id = run.info.run_id
        self._monitor = _system_metrics(self.run_id, store_uri(self._layout))

    def _end_dead(self, experiment_id: str) -> None:
        """Close the runs of processes that were killed in another work, under other params say."""
        if dead := self._claim.dead_tokens():
            for run in self._client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
                if run.data.tags.get(TOKEN_TAG) in dead:
                    self._client.set_terminated(run.info.run_id, "KILLED")

    def _go_on(self, left: "Run", tags: Mapping[str, str]) -> None:
        """Take over an unfinished run with what it has; its parent is that of this experiment."""
        self.run_id = left.info.run_id
        for key, value in tags.items():
            if left.data.tags.get(key) != value:
                self._client.set_tag(self.run_id, key, value)
        self._client.update_run(self.run_id, status="RUNNING")
        self._known_params = set(left.data.params)
        for key in left.data.metrics:
            if not key.startswith("system/"):
                history = self._client.get_metric_history(self.run_id, key)
                self._known_steps[key] = {metric.step for metric in history}

    def _log_figures(self, figures: Mapping[str, "Figure"]) -> None:
        # A folder of artifacts may be full or closed while the database takes what follows.
        with forgiving(self._layout, f"the figures of {self._name} are not recorded"):
            for name, figure in figures.items():
                self._client.log_figure(self.run_id, figure, name)

    def _close(self, status: str) -> None:
        if self._monitor is not None:
            # It waits for its thread, which may wait for a server.
            stopping = threading.Thread(target=self._monitor.finish, daemon=True)
            stopping.start()
            stopping.join(timeout=MONITOR_SECONDS)
        self._client.set_terminated(self.run_id, status)
        check_store(self._layout)
        if status == "FINISHED":
            self._claim.drop()


@contextmanager
def tracked(
    layout: Layout, params: Params, *, name: str, stage: str, tags: Mapping[str, str]
) -> Iterator[TrackedRun]:
    """A run that is closed with how the block ended; `tags` are its own beside the parent's.

    The block starts it. It ends before the run does: no lock of the block is held while the store
    is waited for.
    """
    run = TrackedRun(layout, params, name=name, stage=stage, tags=tags)
    try:
        with _stopped_by_sigterm():
            yield run
    except BaseException as error:
        run.finish("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
        raise
    run.finish("FINISHED")


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: the run is closed, and a rerun goes on."""

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _system_metrics(run_id: str, uri: str) -> "SystemMetricsMonitor | None":
    """Follow processor, memory and disk, and a GPU where nvidia-ml-py is installed, every 10 s.

    A shorter run has none of them. MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false turns it off.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "").lower() in ("false", "0"):
        return None
    monitor = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
        run_id, tracking_uri=uri, resume_logging=True
    )
    monitor.start()  # type: ignore[no-untyped-call]
    return monitor
