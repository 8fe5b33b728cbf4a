"""Time several ways of doing one thing, each in a process of its own, in turns.

Processor time counts, that of child processes included, so that other work on the machine counts
little. Ratios are taken within a turn: what slows the machine down slows both ways alike.
"""

import os
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    rounds = in_turns([partial(_serve, way) for way in ways], turns + 1)
    return [list(of_way) for of_way in zip(*rounds[1:], strict=True)]


def in_turns(
    servers: Sequence[Callable[[Connection], None]], turns: int, *, hint: str = ""
) -> list[list[Any]]:
    """What servers answer in each turn, each in a process of its own, one after the other.

    Args:
        servers: picklable; each answers every number that it receives, and ends at None.
        hint: why one may have died, and what to do about it.

    Raises:
        SystemExit: a process died.
    """
    context, pipes, workers = get_context("spawn"), [], []
    for server in servers:
        ours, theirs = context.Pipe()
        workers.append(context.Process(target=server, args=(theirs,)))
        workers[-1].start()
        theirs.close()  # a worker that fails then ends `recv` here
        pipes.append(ours)
    try:
        return [[_ask(pipe, turn, hint) for pipe in pipes] for turn in range(turns)]
    finally:
        for pipe, worker in zip(pipes, workers, strict=True):
            with suppress(OSError):  # of one that died
                pipe.send(None)
            worker.join()


def _serve(way: Way, pipe: Connection) -> None:
    die_with_parent()
    if way.as_stages:
        set_up_process(threads=1)
    work = way.make()
    _compute_with(os.cpu_count() or 1 if way.default_threads else 1)
    while pipe.recv() is not None:
        start = processor_seconds()
        work()
        pipe.send(processor_seconds() - start)


def _compute_with(threads: int) -> None:
    """Whatever the shell says."""
    threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _ask(pipe: Connection, turn: int, hint: str) -> Any:
    try:
        pipe.send(turn)
        return pipe.recv()
    except (EOFError, OSError):
        sys.exit(f"a timing process died; {hint or 'what it wrote before says why'}")
