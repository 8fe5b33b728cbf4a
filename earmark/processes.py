"""How work is spread over this machine: processes, threads, memory, one progress bar a loop."""

import ctypes
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

# glibc's mallopt: keep all buffers in the heap instead of mapping and faulting them in anew for
# every clip (3.5 x on trim and normalise) and every layer (1.3 to 1.7 x on a training step).
# MMAP_MAX, since buffers above 32 MB are mapped at any threshold; TRIM_THRESHOLD; TOP_PAD.
_MALLOPT = {-4: 0, -1: 2_147_483_647, -2: 67_108_864}
_SHELLS = frozenset({"sh", "dash", "bash", "zsh"})


def set_up_process(*, threads: int) -> None:
    """Set this process' thread count, allocator and logging; call before torch is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    # Waiting threads sleep instead of spinning: 8 % slower on an idle machine, but two trainings
    # side by side (a queue with two workers) otherwise slow each other down tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none
            for option, size in _MALLOPT.items():
                libc.mallopt(option, size)


_work: Callable[[Any], Any]  # what this worker applies; set once, never sent with each task


def die_with_parent() -> None:
    """End this process when its parent ends, even by kill -9: no orphan goes on beside a rerun.

    Where the parent is a shell that only waits for us, as some are between DVC and a stage, this
    process also ends with the shell's own parent.
    """
    if sys.platform != "linux":
        return
    parent_death_signal = 1
    ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
    name, above = _process(os.getppid())
    if name in _SHELLS:
        watch = Thread(target=_die_when_orphaned, args=(os.getppid(), above), daemon=True)
        watch.start()


def _die_when_orphaned(shell: int, above: int) -> None:
    while _process(shell)[1] == above:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _process(pid: int) -> tuple[str, int]:
    """A process' name and its parent; ("", 0) if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", 0
    name, rest = text.split("(", 1)[1].rsplit(")", 1)
    return name, int(rest.split()[1])


def _start_worker(function: Callable[[Any], Any]) -> None:
    global _work
    _work = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone answers Ctrl-C
    die_with_parent()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def map_ordered(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    description: str,
    chunk: int = 4,
) -> Iterator[Result]:
    """Yield `function(item)` in the order of the items, from `workers` one-threaded processes.

    At most a few chunks a worker are in flight, so results never pile up in memory. Results do not
    depend on the number of workers as long as `function` is pure.
    """
    bar = tqdm(total=len(items), desc=description, unit="clip", disable=None)
    with bar:
        if workers <= 1:
            for item in items:
                yield function(item)
                bar.update()
            return
        for result in _from_pool(function, items, workers, chunk):
            yield result
            bar.update()


def _from_pool(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, chunk: int
) -> Iterator[Result]:
    chunks = iter([items[i : i + chunk] for i in range(0, len(items), chunk)])
    in_flight: deque[Future[list[Result]]] = deque()
    context = get_context("fork" if sys.platform == "linux" else None)
    # A forked worker inherits `function` with all that it holds (whole stores); nothing is pickled.
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(function,)
    ) as pool:
        try:
            for part in chunks:
                in_flight.append(pool.submit(_apply_all, part))
                if len(in_flight) >= 4 * workers:
                    yield from in_flight.popleft().result()
            while in_flight:
                yield from in_flight.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _apply_all(items: Sequence[Any]) -> list[Any]:
    return [_work(item) for item in items]
