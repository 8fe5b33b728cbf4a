"""DVC's queue of experiments, and the scores that finished ones left in git."""

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
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import psutil
from tqdm import tqdm

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.whole_files import whole_file
from experiments.settings import write_params

logger = logging.getLogger(__name__)

POLL_SECONDS = 3.0
IDLE_SECONDS = 60.0  # without progress before workers are started again
MOST_STARTS = 5
ENDED = frozenset({"Success", "Failed"})
_CODE = ("earmark", "stages", "dvc.yaml")
_SCORES = "metrics/scores.json"


class Queue(Protocol):
    """What the runner needs of a queue; tests put another in DVC's place."""

    def code(self, extensions: str) -> str: ...

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

    def code(self, extensions: str) -> str:
        """A digest of the changes in the code since the commit; `extensions` is the user's own."""
        changed = self._git("diff", "HEAD", "--", *_CODE, extensions) or ""
        return hashlib.blake2b(changed.encode(), digest_size=16).hexdigest()

    def scores(self, name: str) -> dict[str, Any] | None:
        """The scores of an experiment; None unless it has succeeded."""
        text = self._git("show", f"{self.refs}/{name}:{_SCORES}")
        if text is None:
            return None
        scores: dict[str, Any] = json.loads(text)
        return scores

    def add(self, params: dict[str, Any], experiments: dict[str, Sequence[str]]) -> None:
        """Queue experiments (name -> settings) on these params, unless they are queued already.

        DVC queues what params.yaml holds, so it holds them meanwhile, and afterwards what it held
        before. DVC also stashes the workspace for a moment; no file should be edited then.

        Raises:
            UserError: DVC refuses, or there is code that git does not track.
        """
        code = (*_CODE, *([params["extensions"]] if "extensions" in params else []))
        untracked = (self._git("ls-files", "--others", "--exclude-standard", *code) or "").split()
        if untracked:
            fix = "`git add` it, since an experiment has only what git tracks"
            raise UserError(f"{untracked[0]}: is not tracked ({len(untracked)} such files); {fix}")
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
        """Work until each of the queued experiments has succeeded or failed.

        DVC says "Running" for ever of an experiment whose worker was killed, and of one that a
        worker took at the moment at which it ended, as idle: these have failed.

        Raises:
            UserError: there is no progress, although workers were started several times.
        """
        before: dict[str, str] = {}
        n_starts, moved_at = 0, -math.inf
        with tqdm(total=len(names), desc="experiments", disable=None) as bar:
            while True:
                had_workers = self._has_workers()  # asked first: they end after what they run
                status = self._status_of(names)
                if ENDED.issuperset(status.values()):
                    break
                _show(bar, status, before)
                if not had_workers:
                    self._give_up([name for name in names if status[name] == "Running"])
                if before not in ({}, status) or "Running" in status.values():
                    n_starts, moved_at = 1, time.monotonic()
                elif time.monotonic() - moved_at > IDLE_SECONDS:
                    if n_starts == MOST_STARTS:
                        fix = "see `dvc queue status` and `dvc queue logs NAME`"
                        raise UserError(f"no worker takes the experiments; {fix}")
                    self._dvc("queue", "start", "--jobs", str(jobs))
                    n_starts, moved_at = n_starts + 1, time.monotonic()
                before = status
                time.sleep(POLL_SECONDS)
            _show(bar, status, before)

    def _give_up(self, names: Sequence[str]) -> None:
        """Let experiments that are running in no worker have failed."""
        for name in names:
            logger.warning("%s: its worker ended before it; run this again to try it again", name)
            self._dvc("queue", "kill", "--force", name)

    def _status_of(self, names: Sequence[str]) -> dict[str, str]:
        """By name; "Moving" where DVC lists none, as for a moment on the way to a worker."""
        every = self.status()
        return {name: every.get(name, "Moving") for name in names}

    def status(self) -> dict[str, str]:
        """Experiment -> Queued, Running, Failed or Success, as in `dvc queue status`."""
        entries = self._repo.experiments.celery_queue.status()
        latest = sorted(entries, key=lambda entry: entry["timestamp"])
        return {entry["name"]: entry["status"] for entry in latest if entry["name"]}

    def _has_workers(self) -> bool:
        """Whether a worker's process is there: under load none answers DVC's question in time."""
        folder = Path(self._repo.experiments.celery_queue.wdir)
        pids = [path.read_text() for path in folder.glob("dvc-exp-worker-*.pid")]
        return any(_is_worker(int(pid)) for pid in pids if pid)

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
        """The output of a git command; None if it fails."""
        done = subprocess.run(
            ["git", *words], cwd=self.layout.root, capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else None

    def _dvc(self, *words: str) -> None:
        """Run dvc, and the workers that it starts, with this interpreter's programs.

        Its output goes to a file: workers inherit a pipe and would keep it open.
        """
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [sys.executable, "-m", "dvc", *words],
                cwd=self.layout.root,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            output.seek(0)
            lines = output.read().strip().splitlines()
        if done.returncode:
            raise UserError(f"dvc {' '.join(words[:3])}: failed; fix what it reports:", *lines)


def _is_worker(pid: int) -> bool:
    with suppress(psutil.Error):
        return "queue-worker" in psutil.Process(pid).cmdline()  # a zombie has none
    return False


def _show(bar: Any, status: dict[str, str], before: dict[str, str]) -> None:
    for name, value in status.items():
        if value != before.get(name) and value in {"Running", *ENDED}:
            logger.info("%s: %s", name, value.lower())
    bar.n = sum(value in ENDED for value in status.values())
    bar.set_postfix_str(", ".join(n for n, value in status.items() if value == "Running"))
