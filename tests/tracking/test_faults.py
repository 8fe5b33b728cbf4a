"""Stores that are busy, damaged or edited by a user, and names that MLflow's queries choke on."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

from earmark.layout import Layout
from earmark.params import Params
from earmark.tracking.parents import LONGEST_KEY, taken_key
from earmark.tracking.store import problem_and_fix
from tests.tracking.runs import (
    changed,
    client_of,
    followed,
    parents_of,
    runs_of,
    trainings_of,
)


def database_of(layout: Layout) -> Path:
    return layout.home / "mlflow" / "mlflow.db"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["it's", 'a "b" 100%; `c` 🐸', "x" * 200])
def test_a_name_of_any_letters_loses_no_run(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", name)
    for fold in ("0", "1"):
        with followed(layout, params, name=f"{name}-{fold}") as run:
            run.log_epoch({"epoch": 1, "map_at_3": 0.5})
        assert not run.is_lost
    (parent,) = parents_of(layout)
    assert parent.data.tags["dvc.exp"] == name
    assert {run.info.run_name for run in trainings_of(layout)} == {f"{name}-0", f"{name}-1"}


def test_a_long_name_of_a_corpus_is_cut(layout: Layout, params: Params) -> None:
    with followed(layout, changed(params, "corpus", name="x" * 600)) as run:
        pass
    assert not run.is_lost


def test_long_keys_are_cut_and_stay_apart() -> None:
    one, other = taken_key("x" * 300), taken_key("x" * 301)
    assert len(one) == len(other) == LONGEST_KEY
    assert one != other
    assert taken_key("a/b: 'c'.d") == "a_b_ _c_.d"


def test_values_that_are_long_or_no_numbers_are_recorded(layout: Layout, params: Params) -> None:
    with followed(layout, params) as run:
        run.log_params({"note": "x" * 10_000, **{f"key{n}": n for n in range(250)}})
        run.log_epoch({"epoch": 1, "train_loss": float("nan"), "map_at_3": float("inf")})
    assert not run.is_lost
    (kept,) = trainings_of(layout)
    assert len(kept.data.params) == 251


def test_a_store_that_another_process_holds_is_asked_again(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earmark.tracking.sender.RETRY_SECONDS", 0.01)
    log_batch, tries = MlflowClient.log_batch, iter(range(1000))

    def held(client: MlflowClient, run_id: str, **values: Any) -> None:
        if next(tries) < 3:
            raise sqlite3.OperationalError("database is locked")
        log_batch(client, run_id, **values)

    with followed(layout, params) as run:
        run.wait()
        monkeypatch.setattr(MlflowClient, "log_batch", held)
        run.log_epoch({"epoch": 1, "map_at_3": 0.5})
    assert not run.is_lost
    (kept,) = trainings_of(layout)
    assert kept.data.metrics == {"map_at_3": 0.5}


@pytest.mark.slow
def test_a_store_that_another_process_never_frees_costs_seconds(
    layout: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earmark.tracking.store.LOCAL_SECONDS", 2)
    with followed(layout, params) as run:
        run.wait()
        other = sqlite3.connect(database_of(layout))
        other.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
    assert run.is_lost
    assert time.monotonic() - start < 10
    other.close()


@pytest.mark.parametrize("content", [b"\0" * 10_000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_store_costs_one_line_that_says_how_to_go_on(
    layout: Layout, params: Params, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    database_of(layout).write_bytes(content)
    with followed(layout, params):
        pass
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1, messages
    assert str(layout.home / "mlflow") in messages[0]
    assert "move it away: a new store is made" in messages[0]


def test_the_fix_of_a_store_is_that_of_its_fault(layout: Layout) -> None:
    with closing(sqlite3.connect(database_of(layout))) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(Exception, match=r"schema|revision") as caught:
        MlflowClient(f"sqlite:///{database_of(layout)}").search_experiments()
    problem, fix = problem_and_fix(layout, caught.value)
    assert problem == "it was made by another version of MLflow"
    assert fix.startswith("run `make setup`, or move")
    for error in (sqlite3.OperationalError("database is locked"), TimeoutError("held for 60 s")):
        _, fix = problem_and_fix(layout, error)
        assert fix.startswith("another process uses")
        assert "move" not in fix


@pytest.mark.slow  # MLflow takes seconds to make one
def test_an_empty_store_is_made_again(layout: Layout, params: Params) -> None:
    database_of(layout).write_bytes(b"")
    with followed(layout, params) as run:
        pass
    assert not run.is_lost


def test_a_store_that_is_deleted_under_a_run_is_missed(
    layout: Layout, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    with followed(layout, params) as run:
        run.wait()
        database_of(layout).unlink()
    assert run.is_lost
    assert "not recorded: the end of densenet-0" in caplog.text


def test_an_experiment_that_a_user_deleted_stays_deleted_and_a_further_one_is_made(
    layout: Layout, params: Params
) -> None:
    with followed(layout, params):
        pass
    client_of(layout).delete_experiment(runs_of(layout)[0].info.experiment_id)
    for _ in range(2):
        with followed(layout, params) as run:
            pass
        assert not run.is_lost
    assert len(trainings_of(layout, "earmark/x (2)")) == 2


def test_a_run_that_a_user_deletes_is_not_continued(
    layout: Layout, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    with followed(layout, params) as run:
        run.wait()
        client_of(layout).delete_run(run.run_id)
        run.log_epoch({"epoch": 1, "map_at_3": 0.5})
    assert run.is_lost
    assert "not recorded: epoch 1 of densenet-0" in caplog.text
    with followed(layout, params) as again:
        pass
    assert [run.info.run_id for run in trainings_of(layout)] == [again.run_id] != [run.run_id]


def test_artifacts_that_cannot_be_written_cost_the_figures_alone(
    layout: Layout, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    (layout.home / "mlflow" / "artifacts").write_text("no folder")
    with followed(layout, params) as run:
        run._log_figures({"a.png": Figure()})
    assert "the figures of densenet-0 are not recorded" in caplog.text
    (kept,) = trainings_of(layout)
    assert kept.info.status == "FINISHED"
