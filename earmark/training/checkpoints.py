"""Work in progress that survives a kill: one safetensors file in a content-keyed folder."""

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

from earmark.store import whole_file
from earmark.taggers.weights import save_tensors
from earmark.training.schedules import Plateau

logger = logging.getLogger(__name__)

KEPT_DAYS = 14


@dataclass
class Progress:
    """Where a training stands; all of it that is not a tensor."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_value: float = float("-inf")
    epochs_without_improvement: int = 0
    is_done: bool = False
    plateau: Plateau = field(default_factory=Plateau)


@contextmanager
def work_folder(home: Path, key: dict[str, Any]) -> Iterator[Path]:
    """A folder named by a hash of `key`, held by one process; folders long unused are removed.

    It stays when the work is done, since DVC may still be killed before it records the outcome.
    Where another process is at the same work (a queued experiment that changes something else),
    this one waits, and then finds the work done.
    """
    text = json.dumps(key, sort_keys=True, default=str)
    folder = home / "work" / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another run trains this very model; waiting for it (%s)", folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_old(home / "work", keep=folder)
        yield folder


def _remove_old(work: Path, *, keep: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in work.iterdir():
        stamps = [path.stat().st_mtime for path in (folder, *folder.glob("*"))]
        if folder != keep and max(stamps) < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def code_digest(root: Path, *names: str) -> str:
    """A hash of source files and folders, so that work of other code is never continued."""
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    average: dict[str, Tensor],
    progress: Progress,
) -> None:
    """Write all that training needs to go on, in one atomic step; when done, the best alone."""
    tensors = {f"best.{key}": value for key, value in best.items()}
    if not progress.is_done:
        tensors |= {f"average.{key}": value for key, value in average.items()}
        tensors |= {f"network.{key}": value for key, value in network.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            known = {key: value for key, value in state.items() if value is not None}
            tensors |= {f"optimizer.{index}.{key}": value for key, value in known.items()}
    with whole_file(path) as part:
        save_tensors(part, tensors, {"progress": json.dumps(asdict(progress))})


def load_checkpoint(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Tensor], Progress]:
    """Put network and optimizer where a saved training stood; returns best, average, progress."""
    with safe_open(path, "pt") as file:
        progress = json.loads(file.metadata()["progress"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    names = ("network", "best", "average", "optimizer")
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for key, value in tensors.items():
        group, rest = key.split(".", 1)
        groups[group][rest] = value
    network.load_state_dict(groups["network"] or groups["best"])
    _load_optimizer(optimizer, groups["optimizer"])
    progress["plateau"] = Plateau(**progress["plateau"])
    return groups["best"], groups["average"], Progress(**progress)


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        # In the parameter's own memory layout: other strides take other vector paths, whose last
        # bits differ, and the rest of the training with them.
        like = torch.empty_like(parameter) if value.shape == parameter.shape else value.clone()
        optimizer.state[parameter][name] = like.copy_(value)
