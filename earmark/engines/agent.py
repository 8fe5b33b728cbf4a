"""The process between a waiting stage and an engine: `python -m earmark.engines.agent`.

It holds the client of the engine, which the engine may end at any moment, and whose output is of
no interest. It reads a request from stdin, writes what it has to say to stdout, line by line, and
cancels the body once stdin ends, however the stage came to its end.
"""

import json
import os
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from earmark.errors import UserError, reason_of
from earmark.whole_files import discard

POLL_SECONDS = 0.5


class Job(Protocol):
    """A body that was handed to an engine."""

    def poll(self, seconds: float) -> dict[str, Any] | None:
        """Wait for so long at most; what `body.run` returned, None while it runs."""

    def cancel(self) -> None: ...


def submit(request: dict[str, Any], tell: Any) -> Job:
    """Hand the body to the engine that the request names; `tell` shows a line to the user."""
    if request["engine"] == "ray":
        from earmark.engines import ray_engine

        return ray_engine.submit(request, tell)
    from earmark.engines import slurm_engine

    return slurm_engine.submit(request, tell)


def main() -> None:
    # What libraries write to stdout goes where stderr goes.
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    stage_is_gone = Event()
    Thread(target=_wait_for_end, args=(stage_is_gone,), daemon=True).start()

    def write(**message: Any) -> None:
        if not stage_is_gone.is_set():
            answers.write(json.dumps(message) + "\n")

    try:
        job = submit(request, lambda line: write(say=line))
        result = None
        while result is None and not stage_is_gone.is_set():
            result = job.poll(POLL_SECONDS)
        if result is None:
            discard(Path(request["mailbox"]))  # the body's sign to end, if the engine is slow
            job.cancel()
        else:
            write(**result)
    except UserError as error:
        write(problem=error.problems[0])
    except Exception as error:
        write(problem=reason_of(error))
    sys.stdout.flush()
    os._exit(0)  # clients of engines may hang when they end


def _wait_for_end(is_gone: Event) -> None:
    sys.stdin.read()
    is_gone.set()


if __name__ == "__main__":
    main()
