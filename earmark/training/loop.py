"""One training loop for every network: epochs of steps, each validated, the weights of one kept.

Shapes: B clips or patches, K tags, A auxiliary labels.
"""

import logging
import math
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from earmark.errors import UserError
from earmark.evaluation.points import check_metric
from earmark.seeding import rng_for, seed_for
from earmark.training import optimizers
from earmark.training.batches import Units
from earmark.training.checkpoints import Progress, State, copy_weights, resume
from earmark.training.finished import go_on, limits, may_go_on
from earmark.training.job import Fitted, Job, Watcher
from earmark.training.losses import batch_loss, clip_losses, smoothed
from earmark.training.mixup import masked, mixup
from earmark.training.progress import EpochProgress
from earmark.training.validation import NOT_FINITE_FIX, close_epoch, training_scores, validate
from earmark.turns import give_way

logger = logging.getLogger(__name__)


def fit(job: Job, checkpoint: Path, watcher: Watcher, *, finished: Path | None = None) -> Fitted:
    """Train to the end, or go on where a killed run stopped, and keep the weights of one epoch.

    An interrupted training ends in the same weights as an undisturbed one, on the same machine with
    the same number of threads.

    Args:
        job: what is trained, on what, and how.
        checkpoint: the file of the work in progress; where it is there, training goes on from it.
        watcher: is told the values of each epoch.
        finished: where a training of fewer epochs may lie, which this one then goes on from.

    Raises:
        UserError: the recipe does not fit the corpus or the network, or training diverges.
    """
    state = _start(job, checkpoint, finished)
    for row in state.progress.history:  # of the killed run; the tracked run adds what it lacks
        watcher.log_epoch(row)
    n_done = state.progress.epoch
    with EpochProgress(job.name, job.recipe, n_done=n_done) as bar:
        while not state.progress.is_done:
            _train_epoch(job, state, checkpoint)
            close_epoch(job, state)
            state.save(checkpoint)
            watcher.log_epoch(state.progress.history[-1])
            bar.close_epoch(state.progress.history)
    state.network.load_state_dict(state.best)
    tagger = replace(job.tagger, network=state.network)
    probabilities = validate(tagger, job.validation, job.device, job.recipe)
    history = state.progress.history
    kept = history[state.progress.best_epoch]
    kept |= training_scores(tagger, job)
    return Fitted(tagger, kept, history, probabilities)


def _start(job: Job, checkpoint: Path, finished: Path | None) -> State:
    key = f"monitor (model, finetune or the training of {job.name})"
    check_metric(job.recipe.monitor, job.validation.task, key=key, others=("loss",))
    network = job.device.place(job.tagger.network)
    optimizers.freeze(network, job)
    optimizer = optimizers.build_optimizer(network, job)
    keeps_all = finished is not None and may_go_on(job.recipe)
    state = State(network, optimizer, best=copy_weights(network), keeps_all=keeps_all)
    is_left = resume(state, checkpoint)
    is_longer = (
        not is_left and finished is not None and go_on(state, job.recipe, finished, name=job.name)
    )
    state.progress.limits = limits(job.recipe)
    if not (is_left or is_longer):
        state.average = copy_weights(network) if job.recipe.ema_decay else {}
        return state
    if is_longer:  # from here on it is work of its own
        state.save(checkpoint)
    if state.progress.is_done:
        logger.info("%s: was trained to the end before; its outputs are written again", job.name)
    else:
        epoch, step = state.progress.epoch + 1, state.progress.step + 1
        logger.info("%s: going on at epoch %d, step %d", job.name, epoch, step)
    return state


def _train_epoch(job: Job, state: State, checkpoint: Path) -> None:
    progress = state.progress
    # Keyed by the epoch: a training that goes on in the middle of it draws the same order again.
    order = job.sampler.order(rng_for(job.recipe.seed, job.name, "order", progress.epoch))
    saved_at = time.monotonic()
    # Validation left it in evaluation mode.
    optimizers.set_train_mode(state.network, optimizers.frozen_parts(state.network, job))
    loss_sum = torch.tensor(progress.loss_sum, dtype=torch.float64, device=job.device.name)
    while progress.step < len(order):
        loss_sum += train_step(job, state, order[progress.step])
        progress.step += 1
        progress.plateau.stage_updates += 1
        give_way()
        if time.monotonic() - saved_at > job.checkpoint_seconds:
            progress.loss_sum = _checked(loss_sum, job, progress)
            state.save(checkpoint)
            saved_at = time.monotonic()
    progress.loss_sum = _checked(loss_sum, job, progress)


def _checked(loss_sum: Tensor, job: Job, progress: Progress) -> float:
    """The sum of an epoch's losses so far, before weights that they may have spoiled are kept.

    Not after each step: to read a value, a GPU is waited for, which then waits for the next batch.
    """
    value = loss_sum.item()
    if not math.isfinite(value):
        epoch = progress.epoch + 1
        raise UserError(f"{job.name}: the loss became {value} in epoch {epoch}; {NOT_FINITE_FIX}")
    return value


def train_step(job: Job, state: State, units: Units) -> Tensor:
    """Update the weights by one batch; returns its loss."""
    recipe, tagger, progress = job.recipe, job.tagger, state.progress
    n_tags, activation = len(tagger.tags), tagger.activation
    keys = (job.name, "step", progress.epoch, progress.step)
    rng = rng_for(recipe.seed, *keys)  # all that is drawn for this batch, in the order of the lines
    torch.manual_seed(seed_for(recipe.seed, *keys) >> 1)  # dropout; torch takes 63 bits
    optimizers.set_learning_rate(state.optimizer, job.learning_rate(progress))

    batch = job.sampler.gather(units, rng)
    mixed = mixup(batch, tagger.input, recipe, device=job.device.name, rng=rng)
    x = masked(mixed.x, recipe, rng)
    targets = mixed.targets
    targets = smoothed(targets, n_tags=n_tags, activation=activation, amount=recipe.label_smoothing)

    with job.device.autocast():  # the forward pass alone: losses are computed in float32
        logits = state.network(x)  # (B, K + A)
    weight = recipe.aux_weight
    losses = clip_losses(logits, targets, n_tags=n_tags, activation=activation, aux_weight=weight)
    loss = batch_loss(losses, mixed.unverified, recipe, clip_weights=mixed.weights)

    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if recipe.gradient_clip:
        clip_grad_norm_(state.network.parameters(), recipe.gradient_clip)
    state.optimizer.step()
    if state.average:  # empty where ema_decay is 0
        n_updates = progress.plateau.stage_updates
        optimizers.update_ema(state.average, state.network, recipe.ema_decay, n_updates)
    return loss.detach()
