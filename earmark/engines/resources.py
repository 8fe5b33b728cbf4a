"""What the body of a stage needs of a node."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params

# Stages whose networks compute with runtime.threads, on a GPU where there is one.
NETWORK_STAGES = frozenset(
    {"train", "finetune", "embed", "predict", "check_labels", "student", "timeline", "unlabelled"}
)
# Stages that spread clips over runtime.workers processes of one thread.
CLIP_STAGES = frozenset({"decode", "trim", "augment", "class_mixing", "features", "audit_sound"})

# Rough upper ends: a worker stays below 1 GB, and a process with torch, its network and a batch
# below 2 GB; trainings read their features whole.
WORKER_BYTES, NETWORK_BYTES = 10**9, 2 * 10**9


@dataclass(frozen=True)
class Resources:
    """Of one body. `gpus` None means one where the cluster has any; memory 0 asks for none."""

    cpus: int
    gpus: float | None
    memory_bytes: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def resources_of(
    stage: str, arguments: Mapping[str, str], params: Params, layout: Layout
) -> Resources | None:
    """What a stage's body asks for; None for stages that stay where they were started.

    Args:
        arguments: of the stage's command line, by name; they say which features it reads.
        params: `runtime` gives threads, workers and device.

    Raises:
        UserError: EARMARK_ENGINE_GPUS or EARMARK_ENGINE_MEMORY_GB is no number from 0 on.
    """
    runtime = params.runtime
    if stage in CLIP_STAGES:
        return Resources(runtime.workers, 0.0, _memory(runtime.workers * WORKER_BYTES))
    if stage not in NETWORK_STAGES:
        return None
    gpus = {"cpu": 0.0, "cuda": 1.0, "auto": None}[runtime.device]
    if gpus != 0.0:
        gpus = _number("EARMARK_ENGINE_GPUS", gpus)
    n_bytes = NETWORK_BYTES + sum(map(_size, _folders_read(arguments, layout)))
    return Resources(runtime.threads, gpus, _memory(n_bytes))


def _folders_read(arguments: Mapping[str, str], layout: Layout) -> list[Path]:
    if "extractor" in arguments and "group" in arguments:
        return [layout.embeddings(arguments["extractor"], arguments["fold"])]
    return [layout.features(arguments["group"])] if "group" in arguments else []


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0


def _memory(n_bytes: int) -> int:
    given = _number("EARMARK_ENGINE_MEMORY_GB", None)
    return n_bytes if given is None else round(given * 1e9)


def _number(name: str, default: float | None) -> float | None:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"{name}={text}: set it to a number from 0 on, or unset it")
    return value
