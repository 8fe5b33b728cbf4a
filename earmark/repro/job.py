"""One running `dvc repro -s STAGE`, whose output goes into a file."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from earmark.processes import die_with_parent
from earmark.wording import printable

_TAIL = 4096  # bytes of a log that are looked at for its last line
_CACHED = re.compile(r"^Stage .* is cached - skipping run", re.MULTILINE)
_SKIPPED = re.compile(r"^Stage .* didn't change, skipping", re.MULTILINE)
_OF_DVC = re.compile(
    r"^(Running stage|> |(Updating|Generating) lock file|Use `dvc push`|To track the changes"
    r"|\s*git add |To enable auto staging|\s*dvc config core\.autostage|Stage .* skipping"
    r"|ERROR: failed to reproduce)"
)


class Job:
    """A stage that runs in a session of its own: Ctrl-C in a terminal reaches it by `interrupt`.

    Args:
        stage: its name.
        root: the folder of dvc.yaml.
        log: where its output goes.
        environment: added to that of this process.
    """

    def __init__(self, stage: str, root: Path, log: Path, environment: dict[str, str]) -> None:
        self.log, self.start = log, time.monotonic()
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", stage]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=root,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # even by kill -9; its stage then ends by itself
            )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def last_line(self) -> str:
        """The last line of its output; "" before that."""
        lines = [line for line in self._tail().splitlines() if not _OF_DVC.match(line)]
        return next((printable(line.strip()) for line in reversed(lines) if line.strip()), "")

    def what_was_done(self) -> str:
        """How a stage that has ended came to its outputs."""
        text = self._tail()
        if _CACHED.search(text):
            return "from the run cache"
        return "was up to date" if _SKIPPED.search(text) else "done"

    def _tail(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _TAIL))
                return file.read().decode(errors="replace").replace("\r", "\n")
        except OSError:
            return ""

    def interrupt(self) -> None:
        """As Ctrl-C does: DVC and the stage end by themselves, what is done so far is kept."""
        self._send(signal.SIGINT)

    def end(self, wait_seconds: float) -> None:
        """Wait for the end, and kill what has not ended by then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_seconds)
        self._send(signal.SIGKILL)
        self._process.wait()

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self._process.pid, number)
