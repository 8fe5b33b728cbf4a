"""The run of a training under its parent: in one process, in several, and without a server."""

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json
from earmark.tracking import parents
from earmark.tracking.runs import TrackedRun
from earmark.training.run import train_model
from tests.processes import wait_until
from tests.source_graph import ROOT
from tests.tracking.runs import (
    EPOCHS,
    NAMES,
    TRAINING,
    changed,
    client_of,
    followed,
    parents_of,
    runs_of,
    trainings_of,
)
from tests.training.test_run import tiny_params, write_features


@pytest.mark.slow
def test_processes_that_make_the_store_at_once_share_it_and_one_parent(layout: Layout) -> None:
    shutil.rmtree(layout.home)
    command = [sys.executable, "-c", TRAINING, str(layout.root)]
    started = [
        subprocess.Popen(
            [*command, f"densenet-{i}", "5", "0"], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for i in range(4)
    ]
    for process in started:
        assert process.wait(120) == 0, process.stderr and process.stderr.read()
    (parent,) = parents_of(layout, "earmark/demo")
    children = trainings_of(layout, "earmark/demo")
    assert len(children) == 4
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
    assert {r.data.metrics["map_at_3"] for r in children} == {0.4}


def test_trainings_that_start_at_once_log_the_params_of_their_parent_once(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_params = parents.log_params

    def slowly(*arguments: Any) -> None:
        time.sleep(0.3)
        log_params(*arguments)

    monkeypatch.setattr(parents, "log_params", slowly)
    with ThreadPoolExecutor() as pool:
        opened = list(pool.map(lambda _: parents.open_parent(layout, params), range(3)))
    assert len({run_id for _, _, run_id in opened}) == 1


def test_a_run_says_what_is_trained_on_what_and_how_it_ended(
    layout: Layout, params: Params
) -> None:
    with pytest.raises(ZeroDivisionError), followed(layout, params) as run:
        run.log_params({"recipe": {"epochs": 3}})
        raise ZeroDivisionError
    kept = client_of(layout).get_run(run.run_id)
    assert kept.info.status == "FAILED"
    assert kept.data.params == {"recipe.epochs": "3"}
    expected = {"model": "densenet", "fold": "0", "feature": "logmel", "corpus": "x"}
    expected |= {"dvc.exp": "loud-mixup", "stage": "train_logmel", "code.digest": "5f0c"}
    assert expected.items() <= kept.data.tags.items()


@pytest.mark.slow
def test_a_run_has_its_curves_from_epoch_1_and_beside_them_the_kept_epoch(
    layout: Layout, params: Params
) -> None:
    with followed(layout, params) as run:
        for row in EPOCHS:
            run.log_epoch(row)
        run.log_kept(EPOCHS[1])
        run.log_figures(EPOCHS, np.eye(2, dtype=np.int64), ["bark", "bell"])
    assert not run.is_lost
    client = client_of(layout)
    losses = client.get_metric_history(run.run_id, "train_loss")
    assert [(metric.step, metric.value) for metric in losses] == [(1, 1.5), (2, 1.0), (3, 0.5)]
    metrics = client.get_run(run.run_id).data.metrics
    assert (metrics["map_at_3"], metrics["kept.map_at_3"], metrics["kept.epoch"]) == (0.6, 0.7, 2)
    figures = {artifact.path for artifact in client.list_artifacts(run.run_id)}
    assert figures == {"confusion_matrix.png", "learning_curve.png"}


def test_a_training_of_a_stage_is_tracked_with_its_tags_and_what_it_kept(layout: Layout) -> None:
    write_features(layout)
    train_model(tiny_params(), layout, "logmel", "densenet", "0", None, code="5f0c")
    kept = read_json(layout.model("densenet", "0") / "model.json")["kept"]
    (run,) = trainings_of(layout, "earmark/tiny")
    assert NAMES["tags"].items() <= run.data.tags.items()
    assert run.data.metrics["kept.epoch"] == kept["epoch"]
    assert run.data.metrics["kept.map_at_3"] == pytest.approx(kept["map_at_3"])
    figures = {artifact.path for artifact in client_of(layout).list_artifacts(run.info.run_id)}
    assert figures == {"confusion_matrix.png", "learning_curve.png"}


def test_two_repros_with_other_params_on_one_commit_are_two_parents(
    layout: Layout, params: Params
) -> None:
    for seed in (1, 1, 2):
        with followed(layout, changed(params, "model", seed=seed)):
            pass
    parents = parents_of(layout)
    assert sorted(run.data.params["model.seed"] for run in parents) == ["1", "2"]
    children = [run.data.tags.get("mlflow.parentRunId", "") for run in runs_of(layout)]
    assert sorted(children.count(run.info.run_id) for run in parents) == [1, 2]


def test_params_that_change_no_result_make_no_other_parent(layout: Layout, params: Params) -> None:
    for workers in (1, 7):
        with followed(layout, changed(params, "runtime", workers=workers)):
            pass
    (parent,) = parents_of(layout)
    assert "runtime.workers" not in parent.data.params


def test_the_parent_holds_all_params_under_keys_that_mlflow_takes(
    layout: Layout, params: Params
) -> None:
    named = changed(params, "evaluate", label_groups={"dog (big), cat/..": ["bark"]})
    with followed(layout, named) as run:
        assert not run.is_lost
    (parent,) = parents_of(layout)
    assert len(parent.data.params) > 100
    assert parent.data.params["trim.top_db"] == "60.0"
    assert parent.data.params["evaluate.label_groups.dog _big__ cat_.."] == "['bark']"


def test_the_experiment_opens_in_the_view_for_machine_learning_until_a_user_says_otherwise(
    layout: Layout, params: Params
) -> None:
    def kind() -> str:
        with followed(layout, params):
            pass
        experiment = client_of(layout).get_experiment_by_name("earmark/x")
        return experiment.tags["mlflow.experimentKind"] if experiment else ""

    assert kind() == "custom_model_development"
    experiment = client_of(layout).get_experiment_by_name("earmark/x")
    assert experiment is not None
    client_of(layout).set_experiment_tag(
        experiment.experiment_id, "mlflow.experimentKind", "finetuning"
    )
    assert kind() == "finetuning"


def test_system_metrics_are_logged_while_a_training_runs(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    expected = {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"}
    with followed(layout, params) as run:
        run.wait()
        assert wait_until(lambda: expected <= _system_metrics_of(layout, run), seconds=30)
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with followed(layout, params) as run:
        run.wait()
        time.sleep(0.2)
    assert not _system_metrics_of(layout, run)


def _system_metrics_of(layout: Layout, run: TrackedRun) -> set[str]:
    metrics = client_of(layout).get_run(run.run_id).data.metrics
    return {key for key in metrics if key.startswith("system/")}


def test_a_monitor_that_waits_for_a_server_does_not_hold_the_end_of_a_training(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING")
    monkeypatch.setattr("earmark.tracking.runs.MONITOR_SECONDS", 0.1)
    with followed(layout, params) as run:
        run.wait()
        assert run._monitor is not None
        monkeypatch.setattr(run._monitor, "finish", lambda: time.sleep(60))
        started = time.monotonic()
    assert time.monotonic() - started < 30
    assert client_of(layout).get_run(run.run_id).info.status == "FINISHED"


def test_a_server_that_is_not_there_costs_a_warning_and_nothing_else(
    layout: Layout,
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with followed(layout, params) as run:
        run.log_epoch({"epoch": 1, "map_at_3": 0.5})
        run.log_kept({"epoch": 1, "map_at_3": 0.5})
    assert run.is_lost
    assert [
        record.levelname
        for record in caplog.records
        if "training goes on untracked" in record.message
    ] == ["WARNING"]


def test_experiments_in_temporary_folders_share_the_store_of_their_repository() -> None:
    temporary = Layout(Path("/repo/.dvc/tmp/exps/tmp1a2b"))
    assert temporary.home == Layout(Path("/repo")).home == Path("/repo/.earmark")
