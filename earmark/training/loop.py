"""One plain training loop for every network.

Shapes: B clips or patches, K tags, V validation clips.
"""

import json
import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from earmark.errors import UserError
from earmark.inference import Device, Tagger
from earmark.networks import Network
from earmark.params import Recipe
from earmark.scoring import average_precision_at
from earmark.seeding import rng_for, seed_for
from earmark.segments import even_starts
from earmark.training.batches import Examples, Sampler
from earmark.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from earmark.training.losses import mixup, soft_cross_entropy
from earmark.training.schedules import triangular

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """What follows a training from outside, epoch by epoch."""

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides how a training goes; `name` keys its random draws."""

    name: str
    seed: int
    recipe: Recipe
    tagger: Tagger
    sampler: Sampler
    validation: Examples
    device: Device


@dataclass(frozen=True)
class Fitted:
    """A trained model at its best epoch, and how it came there."""

    tagger: Tagger
    best: dict[str, float]
    history: list[dict[str, float]]
    validation_probabilities: NDArray[np.float32]  # (V, K)


def fit(job: Job, checkpoint: Path, watcher: Watcher) -> Fitted:
    """Train to the end, or go on where a killed run stopped; the best epoch's weights are kept.

    Every draw is keyed by epoch and step, so that an interrupted training ends in the same weights
    as an undisturbed one on the same machine with the same number of threads.
    """
    network = job.device.place(job.tagger.network)
    optimizer = _optimizer(network, job.recipe)
    best, progress = _copy(network), Progress()
    if checkpoint.exists():
        best, progress = load_checkpoint(checkpoint, network, optimizer)
        logger.info("%s: going on at epoch %d, step %d", job.name, progress.epoch, progress.step)
    for row in progress.history:
        watcher.log_epoch(int(row["epoch"]), row)
    bar = tqdm(total=job.recipe.epochs, initial=progress.epoch, desc=job.name, disable=None)
    with bar:
        while not progress.is_done:
            _train_epoch(job, network, optimizer, best, progress, checkpoint)
            best = _close_epoch(job, network, best, progress)
            save_checkpoint(checkpoint, network, optimizer, best, progress)
            watcher.log_epoch(int(progress.history[-1]["epoch"]), progress.history[-1])
            bar.set_postfix(best=f"{progress.best_value:.3f}")
            bar.update()
    network.load_state_dict(best)
    tagger = replace(job.tagger, network=network)
    probabilities = validate(tagger, job.validation, job.device, job.recipe)
    return Fitted(tagger, progress.history[progress.best_epoch], progress.history, probabilities)


def _train_epoch(
    job: Job,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    progress: Progress,
    checkpoint: Path,
) -> None:
    order = job.sampler.order(rng_for(job.seed, job.name, "order", progress.epoch))
    saved_at = time.monotonic()
    network.train()
    while progress.step < len(order):
        progress.loss_sum += _train_step(job, network, optimizer, progress, order[progress.step])
        progress.step += 1
        if time.monotonic() - saved_at > job.recipe.checkpoint_seconds:
            save_checkpoint(checkpoint, network, optimizer, best, progress)
            saved_at = time.monotonic()


def _train_step(
    job: Job,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    positions: NDArray[np.int64],
) -> float:
    keys = (job.name, "step", progress.epoch, progress.step)
    rng = rng_for(job.seed, *keys)
    torch.manual_seed(seed_for(job.seed, *keys) >> 1)  # dropout
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(job, progress)
    batch = job.sampler.gather(positions, rng)
    x = job.tagger.input.tensor(batch.segments, job.device)
    targets = torch.from_numpy(batch.targets).to(job.device.name)
    x, targets = mixup(x, targets, alpha=job.recipe.mixup_alpha, rng=rng)
    with job.device.autocast():
        logits = network(x)
    loss = soft_cross_entropy(logits, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), job.recipe.gradient_clip)
    optimizer.step()
    value = loss.item()
    if not math.isfinite(value):
        mend = "lower max_learning_rate, or set runtime.precision to float32"
        raise UserError(f"{job.name}: the loss became {value} in epoch {progress.epoch}; {mend}")
    return value


def learning_rate(job: Job, progress: Progress) -> float:
    """Triangular cycles whose both bounds the plateau scales (Shan & Ren, section 2.2)."""
    n_batches = job.sampler.n_batches
    return progress.plateau.scale * triangular(
        progress.epoch * n_batches + progress.step,
        base=job.recipe.base_learning_rate,
        peak=job.recipe.max_learning_rate,
        half_cycle=job.recipe.half_cycle_epochs * n_batches,
    )


def _close_epoch(
    job: Job, network: Network, best: dict[str, Tensor], progress: Progress
) -> dict[str, Tensor]:
    """Validate, keep the weights if they are the best so far, and decide whether to stop."""
    tagger = replace(job.tagger, network=network)
    scores = _validation_scores(tagger, job)
    progress.history.append(
        {
            "epoch": progress.epoch,
            "train_loss": progress.loss_sum / job.sampler.n_batches,
            **scores,
            "learning_rate": learning_rate(job, replace(progress, step=progress.step - 1)),
        }
    )
    value = scores["map_at_3"] if job.recipe.monitor == "map_at_3" else -scores["validation_loss"]
    progress.bad_epochs += 1
    if value > progress.best_value:
        progress.best_epoch, progress.best_value, progress.bad_epochs = progress.epoch, value, 0
        best = _copy(network)
    recipe = job.recipe
    progress.plateau.step(
        scores["validation_loss"], factor=recipe.plateau_factor, patience=recipe.plateau_patience
    )
    progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
    progress.is_done = progress.epoch >= recipe.epochs or progress.bad_epochs >= recipe.patience
    return best


def _validation_scores(tagger: Tagger, job: Job) -> dict[str, float]:
    probabilities = validate(tagger, job.validation, job.device, job.recipe).astype(np.float64)
    labels = job.validation.labels
    likelihood = np.take_along_axis(probabilities, labels[:, None], axis=1)
    return {
        "validation_loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        "map_at_3": float(average_precision_at(probabilities, labels, 3).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
    }


def validate(
    tagger: Tagger, examples: Examples, device: Device, recipe: Recipe
) -> NDArray[np.float32]:
    """Probabilities `(V, K)`: the mean over a few evenly spaced segments of each clip."""
    crops, counts = [], []
    for position in range(len(examples)):
        rows = examples.original(position)
        starts = even_starts(len(rows), tagger.input.segment_rows, recipe.validation_crops)
        crops += [tagger.input.cut(rows, start) for start in starts.tolist()]
        counts.append(len(starts))
    found = tagger.clip_probabilities(crops, device, batch_size=recipe.batch_size)
    ends = np.cumsum(counts)
    sums = np.add.reduceat(found, np.concatenate([[0], ends[:-1]]), axis=0)
    return np.asarray(sums / np.array(counts)[:, None], dtype=np.float32)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam with Keras-like L2: `l2 * sum w^2` in the loss is `2 * l2 * w` in the gradient.

    On kernels alone, neither on biases nor on batch norm (Shan & Ren, section 2.2).
    """
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": kernels, "weight_decay": 2 * recipe.l2},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.Adam(groups, lr=recipe.base_learning_rate, fused=True)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def job_key(job: Job, fold_clips: dict[str, list[str]], code: str) -> dict[str, Any]:
    """What the work in progress of a job depends on, for its folder's name."""
    return {
        "name": job.name,
        "seed": job.seed,
        "recipe": job.recipe.model_dump(exclude={"checkpoint_seconds"}),
        "network": [job.tagger.network_name, job.tagger.network_options],
        "input": json.dumps(job.tagger.input.__dict__, sort_keys=True, default=str),
        "tags": job.tagger.tags,
        "data": job.sampler.examples.store.digest,
        "clips": fold_clips,
        "labels": [job.sampler.examples.labels.tolist(), job.validation.labels.tolist()],
        "device": job.device.__dict__,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "code": code,
    }
