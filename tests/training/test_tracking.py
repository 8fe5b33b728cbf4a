"""The embedded MLflow store, used by several processes at once, and a server that is not there."""

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from earmark.layout import Layout
from earmark.store import Store
from earmark.training.loop import fit
from earmark.training.tracking import TrackedRun, store_uri, tracked
from tests.source_graph import ROOT
from tests.training.conftest import make_job


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_EXP_NAME", "loud-mixup")
    return Layout(tmp_path)


TRACK = """
import sys
from pathlib import Path
from earmark.layout import Layout
from earmark.training.tracking import tracked
with tracked(Layout(Path(sys.argv[1])), experiment="earmark/x", name=sys.argv[2], stage="s") as run:
    for epoch in range(5):
        run.log_epoch({"epoch": epoch + 1, "map_at_3": epoch / 10})
    assert not run.is_lost
"""


@pytest.mark.slow
def test_processes_that_make_the_store_at_once_share_it_and_one_parent(layout: Layout) -> None:
    command = [sys.executable, "-c", TRACK, str(layout.root)]
    started = [
        subprocess.Popen([*command, f"densenet-{i}"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    for process in started:
        assert process.wait(120) == 0, process.stderr and process.stderr.read()
    client = MlflowClient(store_uri(layout))
    experiment = client.get_experiment_by_name("earmark/x")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = {r.info.run_id for r in runs if r.data.tags.get("role") == "experiment"}
    children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    assert len(parents) == 1
    assert len(children) == 4
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == parents
    assert {r.data.metrics["map_at_3"] for r in children} == {0.4}


def test_a_run_says_its_experiment_stage_and_how_it_ended(layout: Layout) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        tracked(layout, experiment="earmark/x", name="densenet-0", stage="train_logmel") as run,
    ):
        run.log_params({"recipe": {"epochs": 3}})
        raise ZeroDivisionError
    client = MlflowClient(store_uri(layout))
    kept = client.get_run(run._run_id)
    assert kept.info.status == "FAILED"
    assert kept.data.params == {"recipe.epochs": "3"}
    assert kept.data.tags["dvc.exp"] == "loud-mixup"
    assert kept.data.tags["stage"] == "train_logmel"


def test_epochs_and_figures_of_a_training_are_logged_from_epoch_1(
    store: Store, layout: Layout, tmp_path: Path
) -> None:
    job = make_job(store)
    with tracked(layout, experiment="earmark/x", name="tiny-0", stage="train_logmel") as run:
        fitted = fit(job, tmp_path / "checkpoint", run)
        run.log_figures(fitted, job.validation)
    assert not run.is_lost
    client = MlflowClient(store_uri(layout))
    losses = client.get_metric_history(run._run_id, "train_loss")
    assert [metric.step for metric in losses] == [1, 2, 3]
    figures = {artifact.path for artifact in client.list_artifacts(run._run_id)}
    assert figures == {"confusion_matrix.png", "learning_curve.png"}


def test_a_server_that_is_not_there_costs_a_warning_and_nothing_else(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with tracked(layout, experiment="earmark/x", name="densenet-0", stage="s") as run:
        run.log_epoch({"epoch": 1, "map_at_3": 0.5})
    assert run.is_lost
    assert [
        record.levelname
        for record in caplog.records
        if "training goes on untracked" in record.message
    ] == ["WARNING"]


def test_experiments_in_temporary_folders_share_the_store_of_their_repository() -> None:
    temporary = Layout(Path("/repo/.dvc/tmp/exps/tmp1a2b"))
    assert temporary.home == Layout(Path("/repo")).home == Path("/repo/.earmark")


def test_parameters_are_logged_as_dotted_keys(layout: Layout) -> None:
    run = TrackedRun(layout, experiment="earmark/x", name="n", stage="s")
    run.log_params({"a": {"b": {"c": 1}}, "d": [1, 2]})
    params = MlflowClient(store_uri(layout)).get_run(run._run_id).data.params
    assert params == {"a.b.c": "1", "d": "[1, 2]"}
