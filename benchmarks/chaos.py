"""Whether a run survives what may befall it: `python -m benchmarks.chaos --rounds 50`.

A tiny corpus is run once undisturbed, in a clone of the last commit. Each round then forgets the
results from a random stage on, starts `dvc repro`, and at a random moment kills, ends or stops DVC,
a stage or a worker process, fills the disk, or makes DVC's cache read-only; often twice. Then
nobody disturbs a last `dvc repro`. The round is survived if

- every disturbed run ends, and no process of it is left;
- the last run passes, and its metrics and dvc.lock are those of the undisturbed run, to the byte;
- no temporary file is left, and every run that MLflow's store holds is finished.

A kill may cut dvc.lock, which DVC does not write in one step: then the command that
`python -m earmark validate` names is run first, and the line says so. The full disk and the
read-only cache need root on Linux, for a file system of the clone's own; elsewhere they are left
out, and the first line says so. Some 40 s of two cores a round.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.tiny_clone import Clone, Lost
from earmark.processes import duration
from earmark.seeding import rng_for

DISK_BYTES = 700_000_000
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
TARGETS = ("dvc", "stage", "worker")
SECONDS_TO_END = 10.0  # of what a killed process started
STOPPED_SECONDS = 3.0
FULL_SECONDS = 4.0


def _short(params: dict[str, Any]) -> None:
    """A fold and a model less, so that a round takes seconds; every kind of stage is left."""
    params["folds"], params["models"]["wave16k"] = [0], {}
    params["runtime"]["workers"] = 2


def round_of(clone: Clone, rng: np.random.Generator) -> str:
    """Disturb a run once or twice, then let it end; returns what was done.

    Raises:
        Lost: with what was not survived.
    """
    clone.restore()
    first = int(rng.integers(len(clone.stages)))
    clone.forget(clone.stages[first:])
    left = clone.seconds * (1 - first / len(clone.stages))
    done = [f"from {clone.stages[first]} on"]
    for _ in range(int(rng.integers(1, 3))):
        start = time.monotonic()
        if not (fault := _disturbed(clone, rng, left)):
            break  # the run was over before
        done.append(fault)
        left -= 0.7 * (time.monotonic() - start)
    if len(done) == 1:
        return round_of(clone, rng)
    try:
        if _restore_lock(clone):
            done.append("dvc.lock restored as validate says")
        clone.run("dvc", "repro")
        check_files(clone)
        check_runs(clone)
    except Lost as lost:
        raise Lost("; ".join([*done, str(lost)])) from None
    return "; ".join(done)


def _disturbed(clone: Clone, rng: np.random.Generator, seconds: float) -> str:
    """One run with one fault, or "" where it ended before; Lost if it hangs or leaves a process."""
    process = clone.start("dvc", "repro")
    delay = float(rng.uniform(0.2, max(seconds, 1.0)))
    fault = _fault(clone, rng)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=delay)
    description = fault(process) if process.poll() is None else ""
    try:
        process.communicate(timeout=60 + 6 * clone.seconds)
    except subprocess.TimeoutExpired:
        raise Lost(f"{description}: the run hangs") from None
    if others := clone.left(SECONDS_TO_END):
        names = ", ".join(f"{p.pid} {' '.join(p.cmdline()[:4])}" for p in others)
        raise Lost(f"{description}: processes are left: {names}")
    return f"{description} after {delay:.1f} s" if description else ""


def _fault(clone: Clone, rng: np.random.Generator) -> Callable[[subprocess.Popen[str]], str]:
    draw = rng.integers(len(SIGNALS) * len(TARGETS) + 2 * clone.has_own_disk)
    if draw >= len(SIGNALS) * len(TARGETS):
        disk = (_fill_disk, _lock_cache)[draw - len(SIGNALS) * len(TARGETS)]
        return lambda process: disk(clone, process)
    which, name = divmod(int(draw), len(TARGETS))
    goes_on = bool(rng.integers(2))
    return lambda process: _signal(clone, process, SIGNALS[which], TARGETS[name], goes_on)


def _signal(
    clone: Clone, process: subprocess.Popen[str], which: signal.Signals, name: str, goes_on: bool
) -> str:
    """Send the signal as soon as there is such a process; one that stops goes on or is killed."""
    while (target := clone.target(name, process.pid)) is None:
        if process.poll() is not None:
            return ""
        time.sleep(0.02)
    description = f"{which.name} of {name}"
    with contextlib.suppress(psutil.NoSuchProcess):
        target.send_signal(which)
        if which == signal.SIGSTOP:
            time.sleep(STOPPED_SECONDS)
            target.send_signal(signal.SIGCONT if goes_on else signal.SIGKILL)
            description += ", then " + ("SIGCONT" if goes_on else "SIGKILL")
    return description


def _fill_disk(clone: Clone, process: subprocess.Popen[str]) -> str:
    filler = clone.folder / "filler"
    with filler.open("wb") as file:
        size, n_bytes = 0, shutil.disk_usage(clone.folder).free
        while n_bytes:  # of which the run itself may take some meanwhile
            try:
                os.posix_fallocate(file.fileno(), size, n_bytes)
                size += n_bytes
            except OSError:
                n_bytes //= 2
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=FULL_SECONDS)
    filler.unlink()
    return "full disk"


def _lock_cache(clone: Clone, process: subprocess.Popen[str]) -> str:
    cache = str(clone.root / ".dvc" / "cache")
    subprocess.run(["mount", "--bind", cache, cache], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", cache], check=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=FULL_SECONDS)
    subprocess.run(["umount", "--lazy", cache], check=True)
    return "read-only cache"


def _restore_lock(clone: Clone) -> bool:
    """Where validate finds dvc.lock cut short, run the command that it names."""
    process = clone.start("python", "-m", "earmark", "validate")
    output, _ = process.communicate()
    if process.returncode == 0:
        return False
    command = re.search(r"git (?:checkout|restore)[^`;,]* dvc\.lock", output)
    if not command:
        raise Lost(f"validate fails:\n{output}")
    clone.run(*command[0].split())
    return True


def check_files(clone: Clone) -> None:
    """Raise Lost where a metric differs from the undisturbed run, or a part of a file is left."""
    for path in [Path("dvc.lock"), *_files(clone.finished / "metrics", clone.finished)]:
        if (clone.root / path).read_bytes() != (clone.finished / path).read_bytes():
            raise Lost(f"{path} differs from that of the undisturbed run")
    for folder in ("data", "models", "metrics", ".earmark"):
        for path in _files(clone.root / folder, clone.root):
            if re.search(r"\.(part|old|tmp)(/|$)", str(path)):
                raise Lost(f"{path} is left")


def check_runs(clone: Clone) -> None:
    """Raise Lost where MLflow's store does not open, or holds a run that has not finished."""
    statuses = clone.run("python", "-c", _STATUSES).split()
    if not statuses or set(statuses) != {"FINISHED"}:
        raise Lost(f"MLflow's store has runs that are {', '.join(sorted(set(statuses)))}")


