"""DVC's queue of experiments, and what those that are done have left in git."""

import hashlib
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.store import whole_file
from experiments.settings import write_params

logger = logging.getLogger(__name__)

POLL_SECONDS = 3.0
IDLE_SECONDS = 60.0  # so long may the queue stand still before workers are started again
MOST_STARTS = 5
ENDED = frozenset({"Success", "Failed"})
_CODE = ("earmark", "stages", "dvc.yaml")
_SCORES = "metrics/scores.json"


class Queue(Protocol):
    """What the runner needs of a queue; tests put another in DVC's place."""

    def code(self) -> str: ...

    def scores(self, name: str) -> dict[str, Any] | None: ...

    def add(self, params: dict[str, Any], experiments: dict[str, Sequence[str]]) -> None: ...

    def run(self, names: Sequence[str], jobs: int) -> None: ...


class DvcQueue:
    """Experiments of one repository, on its present commit."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        commit = self._git("rev-parse", "HEAD")
        if commit is None:
            raise UserError(f"{layout.root}: no git commit; experiments start from one")
        self.refs = f"refs/exps/{commit[:2]}/{commit[2:].strip()}"

    def code(self) -> str:
        """A digest of what the code differs in from the commit, which names do not tell."""
        changed = self._git("diff", "HEAD", "--", *_CODE) or ""
        return hashlib.blake2b(changed.encode(), digest_size=16).hexdigest()

    def scores(self, name: str) -> dict[str, Any] | None:
        """The scores of an experiment; None if it has not ended well."""
        text = self._git("show", f"{self.refs}/{name}:{_SCORES}")
        if text is None:
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    def add(self, params: dict[str, Any], experiments: dict[str, Sequence[str]]) -> None:
        """Queue experiments (name -> settings) on these params, unless they are queued already.

        params.yaml holds them meanwhile, and is then as it was: DVC takes along what it holds. It
        also stashes the workspace for a moment, so no file should be edited then.

        Raises:
            UserError: DVC refuses, or would leave behind code that git does not track.
        """
        strange = (self._git("ls-files", "--others", "--exclude-standard", *_CODE) or "").split()
        if strange:
            fix = "`git add` it, since an experiment has only what git tracks"
            raise UserError(f"{strange[0]}: is not tracked ({len(strange)} such files); {fix}")
        status = self.status()
        with self._params_in_place(params):
            for name, settings in tqdm(experiments.items(), desc="queue", disable=None):
                if status.get(name) == "Running" and not self._has_workers():
                    self._dvc("queue", "kill", "--force", name)  # its worker was killed
                elif status.get(name) in ("Queued", "Running"):
                    continue
                if name in status:
                    self._dvc("queue", "remove", name)
                changes = [word for setting in settings for word in ("-S", setting)]
                self._dvc("exp", "run", "--queue", "--name", name, *changes)

    def run(self, names: Sequence[str], jobs: int) -> None:
        """Work until each of the queued experiments has ended, well or not.

        Raises:
            UserError: nothing moves, however often workers are started.
        """
        before: dict[str, str] = {}
        n_starts, moved_at = 0, -math.inf
        with tqdm(total=len(names), desc="experiments", disable=None) as bar:
            while not ENDED.issuperset((status := self._status_of(names)).values()):
                _show(bar, status, before)
                if before not in ({}, status) or "Running" in status.values():
                    n_starts, moved_at = 1, time.monotonic()
                elif time.monotonic() - moved_at > IDLE_SECONDS:
                    if n_starts == MOST_STARTS:
                        raise UserError("no worker takes the experiments; see `dvc queue status`")
                    self._dvc("queue", "start", "--jobs", str(jobs))
                    n_starts, moved_at = n_starts + 1, time.monotonic()
                before = status
                time.sleep(POLL_SECONDS)
            _show(bar, status, before)

    def _status_of(self, names: Sequence[str]) -> dict[str, str]:
        """On its way to a worker an experiment is in no list of DVC's for a moment: "Moving"."""
        every = self.status()
        return {name: every.get(name, "Moving") for name in names}

    def status(self) -> dict[str, str]:
        """Of each experiment by name: Queued, Running, Failed or Success, as `dvc queue status`."""
        entries = self._repo.experiments.celery_queue.status()
        latest = sorted(entries, key=lambda entry: entry["timestamp"])
        return {entry["name"]: entry["status"] for entry in latest if entry["name"]}

    def _has_workers(self) -> bool:
        return bool(self._repo.experiments.celery_queue.worker_status())

    @cached_property
    def _repo(self) -> Any:
        from dvc.repo import Repo

        return Repo(str(self.layout.root))

    @contextmanager
    def _params_in_place(self, params: dict[str, Any]) -> Iterator[None]:
        path = self.layout.params
        before = path.read_bytes() if path.exists() else None
        try:
            with whole_file(path) as part:
                write_params(part, params)
            yield
        finally:
            if before is None:
                path.unlink(missing_ok=True)
            else:
                with whole_file(path) as part:
                    part.write_bytes(before)

    def _git(self, *words: str) -> str | None:
        """What git says; None if it refuses."""
        done = subprocess.run(
            ["git", *words], cwd=self.layout.root, capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else None

    def _dvc(self, *words: str) -> None:
        """Run dvc, and workers that it starts, with this interpreter's programs.

        What it says goes to a file: a pipe would stay open as long as the workers, which inherit
        it, and be waited for.
        """
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [sys.executable, "-m", "dvc", *words],
                cwd=self.layout.root,
                env={**os.environ, "PATH": places},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            output.seek(0)
            said = output.read().strip().splitlines()
        if done.returncode:
            raise UserError(f"dvc {' '.join(words[:3])}: failed", *said)


def _show(bar: Any, status: dict[str, str], before: dict[str, str]) -> None:
    for name, value in status.items():
        if value != before.get(name) and value in {"Running", *ENDED}:
            logger.info("%s: %s", name, value.lower())
    bar.n = sum(value in ENDED for value in status.values())
    bar.set_postfix_str(", ".join(n for n, value in status.items() if value == "Running"))
