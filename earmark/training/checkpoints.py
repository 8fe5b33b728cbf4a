"""A training in progress, kept so that a kill at any moment costs little.

A checkpoint is one safetensors file in a folder whose name is a hash of all that the training
depends on.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from earmark.engines.work_folders import held
from earmark.errors import DamagedError, UserError, reading
from earmark.networks import Network
from earmark.tracking.claims import PREFIX
from earmark.training.schedules import Plateau
from earmark.weights import save_tensors
from earmark.whole_files import discard, whole_file

logger = logging.getLogger(__name__)

KEPT_DAYS = 14
CHECKPOINT = "checkpoint.safetensors"

Weights = dict[str, Tensor]


@dataclass
class Progress:
    """Where a training stands; all of it that is not a tensor. Epochs and steps count from 0.

    Attributes:
        epoch, step: the next to do.
        loss_sum: of the steps done in this epoch.
        history: one row per epoch done, in which `epoch` counts from 1, as everything shown does.
        best_epoch: the row of `history` whose weights are kept; -1 before the first.
        longest_wait: most epochs without improvement that another epoch followed.
        limits: those of the recipe, see `finished.limits`.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_value: float = float("-inf")
    epochs_without_improvement: int = 0
    longest_wait: int = 0
    limits: list[int] = field(default_factory=list)
    is_done: bool = False
    plateau: Plateau = field(default_factory=Plateau)


@dataclass
class State:
    """A training in progress: all that a checkpoint keeps.

    Attributes:
        best: the weights of the best epoch so far, or those at the start.
        average: the running mean of the weights; empty where the recipe wants none.
        keeps_all: also when done, so that a training of more epochs can go on from there.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    best: Weights
    average: Weights = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    keeps_all: bool = False

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
        """Write all that training needs to go on, whole or not at all.

        When done, the best weights alone, unless it `keeps_all`.

        Raises:
            UserError: the disk is full.
        """
        tensors = {f"best.{key}": value for key, value in self.best.items()}
        if self.keeps_all or not self.progress.is_done:
            tensors |= {f"average.{key}": value for key, value in self.average.items()}
            tensors |= {f"network.{key}": value for key, value in self.network.state_dict().items()}
            for index, state in self.optimizer.state_dict()["state"].items():
                known = {key: value for key, value in state.items() if value is not None}
                tensors |= {f"optimizer.{index}.{key}": value for key, value in known.items()}
        with whole_file(path) as part:
            save_tensors(part, tensors, {"progress": json.dumps(asdict(self.progress))})

    def load(self, path: Path, accepts: Callable[[Progress], bool]) -> bool:
        """Stand where a saved training stood; where that cannot be read, nothing has changed.

        Args:
            accepts: whether to stand there; it is asked before any tensor is read.

        Returns:
            What `accepts` answered.

        Raises:
            DamagedError: the checkpoint is cut short, is none of this training, or holds NaN.
        """
        with reading(path):
            with safe_open(path, "pt") as file:
                saved = json.loads(file.metadata()["progress"])
                progress = Progress(**{**saved, "plateau": Plateau(**saved["plateau"])})
                if not accepts(progress):
                    return False
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            groups: dict[str, Weights] = {"network": {}, "best": {}, "average": {}, "optimizer": {}}
            for key, value in tensors.items():
                group, name = key.split(".", 1)
                groups[group][name] = value
            expected = self.network.state_dict()
            for group in ("best", "network", "average"):
                if groups[group] or group == "best":
                    _check_tensors(group, groups[group], expected)
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            moments = _optimizer_state(parameters, groups["optimizer"])
        self.best, self.average = groups["best"], groups["average"]
        self.network.load_state_dict(groups["network"] or self.best)
        for index, state in moments.items():
            self.optimizer.state[parameters[index]].update(state)
        self.progress = progress
        return True


def resume(
    state: State, checkpoint: Path, accepts: Callable[[Progress], bool] = lambda _: True
) -> bool:
    """Stand where a checkpoint stands, if there is one; one that is damaged is discarded.

    Args:
        accepts: as for `State.load`.
    """
    try:
        return state.load(checkpoint, accepts)
    except DamagedError as error:
        logger.warning(
            "%s: damaged (%s); discarded, training starts again", checkpoint, error.reason
        )
        discard(checkpoint)
        return False
    except UserError:  # there is none
        return False


def copy_weights(network: nn.Module) -> Weights:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _check_tensors(group: str, tensors: Weights, expected: Weights) -> None:
    """Refuse tensors that are not those of the network, or are not finite."""
    if odd := sorted(tensors.keys() ^ expected.keys()):
        raise ValueError(f"{group}: {odd[0]} is there or in the network, but not in both")
    for key, value in tensors.items():
        if value.shape != expected[key].shape or value.dtype != expected[key].dtype:
            raise ValueError(f"{group}: {key} has the shape {tuple(value.shape)}")
        if not value.isfinite().all():
            raise ValueError(f"{group}: {key} is not finite")


def _optimizer_state(parameters: list[Tensor], tensors: Weights) -> dict[int, Weights]:
    """The state of each parameter, by its number."""
    states: dict[int, Weights] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        if value.ndim and value.shape != parameter.shape:
            raise ValueError(f"optimizer: {key} has the shape {tuple(value.shape)}")
        if not value.isfinite().all():
            raise ValueError(f"optimizer: {key} is not finite")
        # In the parameter's own memory layout: other strides take other vector paths, whose last
        # bits differ, and the rest of the training with them.
        like = torch.empty_like(parameter) if value.shape == parameter.shape else value.clone()
        states.setdefault(int(index), {})[name] = like.copy_(value)
    return states


@contextmanager
def work_in_progress(home: Path, key: dict[str, Any]) -> Iterator[Path]:
    """Hold the work named by `key` alone, and yield the path of its checkpoint.

    The block trains and writes the outputs. If it ends well, the folder is removed, so that
    `dvc repro -f` trains again. The removal comes last, when the process is about to end: after a
    kill before it, the next run finds the finished checkpoint and writes the outputs again without
    training. After a kill in the second between it and DVC's record, the outputs are whole in the
    workspace, and `dvc commit` records them; `dvc repro` trains again, since this case looks like
    `dvc repro -f` from here.

    If another process does the same work (a queued experiment that changes something else), this
    one waits. A process that ends while others wait leaves them the finished checkpoint, so that
    they do not train again; the last one removes it. Work left by a kill is removed after 14 days.
    """
    folder = home / "work" / digest_of(key)
    with held(folder, keep=PREFIX):  # the claim on a run that is not recorded as finished yet
        _remove_old(home / "work", keep=folder)
        yield folder / CHECKPOINT


def digest_of(key: dict[str, Any]) -> str:
    """The name of what a key stands for."""
    text = json.dumps(key, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _remove_old(work: Path, *, keep: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in work.iterdir():
        with suppress(FileNotFoundError):  # another process removes it, too
            stamps = [path.stat().st_mtime for path in (folder, *folder.glob("*"))]
            if folder != keep and max(stamps) < oldest:
                discard(folder)
