"""What an evaluation adds to the parent run: scores, weights, the report and the ensemble."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json
from earmark.tracking.model import log_ensemble
from earmark.tracking.parents import md5_of, open_parent
from earmark.tracking.registry import register
from earmark.tracking.sender import Sender
from earmark.tracking.store import check_store, forgiving

if TYPE_CHECKING:
    from mlflow import MlflowClient

GOING_ON = "evaluation goes on untracked"
UPLOAD_SECONDS = 600.0


def track_evaluation(params: Params, layout: Layout) -> None:
    """Log what stage evaluate has written to the parent run of its experiment.

    A store that does not answer costs seconds; one that does may take its time for the uploads.
    """
    with forgiving(layout, GOING_ON):
        import mlflow.entities  # noqa: F401  (in this thread: two that import get in each other's way)

        sender, evaluation = Sender(layout, GOING_ON), _TrackedEvaluation(params, layout)
        sender.send("scores and ensemble", evaluation.open)
        sender.wait()
        sender.send("scores and ensemble", evaluation.log)
        sender.wait(UPLOAD_SECONDS)


class _TrackedEvaluation:
    """The calls of an evaluation to the store."""

    def __init__(self, params: Params, layout: Layout) -> None:
        self._params, self._layout = params, layout

    def open(self) -> None:
        self._client, self._experiment_id, self._run_id = open_parent(self._layout, self._params)

    def log(self) -> None:
        client, run_id, layout = self._client, self._run_id, self._layout
        scores = read_json(layout.metrics / "scores.json")
        model_id = None
        with forgiving(layout, "the ensemble is not logged as a model"):
            model_id = log_ensemble(client, self._experiment_id, run_id, layout)
        if model_id is not None:
            with forgiving(layout, "the ensemble is not in the model registry"):
                register(client, self._params.corpus.name, model_id, run_id)
        _log_scores(client, run_id, scores, model_id)
        client.set_tag(run_id, "mlflow.note.content", description(scores))
        with forgiving(layout, "report and metrics are not logged as files"):
            _log_files(client, run_id, layout)
        check_store(layout)


def metrics_of(scores: Mapping[str, Any]) -> dict[str, float]:
    """What metrics/scores.json holds, as metrics with short names.

    The ensemble's have no prefix: `out_of_fold.map_at_3`, and `.low` and `.high`, the ends of its
    interval; `test.map_at_3` and so on. Those of a model, after `MODEL/`, are the metric that
    counts alone: MLflow's page shows a chart of each. `weight/MODEL` is its weight.
    """
    found = _values(scores["ensemble"])
    for name, entry in scores["models"].items():
        one = _values(entry, only=scores["metric"])
        found |= {f"{name}/{key}": value for key, value in one.items()}
    if "test" in scores.get("student", {}):
        estimate = scores["student"]["test"][scores["metric"]]
        found |= {f"student/test.{scores['metric']}": float(estimate["value"])}
    return found | {f"weight/{name}": value for name, value in scores["weights"].items()}


def _sets(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The estimates by metric, out of fold and on the test set, if there is one."""
    test = {"test": entry["test"]["all"]} if "test" in entry else {}
    return {"out_of_fold": entry["out_of_fold"], **test}


def _values(entry: Mapping[str, Any], only: str = "") -> dict[str, float]:
    found = {}
    for name, estimates in _sets(entry).items():
        for metric, estimate in estimates.items():
            if not isinstance(estimate, dict) or only not in ("", metric):
                continue  # a count of clips; a metric that is not asked for
            for end, suffix in (("value", ""), ("low", ".low"), ("high", ".high")):
                if estimate.get(end) is not None:
                    found[f"{name}.{metric}{suffix}"] = float(estimate[end])
    return found


def description(scores: Mapping[str, Any]) -> str:
    """The head of the parent's page: the metric that counts, then what a reader must know."""
    lines = []
    for key, name in (("out_of_fold", "out of fold"), ("test", "on the test set")):
        estimate = _sets(scores["ensemble"]).get(key, {}).get(scores["metric"])
        if estimate is not None:
            line = f"- **{scores['metric']} {name}: {estimate['value']:.3f}**"
            low, high = estimate["low"], estimate["high"]
            has_interval = low is not None and high is not None
            lines.append(line + (f" ({low:.3f} to {high:.3f})" if has_interval else ""))
    return "\n".join([*lines, "", *(f"- {note}" for note in scores["notes"])])


def _log_scores(
    client: "MlflowClient", run_id: str, scores: Mapping[str, Any], model_id: str | None
) -> None:
    """Log metrics to the run, those of the ensemble to its model too."""
    from mlflow.entities import Metric

    now, of_ensemble = int(time.time() * 1000), _values(scores["ensemble"])
    metrics = [
        Metric(key, value, now, 0, model_id=model_id if key in of_ensemble else None)
        for key, value in metrics_of(scores).items()
    ]
    client.log_batch(run_id, metrics=metrics)


def _log_files(client: "MlflowClient", run_id: str, layout: Layout) -> None:
    client.log_artifacts(run_id, str(layout.report), "report")
    for path in sorted(layout.metrics.iterdir()):
        if path.name != "audit.json":  # may be of an earlier run: stage audit comes later
            client.log_artifact(run_id, str(path), "metrics")
    client.log_artifact(run_id, str(layout.params))
    if layout.code.exists():
        client.log_artifact(run_id, str(layout.code))
        client.set_tag(run_id, "code.digest", md5_of(layout.code))
