"""Set up this process, and spread work over several: threads, memory, progress of each loop."""

import ctypes
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from threading import Thread
from typing import TypeVar

from threadpoolctl import ThreadpoolController, threadpool_limits
from tqdm import tqdm

from earmark.workers import Pool

logger = logging.getLogger(__name__)

LINE_SECONDS = 30.0  # between two lines of a loop's progress, where there is no bar

Item = TypeVar("Item")
Result = TypeVar("Result")

# What libraries read when they are loaded: their number of threads, and what would change it.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_OVERRIDING_VARIABLES = ("OMP_THREAD_LIMIT", "OMP_DYNAMIC", "MKL_DYNAMIC")
# glibc's mallopt: keep all buffers in the heap. Otherwise the kernel maps and clears their memory
# again for every clip (3.5 x slower trim and normalise) and layer (1.3 to 1.7 x slower training).
# The keys: MMAP_MAX, since larger buffers than 32 MB are mapped at any threshold; TRIM_THRESHOLD;
# TOP_PAD.
_MALLOPT = {-4: 0, -1: 2_147_483_647, -2: 67_108_864}
_SHELLS = frozenset({"sh", "dash", "bash", "zsh"})


def set_up_process(*, threads: int) -> None:
    """Set this process' number of threads, its kernels, its memory allocator and its logging.

    Args:
        threads: as for `set_threads`.
    """
    set_threads(threads)
    choose_kernels()
    # Waiting threads sleep instead of spinning: 8 % slower on an idle machine, but two trainings
    # side by side (a queue with two workers) otherwise slow each other down tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none
            for option, size in _MALLOPT.items():
                libc.mallopt(option, size)


def set_threads(threads: int) -> None:
    """Set the number of threads that torch and numpy compute with, whatever the environment says.

    It may be called before or after they are imported. Sums come out different in their last bits
    with another number of threads, so this number belongs to the params, not to the machine.

    Args:
        threads: of each library; at least 1.
    """
    for name in _THREAD_VARIABLES:  # for the libraries that are loaded later
        os.environ[name] = str(threads)
    for name in _OVERRIDING_VARIABLES:
        os.environ.pop(name, None)
    threadpool_limits(limits=threads)  # BLAS and OpenMP libraries that are loaded; it stays
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def choose_kernels() -> None:
    """Let OpenBLAS take the same kernels on each processor with AVX2, if numpy is not there yet.

    Left alone, or by the environment, it takes those of the processor's model, which add in another
    order: a logistic regression then ends in other last bits. torch computes by other libraries.
    """
    if _has_avx2():
        os.environ["OPENBLAS_CORETYPE"] = "Haswell"


@cache
def _has_avx2() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return re.search(r"^flags\b.*\bavx2\b", text, re.MULTILINE) is not None


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the libraries that are loaded compute with one thread until the block ends."""
    torch = sys.modules.get("torch")
    n_torch = torch.get_num_threads() if torch else 1
    with _libraries(len(sys.modules)).limit(limits=1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(n_torch)


@lru_cache(maxsize=1)
def _libraries(n_modules: int) -> ThreadpoolController:  # noqa: ARG001
    """The BLAS and OpenMP libraries that are loaded: found anew where modules have come since.

    To look for them takes longer than a short clip.
    """
    return ThreadpoolController()


def die_with_parent() -> None:
    """End this process when its parent ends, even by kill -9, so that none is left beside a rerun.

    Some shells stand between DVC and a stage and only wait. Where the parent is such a shell, this
    process also ends when the parent of the shell ends.
    """
    if sys.platform != "linux":
        return
    parent_death_signal = 1
    ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
    name, grandparent = _process(os.getppid())
    if name in _SHELLS:
        args = (os.getppid(), grandparent)
        Thread(target=_die_when_orphaned, args=args, daemon=True).start()


def _die_when_orphaned(shell: int, grandparent: int) -> None:
    while _process(shell)[1] == grandparent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _process(pid: int) -> tuple[str, int]:
    """The name of a process and the id of its parent; ("", 0) if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", 0
    name, rest = text.split("(", 1)[1].rsplit(")", 1)
    return name, int(rest.split()[1])


def progress(items: Iterable[Item], *, total: int, description: str) -> Iterator[Item]:
    """Yield items, one a clip, behind a bar, or a line every half minute if stderr is a log."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=description, unit="clip")
        return
    start = last = time.monotonic()
    for n_done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= LINE_SECONDS and n_done < total:
            last, left = now, duration((now - start) / n_done * (total - n_done))
            logger.info("%s: %d of %d clips, %s left", description, n_done, total, left)


def duration(seconds: float) -> str:
    """A time in the two largest units that matter: "8 s", "2 min 10 s", "3 h 5 min"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    (large, small), names = divmod(whole, 60), ("min", "s")
    if large >= 60:
        (large, small), names = divmod(round(whole / 60), 60), ("h", "min")
    return f"{large} {names[0]} {small} {names[1]}" if small else f"{large} {names[0]}"


def map_ordered(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    description: str,
    name_of: Callable[[Item], object] = str,
) -> Iterator[Result]:
    """Yield `function(item)` in the order of the items, from `workers` one-threaded processes.

    The results do not depend on `workers`, as long as `function` is pure: 1 worker is this process,
    which then also computes with one thread. Only a few results per worker are in flight, so they
    never pile up in memory.

    Args:
        description: what the bar, or each line of progress, begins with.
        name_of: how an item is called in the error for a worker that died while it had it.

    Raises:
        UserError: a worker was killed, or could not be started.
    """
    results: Iterable[Result]
    if workers <= 1:
        results = _here(function, items)
    else:
        results = Pool(
            function,
            items,
            workers=workers,
            prepare=_set_up_worker,
            name_of=name_of,
        )
    return progress(results, total=len(items), description=description)


def _here(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    for item in items:
        with one_thread():
            result = function(item)
        yield result


def _set_up_worker() -> None:
    die_with_parent()
    set_threads(1)