_STATUSES = """
import mlflow
from earmark.layout import Layout
from earmark.tracking.store import prepare_store
mlflow.set_tracking_uri(prepare_store(Layout.here()))
for run in mlflow.search_runs(search_all_experiments=True, output_format="list"):
    print(run.info.status)
"""


def _files(folder: Path, root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in folder.rglob("*") if not path.is_dir())


@contextmanager
def _own_disk(folder: Path) -> Iterator[bool]:
    """Give a folder a file system of its own, if that is allowed here."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def main() -> int:
    """Run the rounds; 1 if one was lost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--first", type=int, default=1, help="the number of the first round")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and their moments")
    arguments = parser.parse_args()
    n_survived, start = 0, time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-chaos-")))
        (folder / "disk").mkdir()
        has_own_disk = stack.enter_context(_own_disk(folder / "disk"))
        clone = Clone(folder / "disk", folder / "finished", has_own_disk)
        clone.prepare(_short)
        disks = (
            "" if has_own_disk else "; without full disks and read-only caches, for want of root"
        )
        print(f"undisturbed: {len(clone.stages)} stages, {duration(clone.seconds)}{disks}")
        numbers = range(arguments.first, arguments.first + arguments.rounds)
        for n_done, number in enumerate(numbers, start=1):
            try:
                done = round_of(clone, rng_for(arguments.seed, "chaos", number))
            except Lost as lost:
                print(f"round {number}: LOST: {lost}", flush=True)
                continue
            n_survived += 1
            left = (time.monotonic() - start) / n_done * (arguments.rounds - n_done)
            print(f"round {number}: survived: {done}; {duration(left)} left", flush=True)
    print(f"rounds survived: {n_survived} of {arguments.rounds}")
    return int(n_survived < arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
