"""Probabilities and scores of validation clips, and which epoch is the best."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.errors import UserError
from earmark.features.segments import Crop
from earmark.labels import Task
from earmark.store import Store
from earmark.training.checkpoints import State, copy_weights
from earmark.training.examples import Examples
from earmark.training.job import job_key
from earmark.training.loop import fit
from earmark.training.optimizers import build_optimizer
from earmark.training.validation import (
    close_epoch,
    monitored,
    training_scores,
    validate,
    validation_scores,
)
from tests.training.conftest import CPU, Rows, clip_table, make_job, recipe_with, weights_of


def test_a_clip_has_the_mean_of_the_probabilities_of_its_segments(store: Store) -> None:
    job = make_job(store)
    CPU.place(job.tagger.network)
    probabilities = validate(job.tagger, job.validation, CPU, job.recipe)
    for position in range(6):
        rows = job.validation.original(position)
        starts = sorted({0, max(len(rows) - 32, 0)})
        crops = np.stack([job.tagger.input.cut(rows, Crop(start)) for start in starts])
        expected = job.tagger.probabilities(crops, CPU).mean(axis=0)
        np.testing.assert_allclose(probabilities[position], expected, rtol=1e-5)
    assert len({len(job.validation.original(i)) > 32 for i in range(6)}) == 2, "one and two crops"


def test_the_loss_of_one_tag_per_clip_is_the_mean_of_minus_log_of_the_right_one(
    store: Store,
) -> None:
    examples = make_job(store).validation  # Bark, Cough, Flute, and again
    rows = [[0.5, 0.3, 0.2], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]
    scores = validation_scores(np.array(rows * 2, np.float32), examples, name="tiny-0")
    assert scores["validation_loss"] == pytest.approx((math.log(2) + math.log(4)) / 3)
    assert scores["accuracy"] == pytest.approx(2 / 3)


def test_the_loss_of_several_tags_is_the_mean_over_the_tags_too(store: Store) -> None:
    clips = clip_table(0, 18)
    clips.loc[12, "label"] = "Bark;Cough"
    examples = make_job(store, clips).validation
    assert examples.task.is_multi_label
    scores = validation_scores(np.full((6, 3), 0.25, np.float32), examples, name="tiny-0")
    n_yes = 7
    expected = (n_yes * math.log(4) + (18 - n_yes) * math.log(4 / 3)) / 18
    assert scores["validation_loss"] == pytest.approx(expected)
    assert "threshold" not in scores


def test_probabilities_that_are_not_finite_name_the_clip_and_a_fix(store: Store) -> None:
    examples = make_job(store).validation
    probabilities = np.full((6, 3), 1 / 3, np.float32)
    probabilities[2, 1] = np.nan
    with pytest.raises(UserError, match=r"tiny-0: .* clip c14 .*; lower the learning rate"):
        validation_scores(probabilities, examples, name="tiny-0")


def test_epochs_are_compared_by_the_higher_value_and_by_the_lower_loss() -> None:
    scores = {"validation_loss": 0.4, "map_at_3": 0.9, "roc_auc": math.nan}
    assert monitored(scores, "map_at_3") == 0.9
    assert monitored(scores, "loss") == -0.4
    assert monitored(scores, "roc_auc") == -math.inf


def test_an_epoch_is_shown_from_1_and_its_weights_are_kept_until_a_better_one(
    store: Store,
) -> None:
    job = make_job(store)
    network = CPU.place(job.tagger.network)
    state = State(network, build_optimizer(network, job), best={})
    for n_done, expected in ((0, 0), (1, 0)):  # the same scores twice: the first stays the best
        state.progress.step = job.sampler.n_batches
        close_epoch(job, state)
        assert state.progress.history[-1]["epoch"] == n_done + 1
        assert state.progress.best_epoch == expected
    assert state.progress.epochs_without_improvement == 1
    assert set(state.best) == set(copy_weights(network))
    assert not state.progress.is_done


@pytest.mark.slow
def test_the_last_epoch_is_kept_whatever_the_scored_fold_says(store: Store, tmp_path: Path) -> None:
    changes = {"epoch_choice": "last", "epochs": 6, "patience": 1, "plateau_patience": 1}
    job = make_job(store, recipe=recipe_with(**changes))
    fitted = fit(job, tmp_path / "one", Rows())
    assert len(fitted.history) == fitted.kept["epoch"] == 6  # no patience, and the last

    # A scored fold whose labels all change steers nothing: neither weights nor rates.
    turned = replace(job.validation, targets=np.roll(job.validation.targets, 1, axis=1))
    again = fit(
        replace(make_job(store, recipe=job.recipe), validation=turned), tmp_path / "b", Rows()
    )
    assert all(np.array_equal(weights_of(fitted)[key], w) for key, w in weights_of(again).items())
    rates = [[row["learning_rate"] for row in one.history] for one in (fitted, again)]
    assert rates[0] == rates[1]


@pytest.mark.slow
def test_an_inner_split_chooses_the_epoch_and_the_scored_fold_nothing(
    store: Store, tmp_path: Path
) -> None:
    recipe = recipe_with(epoch_choice="inner_split", epochs=8, patience=3, plateau_patience=2)
    table = clip_table(0, 18)
    inner = Examples.select(store, table[8:12], Task.of(table))
    job = replace(make_job(store, recipe=recipe), inner=inner)
    fitted = fit(job, tmp_path / "one", Rows())
    values = [row["inner_map_at_3"] for row in fitted.history]
    assert fitted.kept["epoch"] == values.index(max(values)) + 1
    assert job_key(job, "") != job_key(replace(job, inner=job.validation), "")

    turned = replace(job.validation, targets=np.roll(job.validation.targets, 1, axis=1))
    other = {"inner": inner, "validation": turned}
    again = fit(replace(make_job(store, recipe=recipe), **other), tmp_path / "two", Rows())
    assert again.kept["epoch"] == fitted.kept["epoch"]
    assert all(np.array_equal(weights_of(fitted)[key], w) for key, w in weights_of(again).items())


def test_the_best_epoch_is_the_first_of_the_highest_monitor(store: Store, tmp_path: Path) -> None:
    job = make_job(store, recipe=recipe_with(epochs=12, patience=12, max_lr=0.02))
    fitted = fit(job, tmp_path / "checkpoint", Rows())
    values = [row["map_at_3"] for row in fitted.history]
    assert fitted.kept["epoch"] == values.index(max(values)) + 1
    assert fitted.kept["map_at_3"] == max(values)


def test_training_scores_are_of_clips_as_recorded_and_of_labels_like_those_of_validation(
    store: Store,
) -> None:
    job = make_job(store)
    validated = replace(job.validation, unverified=np.zeros(6, np.float32))
    twice = job.train.at(np.r_[np.arange(12), 0, 1])  # as clips of class_mixing, which come last
    unverified = replace(job.train, unverified=np.ones(12, np.float32))
    every, verified = np.arange(12), np.arange(0, 12, 2)
    for examples, validation, positions in [
        (job.train, job.validation, every),
        (twice, job.validation, every),
        (job.train, validated, verified),
        (unverified, validated, every),  # none is verified
    ]:
        scored = job.train.at(positions)
        probabilities = validate(job.tagger, scored, job.device, job.recipe)
        expected = validation_scores(probabilities, scored, name="tiny-0")
        expected.pop("validation_loss")
        scores = training_scores(job.tagger, replace(job, train=examples, validation=validation))
        assert scores == {f"train_{name}": value for name, value in expected.items()}
