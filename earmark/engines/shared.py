"""Hand a training to a process that several trainings share, and wait for its end.

`python -m earmark repro --together` runs that process, which is `earmark.repro.trainer`. A stage
whose trainer is gone, or has other code, trains by itself.
"""

import json
import logging
import os
import socket
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from typing import Any

from earmark.engines.body import GO_ON
from earmark.errors import UserError

logger = logging.getLogger(__name__)

TRAINER = "EARMARK_TRAINER"  # in the environment of a stage: the path of the trainer's socket
TRAININGS = ("train", "finetune")  # the stages that may be handed over
_END_SECONDS = 30.0  # that a training has for its step after Ctrl-C


def train_together(request: Mapping[str, Any]) -> None:
    """Let the trainer that `EARMARK_TRAINER` names run the stage's body, and end as that ends.

    Returns at once where it cannot, or the stage is none of a training.

    Args:
        request: the `stage`, the `title` that its messages begin with, its `arguments`, the digest
            of the `code` behind it, the `version` of all sources, and the key of params.yaml that
            takes less memory if `lower`.

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
    with connection, connection.makefile("r", encoding="utf-8") as answers:
        try:
            connection.sendall((json.dumps(request) + "\n").encode())
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
