"""A training in progress, kept so that a kill at any moment costs little.

A checkpoint is one safetensors file in a folder whose name is a hash of all that the training
depends on.
"""

import fcntl
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from earmark.networks import Network
from earmark.store import whole_file
from earmark.taggers.weights import save_tensors
from earmark.training.schedules import Plateau

logger = logging.getLogger(__name__)

KEPT_DAYS = 14

Weights = dict[str, Tensor]


@dataclass
class Progress:
    """Where a training stands; all of it that is not a tensor. Epochs and steps count from 0.

    Attributes:
        epoch, step: the next to do.
        loss_sum: of the steps done in this epoch.
        history: one row per epoch done, in which `epoch` counts from 1, as everything shown does.
        best_epoch: the row of `history` whose weights are kept; -1 before the first.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_value: float = float("-inf")
    epochs_without_improvement: int = 0
    is_done: bool = False
    plateau: Plateau = field(default_factory=Plateau)


@dataclass
class State:
    """A training in progress: all that a checkpoint keeps.

    Attributes:
        best: the weights of the best epoch so far, or those at the start.
        average: the running mean of the weights; empty where the recipe wants none.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    best: Weights
    average: Weights = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network has its averaged weights within the block, where there are some."""
        if not self.average:
            yield
            return
        weights = copy_weights(self.network)
        self.network.load_state_dict(self.average)
        yield
        self.network.load_state_dict(weights)

    def begin_stage(self) -> None:
        """Go back to the best weights so far, with an optimiser that remembers nothing."""
        self.network.load_state_dict(self.best)
        self.optimizer.state.clear()
        self.progress.plateau.stage_updates = 0
        self.average = {key: value.clone() for key, value in self.best.items() if self.average}

    def save(self, path: Path) -> None:
        """Write all that training needs to go on, whole or not at all; when done, the best alone.

        Raises:
            UserError: the disk is full.
        """
        tensors = {f"best.{key}": value for key, value in self.best.items()}
        if not self.progress.is_done:
            tensors |= {f"average.{key}": value for key, value in self.average.items()}
            tensors |= {f"network.{key}": value for key, value in self.network.state_dict().items()}
            for index, state in self.optimizer.state_dict()["state"].items():
                known = {key: value for key, value in state.items() if value is not None}
                tensors |= {f"optimizer.{index}.{key}": value for key, value in known.items()}
        with whole_file(path) as part:
            save_tensors(part, tensors, {"progress": json.dumps(asdict(self.progress))})

    def load(self, path: Path) -> None:
        """Stand where a saved training stood."""
        with safe_open(path, "pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        groups: dict[str, Weights] = {"network": {}, "best": {}, "average": {}, "optimizer": {}}
        for key, value in tensors.items():
            group, name = key.split(".", 1)
            groups[group][name] = value
        self.best, self.average = groups["best"], groups["average"]
        self.network.load_state_dict(groups["network"] or self.best)
        _load_optimizer(self.optimizer, groups["optimizer"])
        self.progress = Progress(**{**progress, "plateau": Plateau(**progress["plateau"])})


def copy_weights(network: nn.Module) -> Weights:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Weights) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        # In the parameter's own memory layout: other strides take other vector paths, whose last
        # bits differ, and the rest of the training with them.
        like = torch.empty_like(parameter) if value.shape == parameter.shape else value.clone()
        optimizer.state[parameter][name] = like.copy_(value)


@contextmanager
def work_in_progress(home: Path, key: dict[str, Any]) -> Iterator[Path]:
    """Hold the work named by `key` alone, and yield the path of its checkpoint.

    The block trains and writes the outputs. If it ends well, the checkpoint is removed, so that
    `dvc repro -f` trains again. The removal comes last, when the process is about to end: after a
    kill before it, the next run finds the finished checkpoint and writes the outputs again without
    training. After a kill in the second between it and DVC's record, the outputs are whole in the
    workspace, and `dvc commit` records them; `dvc repro` trains again, since this case looks like
    `dvc repro -f` from here.

    If another process does the same work (a queued experiment that changes something else), this
    one waits. A process that ends while others wait leaves them the finished checkpoint, so that
    they do not train again; the last one removes it. Work left by a kill is removed after 14 days.
    """
    text = json.dumps(key, sort_keys=True, default=str)
    folder = home / "work" / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    # Locks, not files that say who waits: the system drops them with a process that is killed.
    with (folder / "lock").open("w") as lock, (folder / "waiting").open("w") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_SH)
        if not _locked_now(lock):
            logger.info("another run trains this very model; waiting for it (%s)", folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(waiting, fcntl.LOCK_UN)
        _remove_old(home / "work", keep=folder)
        yield checkpoint
        # The lock files stay: one that is removed while another process opens it locks nothing.
        if _locked_now(waiting):
            checkpoint.unlink(missing_ok=True)


def _locked_now(file: Any) -> bool:
    """Lock a file unless another process holds a lock on it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_old(work: Path, *, keep: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in work.iterdir():
        stamps = [path.stat().st_mtime for path in (folder, *folder.glob("*"))]
        if folder != keep and max(stamps) < oldest:
            shutil.rmtree(folder, ignore_errors=True)
