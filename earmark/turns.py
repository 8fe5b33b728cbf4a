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
    part: Part | None = getattr(_of_thread, "part", None)
    if part is not None:
        part.give_way()


@contextmanager
def aside() -> Iterator[None]:
    """Let the other trainings of this process go on while the block waits for what is outside."""
    part: Part | None = getattr(_of_thread, "part", None)
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
    part: Part | None = getattr(_of_thread, "part", None)
    if part is not None:
        part.check()


class Turns:
    """Threads in the order of their turns; the first has it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._parts: deque[Part] = deque()

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

    def enter(self, part: "Part") -> None:
        """Wait for the first turn of a part."""
        with self._changed:
            self._parts.append(part)
            self._await(part)

    def leave(self, part: "Part") -> None:
        with self._changed:
            self._parts.remove(part)
            self._changed.notify_all()

    def pass_on(self, part: "Part") -> None:
        """Let all others have a turn before the next one of this part."""
        with self._changed:
            if len(self._parts) > 1:
                self._parts.rotate(-1)
                self._changed.notify_all()
                self._await(part)

    def _await(self, part: "Part") -> None:
        self._changed.wait_for(lambda: self._parts[0] is part)


class Part:
    """What a thread takes part by; whoever sets `is_stopped` ends it after its step."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.is_stopped = False

    def enter(self) -> None:
        self._turns.enter(self)

    def leave(self) -> None:
        self._turns.leave(self)

    def give_way(self) -> None:
        self._turns.pass_on(self)
        self.check()

    def check(self) -> None:
        if self.is_stopped:
            raise KeyboardInterrupt
