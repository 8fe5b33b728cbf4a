"""Only one process at a time downloads into a folder."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earmark.file_locks import lock_now

logger = logging.getLogger(__name__)

LOCK = "lock"


@contextmanager
def only_one(work: Path) -> Iterator[None]:
    """Hold the lock of a download's working folder; a second download waits for the first."""
    lock = _locked(work)
    try:
        yield
    finally:
        (work / LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # archives are left, or another download has started
            work.rmdir()
        os.close(lock)


def _locked(work: Path) -> int:
    while True:
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(work / LOCK, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:  # the other download has just removed the folder
            continue
        if not lock_now(lock):
            logger.info("%s: another download is running; waiting for it", work)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(lock), (work / LOCK).stat()):
                return lock
        except FileNotFoundError:  # the other download has ended and removed its lock
            pass
        os.close(lock)
