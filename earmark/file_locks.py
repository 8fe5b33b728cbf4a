"""Locks of the system on files: they end with the process that holds them, however it ends."""

import fcntl
from typing import Protocol


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int: ...


def lock_now(file: HasFileno | int) -> bool:
    """Lock a file for whoever has it open, unless somebody else holds a lock; never waits.

    The lock ends when the file is closed.

    Args:
        file: open, or its descriptor.

    Returns:
        Whether it is locked now.

    Raises:
        OSError: a file system without locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
