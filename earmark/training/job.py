"""What a training is given and what it gives: all that decides its course, and its result.

Shapes: V validation clips, K tags.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earmark.params import Recipe
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger
from earmark.training.batches import Sampler
from earmark.training.checkpoints import Progress
from earmark.training.examples import Examples, Split
from earmark.training.resident import resident_if_it_fits
from earmark.training.schedules import learning_rate


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides how a training goes.

    Attributes:
        member, fold: the model is kept in models/<member>/<fold>/; both key the random draws.
        recipe: `model` or `finetune` of params.yaml, with the entry's own values.
        tagger: the network as it starts, and its input.
        train, validation: the clips of the fold; there are no validation clips where all train.
        inner: training clips that are held out to choose the epoch; None where the recipe's
            `epoch_choice` is not inner_split.
        device: where and how precisely the network is computed.
        checkpoint_seconds: between two checkpoints within an epoch; changes no result.
        max_patches: see Sampler; None for models, which read one crop per clip.
        frozen: beginnings of the names of parameters that stay as they are.
        head: tensors that stand fresh on a trained backbone, which has rates of its own, see
            `optimizers.lr_scales`. Empty: one rate for all.
        splits: of the training clips, to choose on where the network is fitted at once.
        metadata: what model.json says beside, such as the weights that training starts from.
    """

    member: str
    fold: str
    recipe: Recipe
    tagger: Tagger
    train: Examples
    validation: Examples
    device: Device
    checkpoint_seconds: float
    inner: Examples | None = None
    max_patches: int | None = None
    frozen: tuple[str, ...] = ()
    head: frozenset[str] = frozenset()
    splits: list[Split] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages begin with; a key of all random draws."""
        return f"{self.member}-{self.fold}"

    @cached_property
    def sampler(self) -> Sampler:
        return Sampler(
            examples=self.train,
            input=self.tagger.input,
            recipe=self.recipe,
            max_patches=self.max_patches,
            resident=resident_if_it_fits(self.train.store, self.tagger.input, self.device.name),
        )

    def learning_rate(self, progress: Progress) -> float:
        """The rate of the step that comes next."""
        n_batches = self.sampler.n_batches
        update = progress.epoch * n_batches + progress.step
        return learning_rate(self.recipe, progress.plateau, update=update, n_batches=n_batches)

    def learning_rates(self, progress: Progress) -> dict[str, float]:
        """The mean, the lowest and the highest rate of the updates of an epoch, at its end.

        One rate of an epoch would say nothing of a cycle that is about as long.
        """
        n_batches, plateau = self.sampler.n_batches, progress.plateau
        rates = []
        for step in range(n_batches):
            then = replace(plateau, stage_updates=plateau.stage_updates - n_batches + step)
            rates.append(self.learning_rate(replace(progress, step=step, plateau=then)))
        return {
            # not sum(), which rounds otherwise since Python 3.12
            "learning_rate": reduce(add, rates, 0.0) / n_batches,
            "learning_rate_low": min(rates),
            "learning_rate_high": max(rates),
        }


@dataclass(frozen=True)
class Fitted:
    """A trained model at the epoch that is kept, and how it came there.

    Attributes:
        kept: the row of `history` of that epoch, which alone has the scores of training clips.
        history: one row per epoch, in which `epoch` counts from 1.
    """

    tagger: Tagger
    kept: dict[str, float]
    history: list[dict[str, float]]
    validation_probabilities: NDArray[np.float32]  # (V, K)


class Watcher(Protocol):
    """What follows a training from outside; `values` is a row of its history."""

    def log_epoch(self, values: dict[str, float]) -> None: ...


def job_key(job: Job, code: str) -> dict[str, Any]:
    """What the result of a training depends on, so that work of another job is never continued.

    `code` is the digest of the code that can reach the result.
    """
    held_out = [job.validation, *([job.inner] if job.inner else [])]
    return {
        "name": job.name,
        "recipe": job.recipe.model_dump(),
        "network": [job.tagger.network_name, job.tagger.network_options],
        "frozen": [job.frozen, sorted(job.head)],
        "fixed": _fixed_digest(job.tagger.network),
        "max_patches": job.max_patches,
        "input": json.dumps(job.tagger.input.__dict__, sort_keys=True, default=str),
        "data": job.train.store.digest,
        "task": job.train.task.__dict__,
        "clips": [examples.clips for examples in (job.train, *held_out)],
        "labels": [_labels_digest(examples) for examples in (job.train, *held_out)],
        "metadata": job.metadata,
        "device": job.device.__dict__,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "code": code,
    }


def _fixed_digest(network: nn.Module) -> str:
    """Of parameters that a network never trains, such as backbones that another training made."""
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _labels_digest(examples: Examples) -> str:
    arrays = (examples.learned_targets, examples.unverified, examples.weights)
    labels = b"".join(array.tobytes() for array in arrays)
    return hashlib.blake2b(labels, digest_size=16).hexdigest()
