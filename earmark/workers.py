"""A pool of worker processes of which any may be killed at any moment: that is one clear error.

Each worker has a socket of its own, whose other end no other process holds. However a worker dies,
and within whatever message, the parent reads an end of file there, and nothing is left that others
share. (`concurrent.futures` lets all workers write to one pipe behind one lock: who is killed while
it writes leaves half a message, for whose rest the parent waits for ever.) The parent never waits
for the rest of a message, so a worker that is stopped, as by SIGSTOP, only delays its own items.

A forked worker inherits the function and the items, unpickled. A spawned one, as on macOS, gets
them pickled, once. What is sent then are numbers of items, and results.
"""

import atexit
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from earmark.errors import UserError, how_it_ended

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
_ITEMS_AHEAD = 16  # of each worker, at most: handed out or done, and not yet yielded
_ITEMS_QUEUED = 2  # so that a worker need not wait for its next item
_NUMBER = struct.Struct("!Q")  # of an item, or of the bytes of a result
_READ = 1 << 20  # bytes
_POLL_SECONDS = 1.0  # between looks for a dead worker whose socket a child of its own still holds
_END_SECONDS = 5.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerTraceback(Exception):  # noqa: N818 -- it is the cause of an error, never raised itself
    """Where in its worker an exception was raised."""


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    channel: socket.socket
    items: deque[int] = field(default_factory=deque)  # handed out and not answered, in order
    received: bytearray = field(default_factory=bytearray)
    has_ended: bool = False

    def read(self) -> None:
        """Take what has arrived; never waits."""
        try:
            data = self.channel.recv(_READ)
        except BlockingIOError:
            return
        except ConnectionError:  # it died with numbers of items unread
            data = b""
        self.received += data
        self.has_ended = not data

    def results(self) -> Iterator[tuple[int, Any]]:
        """The items that have arrived whole, each with its pickled outcome."""
        head = _NUMBER.size
        while len(self.received) >= head:
            end = head + _NUMBER.unpack_from(self.received)[0]
            if len(self.received) < end:
                return
            with memoryview(self.received) as view:
                outcome = pickle.loads(view[head:end])
            del self.received[:end]
            yield self.items.popleft(), outcome


class Pool(Generic[Item, Result]):
    """Applies a function to items in other processes; see `__iter__`.

    Args:
        workers: the largest number of processes.
        prepare: what each worker calls first.
        name_of: how an error names an item.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        workers: int,
        prepare: Callable[[], None],
        name_of: Callable[[Item], object],
    ) -> None:
        self._items, self._name_of, self._asked = items, name_of, workers
        self._work = (prepare, function, items)
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._next = 0  # the first item that no worker has
        self._outcomes: dict[int, tuple[bool, Any]] = {}

    def __iter__(self) -> Iterator[Result]:
        """Yield the results in the order of the items; few of them are ahead of the one yielded.

        Raises:
            UserError: a worker died, or could not be started.
            Exception: what the function raised for the first item of which it raised anything.
        """
        atexit.register(self._end)  # before multiprocessing waits for workers, stopped ones too
        try:
            self._start()
            for index in range(len(self._items)):
                self._exchange(index, wait_seconds=0.0)
                while index not in self._outcomes:
                    self._exchange(index, wait_seconds=_POLL_SECONDS)
                is_result, value = self._outcomes.pop(index)
                if not is_result:
                    error, text = value
                    raise error from WorkerTraceback(text)
                yield value
        finally:
            self._end()
            atexit.unregister(self._end)

    def _start(self) -> None:
        # Ctrl-C between a fork and the moment at which the worker ignores it would be a traceback
        # of the worker; in this process it would leave a worker that nobody knows.
        can_block = hasattr(signal, "pthread_sigmask")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_block else set()
        try:
            for _ in range(min(self._asked, len(self._items))):
                self._start_one()
        except OSError as error:
            raise UserError(
                f"worker process {len(self._workers) + 1} of {self._asked} cannot be started "
                f"({error.strerror or error}); lower runtime.workers in params.yaml"
            ) from error
        finally:
            if can_block:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _start_one(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:  # from here on its process alone holds it
            inherited = [worker.channel for worker in self._workers] + [ours]
            to_close = inherited if START_METHOD == "fork" else []
            context: Any = get_context(START_METHOD)
            process = context.Process(
                target=_serve, args=(theirs, to_close, *self._work), daemon=True
            )
            process.start()
        ours.setblocking(False)
        self._workers.append(_Worker(process, ours))
        self._selector.register(ours, selectors.EVENT_READ, self._workers[-1])

    def _exchange(self, index: int, *, wait_seconds: float) -> None:
        """Hand out items, and take the results that are there or come in time."""
        limit = min(index + _ITEMS_AHEAD * self._asked, len(self._items))
        while self._next < limit:
            idlest = min(self._workers, key=lambda worker: len(worker.items))
            if len(idlest.items) >= _ITEMS_QUEUED:
                break
            with suppress(ConnectionError):  # its end is read below
                idlest.channel.send(_NUMBER.pack(self._next))
            idlest.items.append(self._next)
            self._next += 1
        ready = [key.data for key, _ in self._selector.select(wait_seconds)]
        for worker in ready:
            worker.read()
            self._outcomes.update(worker.results())
        if wait_seconds and not ready:
            ready = [worker for worker in self._workers if worker.process.exitcode is not None]
            for worker in ready:
                worker.has_ended = True
        for worker in ready:
            if worker.has_ended:
                raise UserError(self._death_of(worker))

    def _death_of(self, worker: _Worker) -> str:
        process = worker.process
        process.join(_END_SECONDS)  # else its exit code is not known yet
        code = process.exitcode or 0
        doing = f" at {self._name_of(self._items[worker.items[0]])}" if worker.items else ""
        if code == -signal.SIGKILL:
            fix = (
                "memory has probably run out: lower runtime.workers in params.yaml "
                f"(it is {self._asked}), then run it again"
            )
        else:
            fix = "run it again; if it ends at the same place, leave that recording out"
        return f"worker process {process.pid} {how_it_ended(code)}{doing}; {fix}"

    def _end(self) -> None:
        """Kill the workers: all results are here, or none are wanted. It works on stopped ones."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(_END_SECONDS)
            worker.channel.close()
        self._workers.clear()
        self._selector.close()


def _serve(
    channel: socket.socket,
    to_close: Sequence[socket.socket],
    prepare: Callable[[], None],
    function: Callable[[Any], Any],
    items: Sequence[Any],
) -> None:
    """Run a worker until the parent closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone answers Ctrl-C
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for inherited in to_close:
        inherited.close()
    prepare()
    parent = parent_process()
    if parent is None or os.getppid() != parent.pid:  # it died before `prepare` could bind us to it
        return
    with suppress(ConnectionError), channel.makefile("rb") as numbers:
        while number := numbers.read(_NUMBER.size):
            outcome = _outcome(function, items[_NUMBER.unpack(number)[0]])
            channel.sendall(_NUMBER.pack(len(outcome)))
            channel.sendall(outcome)


def _outcome(function: Callable[[Any], Any], item: Any) -> bytes:
    """Pickled: True and the result, or False and the exception with the text of its traceback."""
    try:
        return pickle.dumps((True, function(item)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        text = "\n" + traceback.format_exc()
        try:
            failed = pickle.dumps((False, (error, text)))
            pickle.loads(failed)  # some can be pickled, and not made again
        except Exception:
            message = "".join(traceback.format_exception_only(error)).strip()
            failed = pickle.dumps((False, (RuntimeError(message), text)))
        return failed
