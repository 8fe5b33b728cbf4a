"""Time several ways of doing one thing, each in a process of its own, in turns.

Processor time counts, that of child processes included, so that other work on the machine counts
little. Ratios are taken within a turn: what slows the machine down slows both ways alike.
"""

import os
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from earmark.processes import die_with_parent, set_up_process

Work = Callable[[], object]
Maker = Callable[[], Work]  # loads or makes what the work reads, which is not timed


class Way(NamedTuple):
    """One way: `make` must be picklable.

    Attributes:
        as_stages: in a process that is set up as the stages' are, with their allocator settings;
            else as Python starts one.
        default_threads: libraries compute with as many threads as they like; else with one.
    """

    make: Maker
    as_stages: bool = False
    default_threads: bool = False


class Spread(NamedTuple):
    """The median of some turns, and the least and most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


def each(function: Callable[[Any], object], items: Sequence[Any]) -> Work:
    """Work that applies a function to items one after the other, and keeps no result."""

    def work() -> None:
        for item in items:
            function(item)

    return work


def processor_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def seconds_in_turns(ways: Sequence[Way], turns: int) -> list[list[float]]:
    """The processor seconds of each way in each turn, after one that builds tables and not counts.

    Raises:
        SystemExit: a process died.
    """
    context, pipes, workers = get_context("spawn"), [], []
    for way in ways:
        ours, theirs = context.Pipe()
        workers.append(context.Process(target=partial(_serve, theirs, way)))
        workers[-1].start()
        theirs.close()  # a worker that fails then ends `recv` here
        pipes.append(ours)
    rounds = [[_ask(pipe) for pipe in pipes] for _ in range(turns + 1)]
    for pipe, worker in zip(pipes, workers, strict=True):
        pipe.send(False)
        worker.join()
    return [list(of_way) for of_way in zip(*rounds[1:], strict=True)]


def _serve(pipe: Connection, way: Way) -> None:
    die_with_parent()
    if way.as_stages:
        set_up_process(threads=1)
    work = way.make()
    _compute_with(os.cpu_count() or 1 if way.default_threads else 1)
    while pipe.recv():
        start = processor_seconds()
        work()
        pipe.send(processor_seconds() - start)


def _compute_with(threads: int) -> None:
    """Whatever the shell says."""
    threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _ask(pipe: Connection) -> float:
    try:
        pipe.send(True)
        seconds: float = pipe.recv()
    except (EOFError, OSError):
        sys.exit("a timing process died; what it wrote before says why")
    return seconds
