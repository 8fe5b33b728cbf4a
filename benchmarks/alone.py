"""What a function takes in a process of its own, so that its peak of memory is its own."""

import re
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.turns import processor_seconds
from earmark.processes import set_up_process


class Cost(NamedTuple):
    """Processor time, that of workers included; their memory is that of the largest."""

    seconds: float
    megabytes: float
    worker_megabytes: float
    wall_seconds: float = 0.0


def run_alone(function: Callable[..., Any], *arguments: Any, name: str) -> tuple[Any, Cost]:
    """Call a function in a process that is set up as the stages' are.

    Args:
        function: picklable, as are its arguments and what it returns.
        name: of what it does, for the message of a failure.

    Raises:
        SystemExit: it failed.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function, arguments))
    process.start()
    theirs.close()  # a process that fails then ends `recv` here
    try:
        result, cost = ours.recv()
    except EOFError:
        sys.exit(f"{name} failed; what it wrote before says why")
    process.join()
    return result, cost


def _serve(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    set_up_process(threads=1)
    start, wall = processor_seconds(), time.perf_counter()
    result = function(*arguments)
    times = processor_seconds() - start, time.perf_counter() - wall
    of_worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    pipe.send((result, Cost(times[0], _peak_megabytes(), of_worker, times[1])))


def _peak_megabytes() -> float:
    """The most memory of this process; `getrusage` would count that of the process it came from."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) / 1024
