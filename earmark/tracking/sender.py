"""Records on their way to the store: a thread sends them, so that no training waits for it."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context

from earmark.layout import Layout
from earmark.tracking.store import BUSY, wait_seconds, warn_untracked
from earmark.turns import aside

RETRY_SECONDS = 0.5
BUSY_SECONDS = 10.0  # that somebody waits for a busy database; as long as nobody does, it has time


class Sender:
    """Makes calls to the store one after another, in a thread of its own.

    Whatever a store does, hang, drip, sleep until a name resolves, it does to that thread alone.
    The first call that fails, or that `wait` finds unanswered, ends it with one warning: what
    follows is dropped, so that a dead server is asked once in each process. A sqlite store that
    another process holds is asked again.
    """

    def __init__(self, layout: Layout, going_on: str) -> None:
        """Args: `going_on`, what a warning says of the stage, as "training goes on untracked"."""
        self.is_lost = False
        self._layout = layout
        self._going_on = going_on
        self._calls: deque[tuple[str, Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        self._busy_until = math.inf
        # In the context of this thread: a process of several trainings tells their lines by it.
        run = copy_context().run
        threading.Thread(target=run, args=(self._run,), name="MLflow", daemon=True).start()

    def send(self, record: str, call: Callable[[], None]) -> None:
        """Make a call after those before it; `record` is what is missing if it fails."""
        with self._changed:
            if not self.is_lost:
                self._calls.append((record, call))
                self._changed.notify_all()

    def wait(self, seconds: float | None = None) -> None:
        """Return once all calls are made; give them up after `seconds`, by default the store's."""
        limit = wait_seconds(self._layout) if seconds is None else seconds
        self._busy_until = time.monotonic() + BUSY_SECONDS
        with aside(), self._changed:
            if not self._changed.wait_for(lambda: not self._calls, limit):
                self._lose(f"no answer within {limit:.0f} s")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls)
                call = self._calls[0][1]
            try:
                call()
            except Exception as error:  # whatever a server or a disk may throw
                if BUSY in str(error) and time.monotonic() < self._busy_until:
                    time.sleep(RETRY_SECONDS)
                    continue
                with self._changed:
                    self._lose(error)
                return
            with self._changed:
                if self.is_lost:
                    return
                self._calls.popleft()
                self._changed.notify_all()

    def _lose(self, error: Exception | str) -> None:
        """Say once what is missing, and take no more calls. To be called with the lock held."""
        if self.is_lost:
            return
        self.is_lost = True
        records = list(dict.fromkeys(record for record, _ in self._calls))
        shown = records if len(records) < 4 else [records[0], "...", records[-1]]
        warn_untracked(self._layout, f"{self._going_on}; not recorded: {', '.join(shown)}", error)
        self._calls.clear()
        self._changed.notify_all()
