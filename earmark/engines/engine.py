"""Hand a stage's body to an engine and wait: its lines, its exit code, its locks.

The stage itself imports neither the engine nor torch. Between them is a process of its own
(`earmark.engines.agent`), which cancels the body however the stage ends.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NoReturn

from earmark.engines.body import GO_ON
from earmark.engines.mailbox import LAUNCHER, Mailbox
from earmark.engines.parcel import CARRIED_STAGES, CARRY, carried_beside
from earmark.engines.resources import Resources, resources_of
from earmark.engines.work_folders import Holder
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params

logger = logging.getLogger(__name__)

ENGINE = "EARMARK_ENGINE"
LIBRARIES = {"ray": "ray", "slurm": "submitit"}
PATIENCE_SECONDS = 10.0  # for a network file system to show a node what was just written
_POLL_SECONDS = 0.2
_CANCEL_SECONDS = 30.0
# Of the environment, what a body gets; EARMARK_ENGINE_ENV names more.
_PASSED_ON = ("DVC_", "EARMARK_", "MLFLOW_")


def run_elsewhere(
    stage: str, title: str, arguments: Mapping[str, str], params: Params, layout: Layout
) -> None:
    """Run the stage's command on the engine that `EARMARK_ENGINE` names, and end as it ends.

    Returns at once where the stage stays here: trivial ones, and a body on its node.

    Args:
        title: what the stage's messages begin with.

    Raises:
        UserError: the engine is unknown, not installed, or lost; no node can run the body.
        SystemExit: the body's exit code.
    """
    name = os.environ[ENGINE]
    if name not in LIBRARIES:
        raise UserError(f"{ENGINE}={name}: set it to {' or '.join(LIBRARIES)}, or unset it")
    needs = resources_of(stage, arguments, params, layout)
    is_carried = os.environ.get(CARRY, "0") not in ("", "0")
    if needs is None or LAUNCHER in os.environ or (is_carried and stage not in CARRIED_STAGES):
        return
    if find_spec(LIBRARIES[name]) is None:
        fix = "pip install -r requirements-cluster.txt"
        raise UserError(f"{ENGINE}={name}: {LIBRARIES[name]} is not installed here; `{fix}`")
    if is_carried and name != "ray":
        raise UserError(f"{CARRY}: Ray alone carries files; unset it for {name}")
    carries = carried_beside(stage, arguments, params, layout.root) if is_carried else None
    mailbox = Mailbox(layout.home)
    request = _request(name, title, stage, needs, layout, mailbox) | {"carries": carries}
    if is_carried:
        del request["environment"][LAUNCHER]  # which is a folder here
    try:
        _wait(request, mailbox)
    finally:
        mailbox.remove()


def _request(
    engine: str, title: str, stage: str, needs: Resources, layout: Layout, mailbox: Mailbox
) -> dict[str, Any]:
    named = os.environ.get("EARMARK_ENGINE_ENV", "").replace(",", " ").split()
    environment = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON) or k in named}
    environment.pop(ENGINE)
    environment[LAUNCHER] = str(mailbox.path)
    address = os.environ.get("EARMARK_RAY_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    return {
        "engine": engine,
        "title": title,
        "root": str(layout.root),
        "mailbox": str(mailbox.path),
        "token": mailbox.token,
        "python": sys.executable,
        "command": ["-m", f"stages.{stage}", *sys.argv[1:]],
        "environment": environment,
        "resources": needs.as_dict(),
        "address": address,
        "patience_seconds": PATIENCE_SECONDS,
    }


def _wait(request: dict[str, Any], mailbox: Mailbox) -> NoReturn:
    """Show what the body writes until it ends.

    Raises:
        UserError: it could not be run to its end.
        SystemExit: its exit code.
    """
    errors = (mailbox.path / "agent").open("w+", encoding="utf-8", errors="backslashreplace")
    # With a session of its own, so that what ends the stage's whole group leaves it to cancel.
    agent = subprocess.Popen(
        [sys.executable, "-m", "earmark.engines.agent"],
        cwd=request["root"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    holder, result = Holder(mailbox), None
    try:
        assert agent.stdin is not None
        agent.stdin.write(json.dumps(request) + "\n")
        agent.stdin.flush()
        result = _follow(agent, mailbox, holder)
    finally:
        _end(agent)
        holder.end(is_done=result == {"exit": 0})
    if result is None:
        errors.seek(0)
        lines = [line for line in errors.read().splitlines() if line.strip()]
        last = f" ({lines[-1].strip()[-160:]})" if lines else ""
        where = f"the cluster at {request['address']}" if request["address"] else "its engine"
        raise UserError(f"{request['engine']}: {where} was lost{last}; {GO_ON}")
    if "problem" in result:
        raise UserError(f"{request['engine']}: {result['problem']}")
    sys.exit(result["exit"])


def _follow(
    agent: "subprocess.Popen[str]", mailbox: Mailbox, holder: Holder
) -> dict[str, Any] | None:
    """Show lines and hold what the body asks for, until the agent ends: with a result, or None."""
    messages: SimpleQueue[str | None] = SimpleQueue()
    Thread(target=_read, args=(agent, messages), daemon=True).start()
    result: dict[str, Any] | None = None
    while True:
        try:
            line = messages.get(timeout=_POLL_SECONDS)
        except Empty:
            line = ""
        if line:
            message = json.loads(line)
            if "say" in message:
                logger.warning("%s", message["say"])
            else:
                result = message
        holder.answer()
        has_ended = line is None or result is not None
        sys.stderr.write(mailbox.new_lines(is_last=has_ended))
        sys.stderr.flush()
        if has_ended:
            return result


def _read(agent: "subprocess.Popen[str]", messages: "SimpleQueue[str | None]") -> None:
    assert agent.stdout is not None
    for line in agent.stdout:
        messages.put(line)
    messages.put(None)


def _end(agent: "subprocess.Popen[str]") -> None:
    """Let the agent cancel what still runs, however often Ctrl-C comes."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert agent.stdin is not None
        agent.stdin.close()
        agent.wait(_CANCEL_SECONDS)
    except (BrokenPipeError, subprocess.TimeoutExpired):
        agent.kill()
        agent.wait()
    finally:
        signal.signal(signal.SIGINT, before)
