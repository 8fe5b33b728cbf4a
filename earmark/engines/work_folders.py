"""Who holds the folder of work in progress: this process, or the stage that waits for it.

The locks are the system's, so they go with a process that is killed. Between machines such locks
are not to be relied on. So a body that runs on another node asks the stage that waits for it, and
all stages that wait are processes of one machine.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from earmark.engines.mailbox import Mailbox, ask, launcher
from earmark.file_locks import lock_now
from earmark.turns import aside, check_stopped
from earmark.whole_files import discard

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2


@contextmanager
def held(folder: Path, *, keep: str) -> Iterator[None]:
    """Hold a folder alone within the block; after a block that ends well nothing is left in it.

    Others may wait for it; then it is left to them as it is, and the last removes it.

    Args:
        keep: the beginning of the names of files that stay.
    """
    if mailbox := launcher():  # which holds it, and clears it once the stage has ended well
        ask(mailbox, {"hold": str(folder), "keep": keep})
        yield
        return
    locks = wait_for(folder)
    try:
        yield
        clear(folder, locks, keep=keep)
    finally:
        for lock in locks:
            lock.close()


class Holder:
    """What a waiting stage holds for its body, which may be started more than once."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._one_at_a_time = Lock()  # a body that was started again asks while the first ask waits
        self._numbers: set[str] = set()
        self._held: dict[Path, tuple[str, tuple[TextIOWrapper, TextIOWrapper]]] = {}

    def answer(self) -> None:
        """Begin to do what the body asks for; to be called again and again. Never waits."""
        question = self._mailbox.question()
        if question is None or question["number"] in self._numbers:
            return
        self._numbers.add(question["number"])
        Thread(target=self._hold, args=(question,), daemon=True).start()

    def _hold(self, question: dict[str, Any]) -> None:
        folder = Path(question["hold"])
        with self._one_at_a_time:
            if folder not in self._held:
                self._held[folder] = (question["keep"], wait_for(folder))
        with suppress(FileNotFoundError):  # the stage has ended meanwhile
            self._mailbox.answer(question["number"], True)

    def end(self, *, is_done: bool) -> None:
        """Let go of everything, after clearing it where the stage ended well."""
        for folder, (keep, locks) in self._held.items():
            if is_done:
                clear(folder, locks, keep=keep)
            for lock in locks:
                lock.close()
        self._held.clear()


def wait_for(folder: Path) -> tuple[TextIOWrapper, TextIOWrapper]:
    """Wait until this process alone holds a folder, which is made where it is not there."""
    while (locks := _lock(folder)) is None:
        continue
    return locks


def clear(folder: Path, locks: tuple[TextIOWrapper, TextIOWrapper], *, keep: str) -> None:
    """Remove a folder that is held, unless others wait for it."""
    if lock_now(locks[1]):
        for path in folder.iterdir():  # with the locks: who opens them looks again
            if not path.name.startswith(keep):
                discard(path)
        with suppress(OSError):
            folder.rmdir()


def _lock(folder: Path) -> tuple[TextIOWrapper, TextIOWrapper] | None:
    """Wait until this process alone holds a folder; None if it was removed meanwhile.

    Returns:
        The locked file, and the one that those lock who wait. They are locks, and do not say in
        writing who waits: the system drops them with a process that is killed.
    """
    for stray in (folder, folder / "lock", folder / "waiting"):
        if stray.exists() and stray.is_dir() != (stray == folder):  # neither ours nor of use
            discard(stray)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
        waiting = (folder / "waiting").open("w")
    except FileNotFoundError:  # removed in this moment
        return None
    fcntl.flock(waiting, fcntl.LOCK_SH)
    if not lock_now(lock):
        logger.info("another run trains this very model; waiting for it (%s)", folder)
        with aside():
            while not lock_now(lock):
                check_stopped()
                time.sleep(_POLL_SECONDS)
    fcntl.flock(waiting, fcntl.LOCK_UN)
    if _is_at(lock, folder / "lock") and _is_at(waiting, folder / "waiting"):
        return lock, waiting
    lock.close()
    waiting.close()
    return None


def _is_at(file: TextIOWrapper, path: Path) -> bool:
    """Whether an open file is still the one at a path: one that was removed locks nothing."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
