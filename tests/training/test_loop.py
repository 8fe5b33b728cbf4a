"""The loop: it learns, stops, keeps the best, and ends the same after a kill."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from earmark.errors import UserError
from earmark.store import Store
from earmark.training import loop, losses, optimizers
from earmark.training.batches import Sampler
from earmark.training.checkpoints import State
from earmark.training.job import Job
from earmark.training.loop import fit
from tests.training.conftest import (
    HEAD,
    TAGS,
    Rows,
    clip_table,
    make_job,
    recipe_with,
    weights_of,
)

LONG = {"epochs": 40, "patience": 40, "mixup_alpha": 0.0, "max_lr": 0.02}
STAGED = {"optimizer": "sgd", "schedule": "multistep", "multistep_stages": 9, "plateau_patience": 1}
UNMOVED = {"base_lr": 1e-9, "max_lr": 1e-9}


@pytest.mark.slow
def test_training_learns_and_keeps_the_best_epoch(store: Store, tmp_path: Path) -> None:
    job = make_job(store, recipe=recipe_with(**LONG))
    fitted = fit(job, tmp_path / "checkpoint", Rows())
    values = [row["map_at_3"] for row in fitted.history]
    assert fitted.kept["map_at_3"] == max(values) > 0.75
    labels = job.validation.targets.argmax(axis=1)
    accuracy = (fitted.validation_probabilities.argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(fitted.kept["accuracy"])


def test_training_stops_after_patience_epochs_without_a_better_one(
    store: Store, tmp_path: Path
) -> None:
    job = make_job(store, recipe=recipe_with(epochs=50, patience=2, **UNMOVED))
    fitted = fit(job, tmp_path / "checkpoint", Rows())
    assert len(fitted.history) == fitted.kept["epoch"] + 2 < 50


def test_epochs_are_told_and_kept_from_1(store: Store, tmp_path: Path) -> None:
    rows = Rows()
    fitted = fit(make_job(store), tmp_path / "checkpoint", rows)
    assert rows.epochs == [row["epoch"] for row in fitted.history] == [1, 2, 3]


def watch_gather(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The clips of every batch of a training, in its order."""
    batches: list[list[str]] = []
    gather = Sampler.gather

    def watching(self: Sampler, units: Any, rng: Any) -> Any:
        batches.append([self.examples.clips[i] for i in self.units[units, 0].tolist()])
        return gather(self, units, rng)

    monkeypatch.setattr(Sampler, "gather", watching)
    return batches


