"""A finished training goes on where more epochs are asked for, and ends as one in one go."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from earmark.store import Store
from earmark.training import finished as finished_module
from earmark.training.batches import Sampler
from earmark.training.checkpoints import KEPT_DAYS
from earmark.training.finished import finished_path, keep_finished
from earmark.training.job import Fitted, job_key
from earmark.training.loop import fit
from tests.training.conftest import HEAD, Rows, make_job, recipe_with, weights_of
from tests.training.test_loop import RATES, STAGED, UNMOVED, KilledError, kill_at_batch

BATCHES = 3  # of an epoch
RECIPES: dict[str, dict[str, Any]] = {
    "constant": {"schedule": "constant"},
    "cyclical": {"schedule": "cyclical", "half_cycle_epochs": 1.5, "plateau_patience": 1},
    "last": {"schedule": "constant", "epoch_choice": "last", "ema_decay": 0.9, "lr_decay": 0.1},
    "multistep": {**STAGED, "ema_decay": 0.9},
    "rates": {"schedule": "constant", **RATES},
}


class Trainer:
    """Trains in a folder, as the stages do, and counts its batches."""

    def __init__(self, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_batches = 0
        self._store, self._folder, self._n_trainings = store, folder, 0
        gather = Sampler.gather

        def counting(sampler: Sampler, *args: Any) -> Any:
            self.n_batches += 1
            return gather(sampler, *args)

        monkeypatch.setattr(Sampler, "gather", counting)

    def train(self, *, anew: bool = False, checkpoint: str = "", **changes: Any) -> Fitted:
        """Train by a recipe; `anew` is elsewhere, where nothing was trained before."""
        self.n_batches, self._n_trainings = 0, self._n_trainings + 1
        home = self._folder / (f"anew{self._n_trainings}" if anew else "home")
        path = home / (checkpoint or f"checkpoint{self._n_trainings}")
        path.parent.mkdir(exist_ok=True)
        job = make_job(self._store, recipe=recipe_with(**changes), head=HEAD)
        finished = finished_path(home, job_key(job, ""))
        fitted = fit(job, path, Rows(), finished=finished)
        keep_finished(path, finished, job.recipe)
        path.unlink()
        return fitted


@pytest.fixture
def trainer(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return Trainer(store, tmp_path, monkeypatch)


def assert_equal(ours: Fitted, theirs: Fitted) -> None:
    assert ours.history == theirs.history
    assert ours.kept == theirs.kept
    np.testing.assert_array_equal(ours.validation_probabilities, theirs.validation_probabilities)
    expected = weights_of(theirs)
    for key, value in weights_of(ours).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_more_epochs_go_on_from_the_last_and_end_in_the_bits_of_one_go(
    trainer: Trainer, name: str
) -> None:
    recipe = {**RECIPES[name], "patience": 9}
    expected = trainer.train(**recipe, epochs=5, anew=True)
    assert trainer.n_batches == 5 * BATCHES
    for epochs in (2, 3, 5):
        fitted = trainer.train(**recipe, epochs=epochs)
        assert trainer.n_batches == {2: 2, 3: 1, 5: 2}[epochs] * BATCHES
    assert_equal(fitted, expected)


def test_more_patience_goes_on_from_where_it_ended(
    trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = {**UNMOVED, "schedule": "constant", "epochs": 30}
    expected = trainer.train(**recipe, patience=4, anew=True)
    first = trainer.train(**recipe, patience=2)
    with caplog.at_level("INFO", "earmark"):
        fitted = trainer.train(**recipe, patience=4)
    n_first, n_all = len(first.history), len(expected.history)
    assert n_first < n_all < 30
    assert f"tiny-0: going on at epoch {n_first + 1}, step 1" in caplog.messages
    assert trainer.n_batches == (n_all - n_first) * BATCHES
    assert_equal(fitted, expected)


def test_a_cosine_goes_on_where_patience_alone_ended_it(trainer: Trainer) -> None:
    recipe = {**UNMOVED, "schedule": "cosine", "epochs": 30}
    expected = trainer.train(**recipe, patience=4, anew=True)
    trainer.train(**recipe, patience=2)
    assert_equal(trainer.train(**recipe, patience=4), expected)
    assert trainer.n_batches < len(expected.history) * BATCHES


def test_more_epochs_change_nothing_where_patience_had_ended_it(trainer: Trainer) -> None:
    recipe = {**UNMOVED, "schedule": "constant", "patience": 2}
    first = trainer.train(**recipe, epochs=20)
    assert len(first.history) < 20
    again = trainer.train(**recipe, epochs=30)
    assert trainer.n_batches == 0
    assert_equal(again, first)


def test_a_kill_on_the_way_to_more_epochs_costs_no_more_than_any_other(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"schedule": "constant", "patience": 9}
    expected = trainer.train(**recipe, epochs=5, anew=True)
    trainer.train(**recipe, epochs=2)
    calls = kill_at_batch(monkeypatch, BATCHES + 2)
    with pytest.raises(KilledError):
        trainer.train(**recipe, epochs=5, checkpoint="killed")
    fitted = trainer.train(**recipe, epochs=5, checkpoint="killed")
    assert len(calls) == 3 * BATCHES + 1, "the batch of the kill is gathered again"
    assert_equal(fitted, expected)


@pytest.mark.slow
@pytest.mark.parametrize("limits", [{"epochs": 3}, {"epochs": 2}, {"epochs": 5, "patience": 1}])
def test_what_would_have_ended_sooner_or_is_asked_for_again_trains_from_the_start(
    trainer: Trainer, caplog: pytest.LogCaptureFixture, limits: dict[str, int]
) -> None:
    recipe = {**UNMOVED, "schedule": "constant", "patience": 9}
    trainer.train(**recipe, epochs=3)
    expected = trainer.train(**{**recipe, **limits}, anew=True)
    with caplog.at_level("INFO", "earmark"):
        fitted = trainer.train(**{**recipe, **limits})
    assert trainer.n_batches == len(expected.history) * BATCHES
    assert_equal(fitted, expected)
    lines = [line for line in caplog.messages if "from the start" in line]
    sooner = (
        "tiny-0: trains from the start, not from epoch 3 of a training before: "
        "it would have ended sooner by these epochs and this patience"
    )
    assert lines == ([] if limits == {"epochs": 3} else [sooner])


def test_a_cosine_trains_from_the_start_and_one_line_says_why(
    trainer: Trainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = {"schedule": "cosine", "epoch_choice": "last"}
    expected = trainer.train(**recipe, epochs=3, anew=True)
    trainer.train(**recipe, epochs=2)
    (kept,) = (tmp_path / "home" / "finished").iterdir()
    with safe_open(kept, "pt") as file:
        assert not file.keys(), "no training can use them"
    with caplog.at_level("INFO", "earmark"):
        fitted = trainer.train(**recipe, epochs=3)
    assert caplog.messages[0] == (
        "tiny-0: trains from the start, not from epoch 2 of a training before: "
        "schedule cosine is one cycle over all epochs, then 2, now 3"
    )
    assert trainer.n_batches == 3 * BATCHES
    assert_equal(fitted, expected)
    caplog.clear()
    with caplog.at_level("INFO", "earmark"):
        trainer.train(**recipe, epochs=3, patience=7)
    lines = [line for line in caplog.messages if ": epoch " not in line]
    assert lines == [], "where the last epoch is kept, patience ends nothing"


def test_nothing_goes_on_from_another_recipe_code_or_data(store: Store) -> None:
    job = make_job(store, recipe=recipe_with())
    home, key = Path("home"), job_key(job, "code")
    path = finished_path(home, key)
    for limit in ({"epochs": 50}, {"patience": 50}):
        longer = replace(job, recipe=recipe_with(**limit))
        assert finished_path(home, job_key(longer, "code")) == path
    others = [
        {**key, "recipe": recipe_with(**change).model_dump()}
        for change in ({"seed": 2}, {"base_lr": 2e-3}, {"layerwise_lr_decay": 0.5})
    ]
    others += [job_key(job, "other code"), {**key, "data": "others"}]
    others.append(job_key(replace(job, train=job.train.at(np.arange(11))), "code"))
    paths = {finished_path(home, other) for other in others}
    assert len(paths | {path}) == len(others) + 1


def test_a_damaged_one_is_discarded_with_one_line(
    trainer: Trainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = {"schedule": "constant", "patience": 9}
    expected = trainer.train(**recipe, epochs=3, anew=True)
    trainer.train(**recipe, epochs=2)
    (kept,) = (tmp_path / "home" / "finished").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    assert_equal(trainer.train(**recipe, epochs=3), expected)
    (line,) = (line for line in caplog.messages if "damaged" in line)
    assert line.startswith(f"{kept}: damaged (")
    assert trainer.n_batches == 3 * BATCHES


def kept_in(folder: Path, checkpoint: Path, name: str) -> None:
    keep_finished(checkpoint, folder / name, recipe_with())


def test_the_oldest_go_where_all_are_too_large_and_what_is_two_weeks_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, folder = tmp_path / "checkpoint", tmp_path / "finished"
    for name in ("first", "second", "third"):
        checkpoint.unlink(missing_ok=True)
        checkpoint.write_bytes(bytes(100))
        kept_in(folder, checkpoint, name)
        age = {"first": 20.0, "second": 10.0, "third": 0.0}[name]
        os.utime(folder / name, (time.time() - age, time.time() - age))
    monkeypatch.setattr(finished_module, "KEPT_BYTES", 350)
    (folder / ".left.1.part").write_bytes(bytes(100))  # by a kill; the newest of all
    finished_module._make_room(folder)
    assert {path.name for path in folder.iterdir()} == {"second", "third", ".left.1.part"}
    long_ago = time.time() - (KEPT_DAYS + 1) * 86_400
    os.utime(folder / "third", (long_ago, long_ago))
    finished_module._make_room(folder)
    assert {path.name for path in folder.iterdir()} == {"second", ".left.1.part"}


def test_what_cannot_be_kept_is_one_line_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "finished").write_text("a file where the folder should be")
    (tmp_path / "checkpoint").touch()
    kept_in(tmp_path / "finished", tmp_path / "checkpoint", "name")
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'finished' / 'name'}: not kept (")
    assert line.endswith("; more epochs would train from the start")
