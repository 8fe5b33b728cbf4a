"""One plain training loop for every network.

Shapes: B clips or patches, K tags, V validation clips.
"""

import hashlib
import json
import logging
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from earmark.ensemble.crops import mean_over_crops
from earmark.errors import UserError
from earmark.evaluation.points import check_metric, point_values
from earmark.networks import Network
from earmark.params import Recipe
from earmark.seeding import rng_for, seed_for
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger
from earmark.training.batches import Examples, Sampler
from earmark.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from earmark.training.losses import batch_loss, clip_losses, smoothed
from earmark.training.mixup import draw_mix, masked, mixed_input
from earmark.training.schedules import learning_rate

logger = logging.getLogger(__name__)

Weights = dict[str, Tensor]


class Watcher(Protocol):
    """What follows a training from outside, epoch by epoch."""

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides how a training goes; `name` keys its random draws.

    `frozen` are beginnings of parameters' names; `head` are the tensors that stand fresh on a
    trained backbone, whose learning rate is the recipe's `backbone_lr_multiplier` times theirs.
    """

    name: str
    seed: int
    recipe: Recipe
    tagger: Tagger
    sampler: Sampler
    validation: Examples
    device: Device
    checkpoint_seconds: float = 60.0
    frozen: tuple[str, ...] = ()
    head: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fitted:
    """A trained model at its best epoch, and how it came there."""

    tagger: Tagger
    best: dict[str, float]
    history: list[dict[str, float]]
    validation_probabilities: NDArray[np.float32]  # (V, K)


@dataclass
class State:
    """A training in progress: all that a checkpoint keeps."""

    network: Network
    optimizer: torch.optim.Optimizer
    best: Weights
    average: Weights = field(default_factory=dict)  # running mean of the weights, where wanted
    progress: Progress = field(default_factory=Progress)

    def save(self, path: Path) -> None:
        save_checkpoint(path, self.network, self.optimizer, self.best, self.average, self.progress)

    def begin_stage(self) -> None:
        """Go back to the best weights so far, with an optimiser that remembers nothing."""
        self.network.load_state_dict(self.best)
        self.optimizer.state.clear()
        self.progress.plateau.stage_updates = 0
        self.average = {key: value.clone() for key, value in self.best.items() if self.average}


def fit(job: Job, checkpoint: Path, watcher: Watcher) -> Fitted:
    """Train to the end, or go on where a killed run stopped; the best epoch's weights are kept.

    Every draw is keyed by epoch and step, so that an interrupted training ends in the same weights
    as an undisturbed one on the same machine with the same number of threads.
    """
    state = _start(job, checkpoint)
    progress = state.progress
    for row in progress.history:
        watcher.log_epoch(int(row["epoch"]), row)
    bar = tqdm(total=job.recipe.epochs, initial=progress.epoch, desc=job.name, disable=None)
    with bar:
        while not progress.is_done:
            _train_epoch(job, state, checkpoint)
            _close_epoch(job, state)
            state.save(checkpoint)
            watcher.log_epoch(int(progress.history[-1]["epoch"]), progress.history[-1])
            bar.set_postfix(best=f"{progress.best_value:.3f}")
            bar.update()
    state.network.load_state_dict(state.best)
    tagger = replace(job.tagger, network=state.network)
    probabilities = validate(tagger, job.validation, job.device, job.recipe)
    return Fitted(tagger, progress.history[progress.best_epoch], progress.history, probabilities)


def _start(job: Job, checkpoint: Path) -> State:
    key = f"monitor (model, finetune or the training of {job.name})"
    check_metric(job.recipe.monitor, job.validation.task, key=key, others=("loss",))
    network = job.device.place(job.tagger.network)
    _freeze(network, job)
    state = State(network, _optimizer(network, job), _copy(network))
    if checkpoint.exists():
        loaded = load_checkpoint(checkpoint, network, state.optimizer)
        state.best, state.average, state.progress = loaded
        progress = state.progress
        logger.info("%s: going on at epoch %d, step %d", job.name, progress.epoch, progress.step)
    elif job.recipe.ema_decay:
        state.average = _copy(network)
    return state


def _freeze(network: Network, job: Job) -> None:
    """Take the frozen parameters out of training; each given name must be that of some."""
    parameters = dict(network.named_parameters())
    for beginning in job.frozen:
        found = [name for name in parameters if name.startswith(beginning)]
        if not found:
            some = ", ".join(list(parameters)[:3])
            raise UserError(f"{job.name}: frozen: no parameter begins with {beginning!r} ({some})")
        for name in found:
            parameters[name].requires_grad_(False)


def _train_mode(network: Network, frozen: tuple[str, ...]) -> None:
    """Training mode but for frozen layers, whose batch norm keeps its statistics."""
    network.train()
    for name, module in network.named_modules():
        if name and f"{name}.".startswith(frozen):
            module.eval()


def _train_epoch(job: Job, state: State, checkpoint: Path) -> None:
    progress = state.progress
    order = job.sampler.order(rng_for(job.seed, job.name, "order", progress.epoch))
    saved_at = time.monotonic()
    _train_mode(state.network, job.frozen)
    while progress.step < len(order):
        progress.loss_sum += _train_step(job, state, order[progress.step])
        progress.step += 1
        progress.plateau.stage_updates += 1
        if time.monotonic() - saved_at > job.checkpoint_seconds:
            state.save(checkpoint)
            saved_at = time.monotonic()


def _train_step(job: Job, state: State, positions: NDArray[np.int64]) -> float:
    recipe, progress = job.recipe, state.progress
    keys = (job.name, "step", progress.epoch, progress.step)
    rng = rng_for(job.seed, *keys)
    torch.manual_seed(seed_for(job.seed, *keys) >> 1)  # dropout
    rate = _rate(job, progress)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    loss = _loss(job, state.network, positions, rng)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), recipe.gradient_clip)
    state.optimizer.step()
    if state.average:
        _update_ema(state, recipe.ema_decay)
    value = loss.item()
    if not math.isfinite(value):
        fix = "lower the learning rate, or set runtime.precision to float32"
        raise UserError(f"{job.name}: the loss became {value} in epoch {progress.epoch}; {fix}")
    return value


def _loss(
    job: Job, network: Network, positions: NDArray[np.int64], rng: np.random.Generator
) -> Tensor:
    """The loss of one batch: gathered, mixed, masked, and weighed by how far it is trusted."""
    recipe, tagger, device = job.recipe, job.tagger, job.device.name
    batch = job.sampler.gather(positions, rng)
    targets, doubt = (torch.from_numpy(a).to(device) for a in (batch.targets, batch.doubt))
    mix = draw_mix(len(targets), recipe, rng)
    x = mixed_input(batch.segments, tagger.input, recipe, mix, device)
    if mix is not None:
        targets, doubt = mix(targets), mix(doubt)
    if recipe.mask_frames or recipe.mask_bands:
        x = (x[0], masked(x[1], recipe, rng)) if isinstance(x, tuple) else masked(x, recipe, rng)
    n_tags, activation = len(tagger.tags), tagger.activation
    amount = recipe.label_smoothing
    targets = smoothed(targets, n_tags=n_tags, activation=activation, amount=amount)
    with job.device.autocast():
        logits = network(x)
    weight = recipe.aux_weight
    losses = clip_losses(logits, targets, n_tags=n_tags, activation=activation, aux_weight=weight)
    return batch_loss(
        losses,
        doubt,
        noisy_label_weight=recipe.noisy_label_weight,
        drop_share=recipe.noisy_label_drop,
    )


def _update_ema(state: State, decay: float) -> None:
    """Move the running mean of the weights on; it follows fast at first, when it knows little."""
    n_updates = state.progress.plateau.stage_updates
    decay = min(decay, (1 + n_updates) / (10 + n_updates))
    for key, value in state.network.state_dict().items():
        if value.is_floating_point():
            state.average[key].lerp_(value, 1 - decay)
        else:
            state.average[key].copy_(value)


def _rate(job: Job, progress: Progress) -> float:
    n_batches = job.sampler.n_batches
    update = progress.epoch * n_batches + progress.step
    return learning_rate(job.recipe, progress.plateau, update=update, n_batches=n_batches)


def _close_epoch(job: Job, state: State) -> None:
    """Validate, keep the weights if they are the best so far, and decide whether to stop."""
    recipe, progress = job.recipe, state.progress
    rate = _rate(job, replace(progress, step=progress.step - 1))
    weights = _copy(state.network) if state.average else {}
    if state.average:
        state.network.load_state_dict(state.average)
    scores = _validation_scores(replace(job.tagger, network=state.network), job)
    train_loss = progress.loss_sum / job.sampler.n_batches
    progress.history.append(
        {"epoch": progress.epoch, "train_loss": train_loss, **scores, "learning_rate": rate}
    )
    value = -scores["validation_loss"] if recipe.monitor == "loss" else scores[recipe.monitor]
    value = -math.inf if math.isnan(value) else value  # such as an area where every clip has a tag
    progress.epochs_without_improvement += 1
    if progress.best_epoch < 0 or value > progress.best_value:
        progress.best_epoch, progress.best_value, progress.epochs_without_improvement = (
            progress.epoch,
            value,
            0,
        )
        state.best = _copy(state.network)
    if state.average:
        state.network.load_state_dict(weights)
    is_lowered = progress.plateau.step(
        scores["validation_loss"], factor=recipe.plateau_factor, patience=recipe.plateau_patience
    )
    progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
    progress.is_done = (
        progress.epoch >= recipe.epochs or progress.epochs_without_improvement >= recipe.patience
    )
    if recipe.schedule == "multistep" and is_lowered:
        state.begin_stage()
        progress.is_done |= progress.plateau.stage >= recipe.multistep_stages


def _validation_scores(tagger: Tagger, job: Job) -> dict[str, float]:
    probabilities = validate(tagger, job.validation, job.device, job.recipe).astype(np.float64)
    if not np.isfinite(probabilities).all():
        fix = "lower the learning rate, or set runtime.precision to float32"
        raise UserError(f"{job.name}: the network's answers became infinite or NaN; {fix}")
    targets = job.validation.tag_targets
    log_yes = np.log(np.maximum(probabilities, 1e-12))
    if tagger.activation == "softmax":
        losses = -(targets * log_yes).sum(axis=1)
    else:
        log_no = np.log(np.maximum(1 - probabilities, 1e-12))
        losses = -(targets * log_yes + (1 - targets) * log_no).mean(axis=1)
    is_multi_label = tagger.activation == "sigmoid"
    found = point_values(probabilities, targets, is_multi_label=is_multi_label)
    found.pop("threshold", None)
    return {"validation_loss": float(losses.mean()), **found}


def validate(
    tagger: Tagger, examples: Examples, device: Device, recipe: Recipe
) -> NDArray[np.float32]:
    """Probabilities `(V, K)`: the mean over a few evenly spaced segments of each clip."""
    crops, counts = [], []
    for position in range(len(examples)):
        found = tagger.input.even_segments(examples.original(position), recipe.validation_crops)
        crops += found
        counts.append(len(found))
    said = tagger.clip_probabilities(crops, device, batch_size=recipe.batch_size)
    clip_starts = np.cumsum([0, *counts[:-1]])
    return np.asarray(mean_over_crops(said, clip_starts), dtype=np.float32)


def _optimizer(network: nn.Module, job: Job) -> torch.optim.Optimizer:
    """Adam, or SGD with Nesterov's momentum, with Keras-like L2.

    `l2 * sum w^2` in the loss is `2 * l2 * w` in the gradient; on kernels alone, neither on biases
    nor on batch norm (Shan & Ren, section 2.2).
    """
    recipe = job.recipe
    groups: list[dict[str, Any]] = []
    for is_head in (False, True):
        named = [(n, p) for n, p in network.named_parameters() if (n in job.head) == is_head]
        share = 1.0 if is_head or not job.head else recipe.backbone_lr_multiplier
        for is_kernel in (True, False):
            chosen = [p for _, p in named if (p.ndim > 1) == is_kernel and p.requires_grad]
            decay = 2 * recipe.l2 if is_kernel else 0.0
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "share": share})
    if not groups:
        raise UserError(f"{job.name}: frozen: {job.frozen} leaves nothing to train; name fewer")
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.base_lr, fused=True)
    momentum = recipe.momentum
    return torch.optim.SGD(groups, lr=recipe.base_lr, momentum=momentum, nesterov=momentum > 0)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _digest(examples: Examples) -> str:
    data = examples.targets.tobytes() + examples.doubt.tobytes()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def job_key(job: Job, fold_clips: dict[str, list[str]], code: str) -> dict[str, Any]:
    """What the work in progress of a job depends on, for its folder's name."""
    return {
        "name": job.name,
        "seed": job.seed,
        "recipe": job.recipe.model_dump(),
        "network": [job.tagger.network_name, job.tagger.network_options],
        "frozen": [job.frozen, sorted(job.head)],
        "input": json.dumps(job.tagger.input.__dict__, sort_keys=True, default=str),
        "tags": job.tagger.tags,
        "data": job.sampler.examples.store.digest,
        "clips": fold_clips,
        "task": job.sampler.examples.task.__dict__,
        "labels": [_digest(e) for e in (job.sampler.examples, job.validation)],
        "device": job.device.__dict__,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "code": code,
    }
