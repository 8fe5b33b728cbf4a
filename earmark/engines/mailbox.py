"""The folder by which a waiting stage and its body elsewhere meet: marker, log, questions.

It lies in `.earmark/engine/` of the repository, which all nodes share. Its files are there from the
start and written in place: a network file system asks its server again about a file that is opened,
but may remember for a minute that a name does not exist.
"""

import fcntl
import json
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from earmark.file_locks import lock_now
from earmark.whole_files import discard

LAUNCHER = "EARMARK_LAUNCHER"  # in the environment of a body: the path of its mailbox
MARKER, LOG, QUESTION, ANSWER, OWNER = "marker", "log", "question", "answer", "owner"
_POLL_SECONDS = 0.2


class Mailbox:
    """The waiting stage's side; it holds a lock on its mailbox for as long as it lives."""

    def __init__(self, home: Path) -> None:
        """Make a mailbox in `home`; those whose stages are dead are removed, which ends bodies."""
        folder = home / "engine"
        folder.mkdir(parents=True, exist_ok=True)
        remove_dead(folder)
        self.token = secrets.token_hex(8)
        self.path = folder / self.token
        part = folder / f".{self.token}"
        part.mkdir(mode=0o700)
        self._owner = (part / OWNER).open("w")
        fcntl.flock(self._owner, fcntl.LOCK_EX)  # of this machine's processes alone
        for name in (LOG, QUESTION, ANSWER):
            (part / name).touch()
        (part / MARKER).write_text(self.token)
        part.rename(self.path)  # so that nobody finds one whose owner is not locked yet
        self._n_read = 0

    def new_lines(self, *, is_last: bool = False) -> str:
        """What the body has written since the last call, up to the end of a line."""
        with (self.path / LOG).open("rb") as file:
            file.seek(self._n_read)
            data = file.read()
        if not is_last:
            data = data[: data.rfind(b"\n") + 1]
        self._n_read += len(data)
        return data.decode(errors="backslashreplace")

    def question(self) -> dict[str, Any] | None:
        """The body's last question; None where there is none, or half of one."""
        return _read(self.path / QUESTION)

    def answer(self, number: str, value: Any) -> None:
        (self.path / ANSWER).write_text(json.dumps({"number": number, "value": value}))

    def remove(self) -> None:
        """Take it away; a body that still runs ends itself."""
        discard(self.path)
        self._owner.close()


def ask(mailbox: Path, question: dict[str, Any]) -> Any:
    """Ask the waiting stage from within a body, and wait for its answer.

    Whoever asks is ended with the body where the stage is gone.
    """
    number = secrets.token_hex(8)
    (mailbox / QUESTION).write_text(json.dumps({**question, "number": number}))
    while True:
        answer = _read(mailbox / ANSWER)
        if answer is not None and answer["number"] == number:
            return answer["value"]
        time.sleep(_POLL_SECONDS)


def remove_dead(folder: Path) -> None:
    """Remove the mailboxes of stages that were killed."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError), (path / OWNER).open("r+") as owner:
            if lock_now(owner):
                discard(path)


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(ValueError, OSError):
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return None


def launcher() -> Path | None:
    """The mailbox of the stage that waits for this process; None where it is no body."""
    path = os.environ.get(LAUNCHER)
    return Path(path) if path else None
