"""A process that several trainings share: `python -m earmark.repro.trainer DESCRIPTOR`.

Libraries are loaded once, a GPU has one context of CUDA and one copy of a corpus, and the kernels
of trainings too small for it run beside each other, in a stream for each. What a training's stage
would do itself is done by a thread of its own here; threads take turns, a step each, and end in the
same bytes (`earmark.training.turns`). A training whose stage has gone ends after its step.
"""

import json
import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from threading import Thread
from typing import Any

from earmark.code_digests import sources_version
from earmark.errors import UserError
from earmark.exits import INTERRUPTED, clean_exit, explain
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import load_params
from earmark.processes import duration, set_up_process
from earmark.turns import Turns

logger = logging.getLogger(__name__)

_of_training: ContextVar[Callable[..., None] | None] = ContextVar("of_training", default=None)


def main() -> None:
    layout = Layout.here()
    params = load_params(layout.params)
    # Once: OpenBLAS obeys the thread alone that has set its number of threads first.
    set_up_process(threads=params.runtime.threads)
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        Trainer(layout, params).serve(listener)


class Trainer:
    """Runs the trainings that stages ask for, until it is killed or its GPU fails.

    Args:
        params: of the time of its start; of each training they are read again.
    """

    def __init__(self, layout: Layout, params: Params) -> None:
        self._layout = layout
        self._version = sources_version(layout.root, params.extensions)
        self._turns = Turns()
        self._stages = _ToStages()
        logging.captureWarnings(capture=True)
        logging.getLogger().addHandler(self._stages)

    def serve(self, listener: socket.socket) -> None:
        """Start a thread for each stage that connects."""
        import earmark.training.run  # noqa: F401 -- here, not in two threads at once

        while True:
            connection, _ = listener.accept()
            Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                request = json.loads(connection.makefile("r", encoding="utf-8").readline())
            except (OSError, ValueError):  # its stage was killed as it asked
                return
            say = _sender(connection)
            with self._stages.told(say):
                end = self._end_of(request, connection)
            say(**end)
            with suppress(OSError):  # its stage has gone
                connection.shutdown(socket.SHUT_RDWR)  # `watch` reads on it
        if "CUDA error" in end.get("traceback", ""):
            os._exit(1)  # no training can use the GPU from here any more

    def _end_of(self, request: dict[str, Any], connection: socket.socket) -> dict[str, Any]:
        """Train, unless its stage had better do that; how it ended."""
        try:
            if request["version"] != self._version:
                return {"declined": "code has changed since the process to train in was started"}
            params = load_params(self._layout.params)
            if _is_fitted_at_once(request, params):
                return {"declined": ""}  # it has no steps, and would keep its turn to the end
            self._train(request, params, connection)
        except UserError as error:
            return {"problems": error.problems, "exit": error.exit_code}
        except KeyboardInterrupt:
            return {"exit": INTERRUPTED}
        except BaseException as error:  # a network of the user's own may call sys.exit
            if (problem := explain(error, request["lower"])) is not None:
                return {"problems": [problem], "exit": 1}
            return {"traceback": traceback.format_exc(), "exit": 1}
        return {"exit": 0}

    def _train(self, request: dict[str, Any], params: Params, connection: socket.socket) -> None:
        start = time.monotonic()
        with self._turns.part() as part:

            def watch() -> None:
                with suppress(OSError):
                    connection.recv(1)  # nothing, once the stage has gone
                part.is_stopped = True

            Thread(target=watch, daemon=True).start()
            with _stream(params.runtime.device):
                _body_of(request["stage"])(
                    params, self._layout, **request["arguments"], code=request["code"]
                )
            logger.info("%s: %s", request["title"], duration(time.monotonic() - start))


def _is_fitted_at_once(request: dict[str, Any], params: Params) -> bool:
    from earmark.networks import find

    arguments = request["arguments"]
    model = params.models.get(arguments.get("group", ""), {}).get(arguments.get("model", ""))
    return model is not None and find(model.network.name).is_fitted_at_once


def _body_of(stage: str) -> Callable[..., object]:
    from earmark.training.run import train_extractor, train_model

    return train_extractor if stage == "finetune" else partial(train_model, extractor=None)


@contextmanager
def _stream(device: str) -> Iterator[None]:
    """Let a GPU compute the block beside other trainings, and leave it no memory."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        yield
        return
    try:
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.cuda.empty_cache()


def _sender(connection: socket.socket) -> Callable[..., None]:
    def say(**message: Any) -> None:
        with suppress(OSError):  # the stage has gone; its training hears of that at its next turn
            connection.sendall((json.dumps(message) + "\n").encode())

    return say


class _ToStages(logging.Handler):
    """Takes the lines of a training's thread to its stage, and those of other threads to all."""

    def __init__(self) -> None:
        super().__init__()
        self._all: list[Callable[..., None]] = []

    @contextmanager
    def told(self, say: Callable[..., None]) -> Iterator[None]:
        """Within the block `say` gets the lines of this thread, and of those with its context."""
        _of_training.set(say)
        self._all.append(say)
        try:
            yield
        finally:
            self._all.remove(say)

    def emit(self, record: logging.LogRecord) -> None:
        ours = _of_training.get()
        for say in [ours] if ours else list(self._all):
            say(say=self.format(record))


if __name__ == "__main__":
    with clean_exit("trainer"):
        main()
