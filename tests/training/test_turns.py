"""Trainings in one process: each makes its steps in turn, and ends as it would alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch

from earmark.engines.work_folders import wait_for
from earmark.store import Store
from earmark.taggers.tagger import Tagger
from earmark.training import loop
from earmark.training.job import Fitted, Job
from earmark.training.loop import fit
from earmark.turns import Part, Turns, give_way
from tests.processes import wait_until
from tests.training.conftest import TAGS, Rows, make_job, recipe_with, weights_of


def together(turns: Turns, *bodies: Callable[[], object]) -> None:
    """Run all in threads that have their first turns in this order, once all are there."""

    def run(body: Callable[[], object]) -> None:
        with turns.part():
            body()

    threads = [Thread(target=run, args=(body,)) for body in bodies]
    with turns.part():
        for thread in threads:
            n_before = len(turns.parts)
            thread.start()
            assert wait_until(lambda: len(turns.parts) > n_before)  # noqa: B023
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_threads_step_one_after_another_and_who_is_done_has_no_turn() -> None:
    steps: list[str] = []

    def body(name: str, n_steps: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(n_steps):
                steps.append(name)
                give_way()

        return run

    together(Turns(), body("a", 3), body("b", 1), body("c", 2))
    assert "".join(steps) == "abcaca"


def test_one_that_is_stopped_ends_after_its_step_and_no_other_does() -> None:
    turns, ended = Turns(), []

    def stopped() -> None:
        turns.parts[0].is_stopped = True
        with pytest.raises(KeyboardInterrupt):
            give_way()
        ended.append("stopped")

    def other() -> None:
        for _ in range(3):
            give_way()
        ended.append("other")

    together(turns, stopped, other)
    assert ended == ["stopped", "other"]


def test_a_thread_that_fails_leaves_its_turn_to_the_others() -> None:
    turns, done = Turns(), []

    def fails() -> None:
        with pytest.raises(ZeroDivisionError), turns.part():
            1 / 0  # noqa: B018

    failing = Thread(target=fails)
    with turns.part():
        failing.start()
    failing.join(timeout=10)
    together(turns, lambda: done.append(1))
    assert done == [1]


def test_who_waits_for_what_is_outside_lets_the_others_go_on_and_can_be_stopped(
    tmp_path: Path,
) -> None:
    turns, steps = Turns(), []
    folder = tmp_path / "work"
    locks = wait_for(folder)  # as another run that trains the same model

    def waits() -> None:
        part = turns.parts[0]
        steps.append("waits")
        with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
            patch.setattr("earmark.engines.work_folders.time.sleep", lambda _: stop(part))
            wait_for(folder)
        steps.append("stopped")

    def stop(part: Part) -> None:
        if steps.count("other") == 3:
            part.is_stopped = True

    def other() -> None:
        for _ in range(3):
            steps.append("other")
            give_way()

    together(turns, waits, other)
    assert steps == ["waits", *["other"] * 3, "stopped"]
    for lock in locks:
        lock.close()


def dropout_job(store: Store, fold: str) -> Job:
    """A network that draws from torch's generator in each step, and starts as its fold says."""
    job = replace(make_job(store, recipe=recipe_with(mixup_alpha=0.4)), fold=fold)
    torch.manual_seed(int(fold))
    options = {"n_inputs": 20, "n_units": 16}
    input_ = job.tagger.input
    return replace(
        job, tagger=Tagger.new("multilevel_attention", options, tags=TAGS, input_=input_)
    )


@pytest.mark.slow
def test_trainings_in_turns_end_in_the_bytes_of_each_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    train_step = loop.train_step

    def counted(job: Job, *others: object) -> object:
        steps.append(job.fold)
        return train_step(job, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_step", counted)
    alone = [fit(dropout_job(store, fold), tmp_path / fold, Rows()) for fold in "01"]
    steps.clear()
    jobs = [dropout_job(store, fold) for fold in "01"]
    fitted: dict[str, Fitted] = {}

    def train(job: Job) -> Callable[[], None]:
        return lambda: fitted.update({job.fold: fit(job, tmp_path / f"{job.fold}b", Rows())})

    together(Turns(), *map(train, jobs))
    assert "".join(steps).startswith("010101")
    for fold, expected in zip("01", alone, strict=True):
        assert fitted[fold].history == expected.history
        ours, theirs = weights_of(fitted[fold]), weights_of(expected)
        assert all((ours[name] == theirs[name]).all() for name in theirs)
