"""Trainings that share a process take turns, a step each, so that each ends as it would alone.

torch draws from one generator in a process, which every step seeds for itself: two threads in the
midst of their steps would draw each other's numbers. On a GPU a step is done once it is handed
over, so the kernels of several trainings are under way at the same time.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_of_thread = threading.local()


def give_way() -> None:
    """Let each other training of this process make a step; returns at once where there is none.

    Raises:
        KeyboardInterrupt: nobody waits for this training any more.
    """
    if part := _part():
        part.give_way()
        part.check()


@contextmanager
def aside() -> Iterator[None]:
    """Let the other trainings of this process go on while the block waits for what is outside."""
    part = _part()
    if part is None:
        yield
        return
    part.leave()
    try:
        yield
    finally:
        part.enter()


def check_stopped() -> None:
    """For what waits aside: raises KeyboardInterrupt as `give_way` does."""
    if part := _part():
        part.check()


def _part() -> "Part | None":
    """What this thread takes part by."""
    return getattr(_of_thread, "part", None)


class Turns:
    """Threads in the order of their turns; the first has it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.parts: deque[Part] = deque()

    @contextmanager
    def part(self) -> Iterator["Part"]:
        """Take part within the block, which begins with this thread's first turn."""
        part = Part(self)
        part.enter()
        _of_thread.part = part
        try:
            yield part
        finally:
            _of_thread.part = None
            part.leave()


class Part:
    """A thread's place among `Turns`; whoever sets `is_stopped` ends it after its step."""

    def __init__(self, turns: Turns) -> None:
        self._parts, self._changed = turns.parts, turns.changed
        self.is_stopped = False

    def enter(self) -> None:
        """Wait for the first turn."""
        with self._changed:
            self._parts.append(self)
            self._await()

    def leave(self) -> None:
        with self._changed:
            self._parts.remove(self)
            self._changed.notify_all()

    def give_way(self) -> None:
        """Let all others have a turn before the next one."""
        with self._changed:
            if len(self._parts) > 1:
                self._parts.rotate(-1)
                self._changed.notify_all()
                self._await()

    def check(self) -> None:
        if self.is_stopped:
            raise KeyboardInterrupt

    def _await(self) -> None:
        self._changed.wait_for(lambda: self._parts[0] is self)