def test_every_epoch_holds_the_training_clips_alone_in_an_order_of_its_own(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = watch_gather(monkeypatch)
    job = make_job(store)
    fit(job, tmp_path / "checkpoint", Rows())
    epochs = [[*chain(*batches[i : i + 3])] for i in (0, 3, 6)]
    assert len(batches) == 9
    assert all(sorted(epoch) == sorted(job.train.clips) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_every_step_has_the_rate_of_the_schedule(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    recipe = recipe_with(
        base_lr=0.001, max_lr=0.005, half_cycle_epochs=4 / 3, plateau_patience=99, epochs=3
    )
    fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Rows())
    cycle = [0.001, 0.002, 0.003, 0.004, 0.005, 0.004, 0.003, 0.002, 0.001]
    assert rates == pytest.approx(cycle), "three batches an epoch, up in four and down in four"


@pytest.mark.parametrize("draw", ["batch", "clip"])
def test_the_loss_is_that_of_mixed_targets(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: str
) -> None:
    largest: list[float] = []
    clip_losses = losses.clip_losses

    def watched(logits: torch.Tensor, targets: torch.Tensor, **options: Any) -> torch.Tensor:
        assert targets.sum(dim=1).tolist() == pytest.approx([1.0] * len(targets))
        largest.extend(targets.max(dim=1).values.tolist())
        return clip_losses(logits, targets, **options)

    monkeypatch.setattr(loop, "clip_losses", watched)
    for alpha in (0.0, 1.0):
        recipe = recipe_with(mixup_alpha=alpha, mixup_draw=draw, label_smoothing=0.0)
        fit(make_job(store, recipe=recipe), tmp_path / f"checkpoint{alpha}", Rows())
    assert len(largest) == 2 * 36
    assert set(largest[:36]) == {1.0}
    n_mixed = sum(value < 0.99 for value in largest[36:])
    assert n_mixed > 12, "of 36, a partner has another of three tags in two thirds"


def test_each_epoch_is_a_line_of_the_log_with_the_time_left(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(store)
    with caplog.at_level("INFO"):
        history = fit(job, tmp_path / "checkpoint", Rows()).history
    lines = [line for line in caplog.messages if ": epoch " in line]
    assert len(lines) == len(history)
    last, values = history[-1], [row["map_at_3"] for row in history]
    assert lines[-1].startswith(
        f"{job.name}: epoch 3/3, loss {last['train_loss']:.2f}, map_at_3 {values[-1]:.3f} "
        f"(best {max(values):.3f}), "
    )
    assert lines[-1].endswith("an epoch, at most 0 s left")


def test_the_epochs_of_a_killed_run_are_not_shown_again(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):  # the second time there is nothing left to do
        caplog.clear()
        with caplog.at_level("INFO"):
            fit(make_job(store), tmp_path / "checkpoint", Rows())
    assert not [line for line in caplog.messages if ": epoch " in line]


@pytest.mark.parametrize("half_cycle_epochs", [0.5, 1.0, 4.0])
def test_the_learning_rate_of_an_epoch_is_that_of_all_its_updates(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half_cycle_epochs: float
) -> None:
    rates: list[float] = []
    used = optimizers.set_learning_rate

    def noted(optimizer: torch.optim.Optimizer, rate: float) -> None:
        rates.append(rate)
        used(optimizer, rate)

    monkeypatch.setattr(optimizers, "set_learning_rate", noted)
    changes = {"half_cycle_epochs": half_cycle_epochs, "lr_decay": 0.1}
    history = fit(make_job(store, recipe=recipe_with(**changes)), tmp_path / "c", Rows()).history
    for row, of_epoch in zip(history, np.array_split(rates, len(history)), strict=True):
        shown = [row[f"learning_rate{end}"] for end in ("_low", "", "_high")]
        assert shown == pytest.approx([of_epoch.min(), of_epoch.mean(), of_epoch.max()])


class KilledError(Exception):
    pass


def kill_at_batch(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Raise once, when so many batches were asked for; the list grows by one with each."""
    calls: list[int] = []
    gather = Sampler.gather

    def dying(self: Sampler, *args: Any) -> Any:
        calls.append(len(calls) + 1)
        if len(calls) == number:
            raise KilledError
        return gather(self, *args)

    monkeypatch.setattr(Sampler, "gather", dying)
    return calls


RATES = {
    "backbone_lr_multiplier": 0.5,
    "layerwise_lr_decay": 0.7,
    "freeze_batch_norm": True,
    "optimizer": "adamw",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{}, {"ema_decay": 0.9}, STAGED, RATES], ids=["adam", "ema", "sgd", "rates"]
)
@pytest.mark.parametrize("stop_at", [2, 5, 7])
def test_a_training_killed_at_any_step_ends_in_the_same_weights(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
    changes: dict[str, Any],
) -> None:
    def job() -> Job:
        return make_job(store, recipe=recipe_with(**changes), head=HEAD)

    undisturbed = fit(job(), tmp_path / "undisturbed", Rows())
    expected = weights_of(undisturbed)
    calls = kill_at_batch(monkeypatch, stop_at)
    with pytest.raises(KilledError):
        fit(job(), tmp_path / "killed", Rows())
    rows = Rows()
    resumed = fit(job(), tmp_path / "killed", rows)
    assert len(calls) == 9 + 1, "of 9 batches the one that was killed is gathered again"
    assert resumed.history == undisturbed.history
    assert rows.epochs == [1, 2, 3]
    for key, value in weights_of(resumed).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)


def dropout_draws(store: Store, checkpoint: Path, *, seed: int) -> list[float]:
    """What torch's generator gives in every forward pass of a training, seeded before."""
    job, draws = make_job(store), list[float]()

    def draw(network: torch.nn.Module, _: object) -> None:
        if network.training:
            draws.append(torch.rand(()).item())

    job.tagger.network.register_forward_pre_hook(draw)
    torch.manual_seed(seed)
    fit(job, checkpoint, Rows())
    return draws


def test_dropout_draws_depend_on_the_step_alone(store: Store, tmp_path: Path) -> None:
    draws = [dropout_draws(store, tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 9, "each step has its own"


def test_a_training_that_goes_on_says_at_which_epoch_and_step_counted_from_1(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kill_at_batch(monkeypatch, 5)  # of three per epoch
    with pytest.raises(KilledError):
        fit(make_job(store), tmp_path / "checkpoint", Rows())
    with caplog.at_level("INFO", "earmark"):
        fit(make_job(store), tmp_path / "checkpoint", Rows())
    assert caplog.messages[0] == "tiny-0: going on at epoch 2, step 2"
    assert caplog.messages[1].startswith("tiny-0: epoch 2/3, ")


def test_a_finished_checkpoint_gives_the_same_model_without_training(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = fit(make_job(store), tmp_path / "checkpoint", Rows())
    expected = weights_of(first)
    calls = kill_at_batch(monkeypatch, 1)
    with caplog.at_level("INFO", "earmark"):
        again = fit(make_job(store), tmp_path / "checkpoint", Rows())
    assert not calls
    assert "was trained to the end before" in caplog.text
    assert again.kept == first.kept
    for key, value in weights_of(again).items():
        np.testing.assert_array_equal(value, expected[key])


def test_a_loss_that_is_not_finite_names_the_epoch_from_1_and_a_fix(
    store: Store, tmp_path: Path
) -> None:
    beyond_limits = {"gradient_clip": 1e30, "base_lr": 1e30, "max_lr": 1e30}
    recipe = recipe_with().model_copy(update=beyond_limits)
    with pytest.raises(UserError, match=r"tiny-0: .* in epoch 1; lower the learning rate"):
        fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Rows())


def test_a_monitor_that_does_not_fit_the_corpus_is_refused_before_training(
    store: Store, tmp_path: Path
) -> None:
    job = make_job(store, recipe=recipe_with(monitor="roc_auc"))
    with pytest.raises(UserError, match=r"monitor .* tiny-0.: roc_auc does not fit"):
        fit(job, tmp_path / "checkpoint", Rows())


def test_every_stage_starts_from_the_best_weights_and_training_ends_with_the_last(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    begin_stage = State.begin_stage

    def watched(self: State) -> None:
        begin_stage(self)
        weights = self.network.state_dict()
        assert all(torch.equal(weights[key], value) for key, value in self.best.items())
        assert not self.optimizer.state
        begun.append(self.progress.epoch)

    monkeypatch.setattr(State, "begin_stage", watched)
    changes = {**STAGED, **UNMOVED, "multistep_stages": 2, "epochs": 60, "patience": 60}
    fitted = fit(make_job(store, recipe=recipe_with(**changes)), tmp_path / "checkpoint", Rows())
    assert len(begun) == 2
    assert len(fitted.history) == begun[-1] < 60


def test_an_average_of_the_weights_is_what_is_validated_and_kept(
    store: Store, tmp_path: Path
) -> None:
    plain = fit(make_job(store), tmp_path / "plain", Rows())
    job = make_job(store, recipe=recipe_with(ema_decay=0.999))
    averaged = fit(job, tmp_path / "ema", Rows())
    heads = [weights_of(fitted)["head.weight"] for fitted in (plain, averaged)]
    assert not np.allclose(heads[0], heads[1])
    labels = job.validation.targets.argmax(axis=1)
    accuracy = (averaged.validation_probabilities.argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(averaged.kept["accuracy"])


def test_frozen_layers_stay_as_they_are_batch_norm_included(store: Store, tmp_path: Path) -> None:
    frozen = ("features.0", "features.1")
    job = make_job(store, frozen=frozen)
    before = {key: value.clone() for key, value in job.tagger.network.state_dict().items()}
    after = fit(job, tmp_path / "checkpoint", Rows()).tagger.network.state_dict()
    is_changed = {key: not torch.equal(after[key], value) for key, value in before.items()}
    assert not any(is_changed[key] for key in before if key.startswith(frozen))
    assert any(is_changed.values())


def test_a_backbone_lr_multiplier_of_zero_trains_the_head_alone(
    store: Store, tmp_path: Path
) -> None:
    job = make_job(store, recipe=recipe_with(backbone_lr_multiplier=0.0, l2=0.0), head=HEAD)
    before = {key: value.clone() for key, value in job.tagger.network.named_parameters()}
    fitted = fit(job, tmp_path / "checkpoint", Rows())
    for key, value in fitted.tagger.network.named_parameters():
        assert torch.equal(value, before[key]) == (key not in HEAD), key


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("is_kept", [True, False])
def test_batch_norm_of_a_backbone_keeps_what_it_learned_to_the_bit_where_it_is_frozen(
    store: Store, tmp_path: Path, is_kept: bool, ema_decay: float
) -> None:
    recipe = recipe_with(freeze_batch_norm=is_kept, ema_decay=ema_decay, epochs=2)
    job = make_job(store, recipe=recipe, head=HEAD)
    before = {key: value.clone() for key, value in job.tagger.network.state_dict().items()}
    after = fit(job, tmp_path / "checkpoint", Rows()).tagger.network.state_dict()
    is_same = {key: torch.equal(after[key], value) for key, value in before.items()}
    norms = {key for key in before if "norm." in key}
    assert {key.split(".")[-1] for key in norms} >= {"running_mean", "running_var", "weight"}
    assert {is_same[key] for key in norms} == {is_kept}
    assert not any(is_same[key] for key in before.keys() - norms)


@pytest.mark.slow
def test_clips_of_several_tags_are_learned_by_the_same_loop(store: Store, tmp_path: Path) -> None:
    clips = clip_table(0, 18)
    clips["label"] = clips["label"].replace("Bark", "Bark;Cough")
    recipe = recipe_with(**LONG, monitor="roc_auc", plateau_patience=40)
    fitted = fit(make_job(store, clips, recipe=recipe), tmp_path / "checkpoint", Rows())
    assert fitted.tagger.activation == "sigmoid"
    assert fitted.kept["roc_auc"] > 0.8
    assert "accuracy" not in fitted.kept


def test_an_auxiliary_task_has_its_own_soft_max_and_its_own_targets(
    store: Store, tmp_path: Path
) -> None:
    clips = clip_table(0, 18).assign(aux_label=[f"event {i % 6}" for i in range(18)])
    job = make_job(store, clips)
    assert job.train.task.aux_labels == [f"event {i}" for i in range(6)]
    np.testing.assert_allclose(job.train.targets[:, 3:].argmax(axis=1), np.arange(12) % 6)
    fitted = fit(job, tmp_path / "checkpoint", Rows())
    assert fitted.validation_probabilities.shape == (6, len(TAGS))
    np.testing.assert_allclose(fitted.validation_probabilities.sum(axis=1), 1, rtol=1e-5)


def test_a_gradient_clip_of_zero_is_off(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips: list[float] = []
    monkeypatch.setattr(loop, "clip_grad_norm_", lambda _, largest: clips.append(largest))
    for n, largest in enumerate((5.0, 0.0)):
        job = make_job(store, recipe=recipe_with(epochs=1, gradient_clip=largest))
        fit(job, tmp_path / f"checkpoint{n}", Rows())
    assert clips == [5.0] * job.sampler.n_batches
