"""The graph of dvc.yaml as DVC sees it, and which of its stages are to be looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.engines import shared
from earmark.errors import UserError, reason_of

if TYPE_CHECKING:
    from dvc.stage import Stage as DvcStage

TRAINING_COMMANDS = tuple(f"python -m stages.{name} " for name in shared.TRAININGS)
_THREADS, _DEVICE = "runtime.threads", "runtime.device"


@dataclass(frozen=True)
class Stage:
    """One stage of one fold, or whatever else `dvc repro -s NAME` runs.

    Args:
        name: as DVC calls it, `train_logmel@compact-0`.
        upstream: the names of the stages that it reads from, directly.
        is_stale: whether DVC would run it, or one that it reads from.
        computes: whether it computes with `runtime.threads` threads, and not with
            `runtime.workers` processes.
        on_device: whether it computes on the GPU, if there is one.
        trains: whether its training may share a process with others.
    """

    name: str
    upstream: frozenset[str]
    is_stale: bool
    computes: bool = False
    on_device: bool = False
    trains: bool = False


def read_graph(root: Path, targets: Sequence[str] = ()) -> dict[str, Stage]:
    """Stages by name, upstream ones first.

    Args:
        targets: as `dvc repro` takes them; these and those that they read from, not all.

    Raises:
        UserError: DVC cannot read its files, knows no such target, or another command holds them.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
            graph = repo.index.graph
            wanted = [repo.stage.collect(target, with_deps=True) for target in targets]
            stages: dict[str, Stage] = {}
            above = {one: list(graph.successors(one)) for one in chain(*(wanted or [graph]))}
            for one in TopologicalSorter(above).static_order():
                upstream = frozenset(stage.addressing for stage in above[one])
                is_stale = any(stages[name].is_stale for name in upstream) or one.changed()
                tracked = _tracked(one)
                stages[one.addressing] = Stage(
                    one.addressing,
                    upstream,
                    is_stale,
                    computes=_THREADS in tracked,
                    on_device=_DEVICE in tracked,
                    trains=str(one.cmd).startswith(TRAINING_COMMANDS),
                )
    except DvcException as error:
        raise UserError(f"dvc: {reason_of(error)}") from None
    return stages


def _tracked(stage: "DvcStage") -> set[str]:
    """The keys of params files that a stage depends on."""
    return {key for dep in stage.deps for key in getattr(dep, "params", ())}


def chains(stages: Mapping[str, Stage]) -> dict[str, int]:
    """For each stage the number of stages on the longest way from it to the end.

    Args:
        stages: upstream ones first, as `read_graph` gives them.
    """
    longest = dict.fromkeys(stages, 1)
    for stage in reversed(list(stages.values())):
        for above in stage.upstream:
            longest[above] = max(longest[above], longest[stage.name] + 1)
    return longest
