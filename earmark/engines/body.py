"""What runs on the node: the stage's own command, in the repository that all nodes share.

Of the standard library alone, since it is sent there by value: a node without the repository can
say so.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

GO_ON = "run it again: it goes on from its last checkpoint"  # how a message of a loss ends

# Ends with the process that started it, from before the first line of the stage on.
_BOUND = """
import ctypes, os, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == parent:
    os.execv(command[0], command)
"""


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run the command of a request until it ends, or its waiting stage is gone.

    Args:
        request: `root`, `mailbox`, `token`, `python`, `command`, `environment`, `title`,
            `patience_seconds`.

    Returns:
        `{"exit": code}`, or `{"problem": line}` where the node cannot run it.

    Raises:
        ChildProcessError: the command was killed by a signal; the engine runs it again.
    """
    if problem := _problem_of_node(request):
        return {"problem": problem}
    marker = Path(request["mailbox"], "marker")
    with Path(request["mailbox"], "log").open("ab", buffering=0) as log:
        _say_if_again(request, log)

        def tell() -> bool:
            os.fsync(log.fileno())  # what the process has written, too
            return marker.exists()

        return exit_of(wait(start(request, Path(request["root"]), log), tell))


def exit_of(code: int | None) -> dict[str, Any]:
    """What `run` returns, or raises, for what `wait` returned."""
    if code is None:
        return {"problem": "the stage that waited for it is gone"}
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        raise ChildProcessError(f"it was killed by {name} on node {socket.gethostname()}")
    return {"exit": code}


def _problem_of_node(request: dict[str, Any]) -> str:
    """Why this node cannot run it; "" where it can."""
    root, node = Path(request["root"]), socket.gethostname()
    marker = Path(request["mailbox"], "marker")
    need = "let nodes share it at one path, or set EARMARK_ENGINE_CARRY=1 (docs/scaling.md)"
    end = time.monotonic() + request["patience_seconds"]
    while root.is_dir():
        try:
            if marker.read_text() == request["token"]:
                return ""
        except OSError:
            pass
        if time.monotonic() > end:  # a network file system may be late
            return f"{root} on node {node} is another copy of the repository; {need}"
        time.sleep(0.2)
    return f"node {node} has no folder {root}; {need}"


def _say_if_again(request: dict[str, Any], log: BinaryIO) -> None:
    started = Path(request["mailbox"], "started")
    if started.exists():
        log.write(again(request["title"], socket.gethostname()))
    started.touch()


def again(title: str, node: str) -> bytes:
    """The line for a body that was started before."""
    return f"{title}: its process ended; it goes on at {node}\n".encode()


def start(request: dict[str, Any], folder: Path, log: BinaryIO) -> "subprocess.Popen[bytes]":
    """Start the command of a request in a folder; it ends with this process."""
    python = request["python"] if Path(request["python"]).exists() else sys.executable
    environment = {name: value for name, value in os.environ.items() if name != "EARMARK_ENGINE"}
    environment |= request["environment"]
    environment["PATH"] = f"{Path(python).parent}:{environment.get('PATH', '')}"
    command = [python, *request["command"]]
    if sys.platform == "linux":
        command = [python, "-c", _BOUND, str(os.getpid()), *command]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )


def wait(process: "subprocess.Popen[bytes]", tell: Callable[[], bool]) -> int | None:
    """Its exit code; None where nobody waits for it any more, and it is killed.

    Args:
        tell: shows what the process has printed since the last call; whether somebody waits.
    """
    n_missing = 0
    try:
        while n_missing < 3:  # a network file system may lose a file for a moment
            try:
                return process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                n_missing = 0 if tell() else n_missing + 1
        return None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        tell()
