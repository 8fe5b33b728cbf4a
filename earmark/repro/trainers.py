"""The processes that trainings share in a run: one for each GPU, or some on the processor."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from earmark.engines.shared import TRAINER
from earmark.processes import die_with_parent


class _Process:
    """One of them, and the stages that train in it."""

    def __init__(self, root: Path, path: Path, log: Path, environment: Mapping[str, str]) -> None:
        self.path = path
        self.stages: set[str] = set()
        with socket.socket(socket.AF_UNIX) as listener, log.open("ab") as output:
            listener.bind(str(path))
            listener.listen(64)  # stages may connect before it has loaded its libraries
            self._process = subprocess.Popen(
                [sys.executable, "-m", "earmark.repro.trainer", str(listener.fileno())],
                cwd=root,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno()],
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """No stage trains in it any more, so nothing is lost."""
        self._process.kill()
        self._process.wait()
        self.path.unlink(missing_ok=True)


class Trainers:
    """Lends them to stages.

    Args:
        root: the folder of dvc.yaml, and of this process.
        folder: of their sockets, and of the log of what no stage is told; relative to it, since
            the path of a socket may have a hundred characters at most.
        n_on_cpu: how many there are where no GPU is.
        environment: added to that of this process.
    """

    def __init__(
        self, root: Path, folder: Path, n_on_cpu: int, environment: Mapping[str, str]
    ) -> None:
        self._root, self._folder = root, folder
        self._n_on_cpu, self._environment = n_on_cpu, environment
        self._processes: dict[str, _Process] = {}
        self._n_started = 0

    def lend(self, stage: str, gpu: str | None) -> dict[str, str]:
        """Choose the one with the fewest stages; what the environment of the stage says of it.

        One that runs and is idle comes before one that would have to be started.
        """
        names = [gpu] if gpu is not None else [f"cpu{i}" for i in range(self._n_on_cpu)]
        running = {name: one for name, one in self._processes.items() if one.is_running()}
        busy = {name: len(one.stages) for name, one in running.items()}
        chosen = min(names, key=lambda name: (busy.get(name, 0), name not in running))
        process = running.get(chosen) or self._start(chosen, gpu)
        process.stages.add(stage)
        return {TRAINER: str(process.path)}

    def take_back(self, stage: str) -> None:
        for process in self._processes.values():
            process.stages.discard(stage)

    def end(self) -> None:
        for process in self._processes.values():
            process.end()

    def _start(self, name: str, gpu: str | None) -> _Process:
        self._n_started += 1
        path = self._folder / f"trainer{self._n_started}.socket"
        on_gpu = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        environment = {**self._environment, **on_gpu}
        process = _Process(self._root, path, self._folder / "trainer.log", environment)
        self._processes[name] = process
        return process


@contextmanager
def trainers(
    root: Path, folder: Path, n_on_cpu: int, environment: Mapping[str, str]
) -> Iterator[Trainers]:
    """Those of a run, which end with the block; arguments as of `Trainers`."""
    for left in (*folder.glob("trainer*.socket"), *folder.glob("trainer.log")):  # of a killed run
        left.unlink()
    ours = Trainers(root, folder, n_on_cpu, environment)
    try:
        yield ours
    finally:
        ours.end()
