"""A training that is stopped goes on in its own run; no dead run stays RUNNING."""

import os
import signal
import subprocess
import sys

import pytest

from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json
from earmark.tracking.claims import PREFIX, Claim
from earmark.tracking.parents import open_parent
from earmark.tracking.runs import TrackedRun
from earmark.training.checkpoints import work_in_progress
from earmark.training.run import train_model
from tests.source_graph import ROOT
from tests.tracking.runs import (
    NAMES,
    TRAINING,
    changed,
    client_of,
    followed,
    parents_of,
    trainings_of,
    work_of,
)
from tests.training.test_run import tiny_params, write_features


def die(run: TrackedRun) -> None:
    """What a kill leaves: the run as it is, and no lock."""
    run.wait()
    run._claim.release()


def started(layout: Layout, params: Params, name: str = "densenet-0") -> TrackedRun:
    run = TrackedRun(layout, params, **{**NAMES, "name": name})
    run.start(work_of(layout, name))
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGKILL, "RUNNING"), (signal.SIGTERM, "KILLED")]
)
def test_a_stopped_training_goes_on_in_its_run(
    layout: Layout, how: signal.Signals, status: str
) -> None:
    command = [sys.executable, "-c", TRAINING, str(layout.root), "densenet-0"]
    with subprocess.Popen([*command, "3", "600"], cwd=ROOT, stdout=subprocess.PIPE) as first:
        try:
            assert first.stdout
            assert first.stdout.readline() == b"logged\n"
            os.kill(first.pid, how)
            assert first.wait(60) != 0
        finally:
            first.kill()  # the block waits for its end
    (left,) = trainings_of(layout, "earmark/demo")
    assert left.info.status == status
    subprocess.run([*command, "5", "0"], cwd=ROOT, check=True, timeout=300)
    (run,) = trainings_of(layout, "earmark/demo")
    assert (run.info.run_id, run.info.status) == (left.info.run_id, "FINISHED")
    history = client_of(layout).get_metric_history(run.info.run_id, "map_at_3")
    assert [(m.step, m.value) for m in history] == [(n + 1, n / 10) for n in range(5)]


def test_a_killed_training_keeps_its_run_with_params_that_changed_and_each_step_once(
    layout: Layout, params: Params
) -> None:
    run = started(layout, params)
    run.log_params({"runtime": {"workers": 2}})
    run.log_epoch({"epoch": 1, "map_at_3": 0.1})
    run.log_kept({"epoch": 1})
    die(run)
    with followed(layout, params) as again:
        again.log_params({"runtime": {"workers": 3}, "recipe": {"epochs": 2}})
        for epoch in (1, 2):
            again.log_epoch({"epoch": epoch, "map_at_3": epoch / 10})
        again.log_kept({"epoch": 1})
    assert not again.is_lost
    (kept,) = trainings_of(layout)
    assert (kept.info.run_id, kept.info.status) == (run.run_id, "FINISHED")
    assert kept.data.params == {"runtime.workers": "2", "recipe.epochs": "2"}
    history = client_of(layout).get_metric_history(run.run_id, "map_at_3")
    assert [metric.step for metric in history] == [1, 2]
    assert len(client_of(layout).get_metric_history(run.run_id, "kept.epoch")) == 1
    assert not list(work_of(layout).glob(f"{PREFIX}*"))


def test_a_kill_between_the_claim_and_the_run_leaves_no_second_run(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TrackedRun, "_open", lambda _: None)
        die(started(layout, params))
    with followed(layout, params):
        pass
    assert [run.info.status for run in trainings_of(layout)] == ["FINISHED"]


def test_a_killed_run_follows_its_training_to_the_experiment_that_goes_on_with_it(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(layout, params)
    die(run)
    monkeypatch.setenv("DVC_EXP_NAME", "next-name")
    with followed(layout, params):
        pass
    (kept,) = trainings_of(layout)
    assert (kept.info.run_id, kept.data.tags["dvc.exp"]) == (run.run_id, "next-name")
    (parent,) = [run for run in parents_of(layout) if run.data.tags["dvc.exp"] == "next-name"]
    assert kept.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_runs_of_the_dead_are_closed_by_another_training_and_those_of_the_living_are_not(
    layout: Layout, params: Params
) -> None:
    die(started(layout, params, "dead-0"))
    alive = started(layout, params, "alive-0")
    alive.wait()
    with followed(layout, changed(params, "model", seed=7)):
        pass
    statuses = {run.info.run_name: run.info.status for run in trainings_of(layout)}
    assert statuses == {"dead-0": "KILLED", "alive-0": "RUNNING", "densenet-0": "FINISHED"}
    alive.finish("FINISHED")
    with followed(layout, params, name="dead-0"):
        pass
    statuses = {run.info.run_name: run.info.status for run in trainings_of(layout)}
    assert set(statuses.values()) == {"FINISHED"}
    assert len(statuses) == 3


def test_a_second_training_of_one_model_is_a_second_run(layout: Layout, params: Params) -> None:
    for _ in range(2):
        with followed(layout, params):
            pass
    assert [run.info.status for run in trainings_of(layout)] == ["FINISHED", "FINISHED"]


def test_a_parent_whose_maker_was_killed_is_completed(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("earmark.tracking.parents.log_params", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_parent(layout, params)
    with followed(layout, params):
        pass
    (parent,) = parents_of(layout)
    assert parent.info.status == "FINISHED"
    assert len(parent.data.params) > 100


@pytest.mark.slow
def test_a_training_killed_before_its_outputs_is_no_finished_run(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_features(layout)
    with monkeypatch.context() as patch:
        patch.setattr("earmark.training.run._write_outputs", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_model(tiny_params(), layout, "logmel", "densenet", "0", None)
    (left,) = trainings_of(layout, "earmark/tiny")
    assert left.info.status == "KILLED"
    train_model(tiny_params(), layout, "logmel", "densenet", "0", None)
    (run,) = trainings_of(layout, "earmark/tiny")
    assert (run.info.run_id, run.info.status) == (left.info.run_id, "FINISHED")
    epochs = read_json(layout.model("densenet", "0") / "model.json")["kept"]["epochs_trained"]
    history = client_of(layout).get_metric_history(run.info.run_id, "train_loss")
    assert [metric.step for metric in history] == list(range(1, epochs + 1))


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_training_killed_while_its_run_ends_finds_the_run_again(layout: Layout) -> None:
    """The run ends after the work: what was sent last is waited for without the work's lock."""
    with work_in_progress(layout.home, {"model": "dense"}) as checkpoint:
        checkpoint.write_bytes(b"trained")
        token = Claim(checkpoint.parent).token
    assert [path.name for path in checkpoint.parent.iterdir()] == [f"{PREFIX}{token}"]
    with work_in_progress(layout.home, {"model": "dense"}) as checkpoint:
        again = Claim(checkpoint.parent)
        assert again.token == token
    again.drop()
    assert not checkpoint.parent.exists()
