"""Hand a training to a process that several trainings share, and wait for its end.

`python -m earmark repro --together` runs that process, which is `earmark.repro.trainer`. A stage
whose trainer is gone, or has other code, trains by itself.
"""

import hashlib
import json
import logging
import os
import socket
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from earmark.engines.body import GO_ON
from earmark.errors import UserError

logger = logging.getLogger(__name__)

TRAINER = "EARMARK_TRAINER"  # in the environment of a stage: the path of the trainer's socket
TRAININGS = ("train", "finetune")  # the stages that may be handed over
_END_SECONDS = 30.0  # that a training has for its step after Ctrl-C


def train_together(request: Mapping[str, Any], root: Path, extensions: str) -> None:
    """Let the trainer that `EARMARK_TRAINER` names run the stage's body, and end as that ends.

    Returns at once where it cannot, or the stage is none of a training.

    Args:
        request: the `stage`, the `title` that its messages begin with, its `arguments`, the digest
            of the `code` behind it, and the key of params.yaml that takes less memory if `lower`.
        root: the folder of dvc.yaml.
        extensions: the folder of the user's own networks below it.

    Raises:
        UserError: the problems of the training, or the trainer was lost.
        SystemExit: the body's exit code.
    """
    if request["stage"] not in TRAININGS:
        return
    title, connection = request["title"], socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.environ[TRAINER])
    except OSError:
        logger.warning("%s: the process to train in is gone; this one trains", title)
        return
    asked = {**request, "version": sources_version(root, extensions)}
    with connection, connection.makefile("r", encoding="utf-8") as answers:
        try:
            connection.sendall((json.dumps(asked) + "\n").encode())
            end = _follow(answers)
        except KeyboardInterrupt:
            _stop(connection, answers)
            raise
    if end is None:
        where = "(.earmark/repro/trainer.log may say why)"
        raise UserError(f"the process that trained it with others was lost {where}; {GO_ON}")
    if "declined" in end:
        if end["declined"]:
            logger.warning("%s: %s; this one trains", title, end["declined"])
        return
    if "problems" in end:
        error = UserError(*end["problems"])
        error.exit_code = end["exit"]
        raise error
    sys.stderr.write(end.get("traceback", ""))
    sys.exit(end["exit"])


def _follow(answers: TextIOWrapper) -> dict[str, Any] | None:
    """Show lines until the end, which is returned; None if there is none."""
    try:
        for line in answers:
            message: dict[str, Any] = json.loads(line)
            if "say" not in message:
                return message
            logger.info("%s", message["say"])
    except (OSError, ValueError):  # killed, perhaps in the midst of a line
        pass
    return None


def _stop(connection: socket.socket, answers: TextIOWrapper) -> None:
    """Tell the trainer that nobody waits, and let it end the step that it is in."""
    try:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_END_SECONDS)
        _follow(answers)
    except OSError:
        pass


def sources_version(root: Path, extensions: str) -> str:
    """A digest of all modules that a training may import."""
    version = hashlib.blake2b(digest_size=16)
    for folder in ("earmark", extensions):
        for path in sorted((root / folder).rglob("*.py")):
            version.update(path.name.encode() + b"\0" + path.read_bytes())
    return version.hexdigest()
