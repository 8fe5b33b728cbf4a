"""A stage's body as a job of SLURM, through submitit."""

import math
import os
import time
from pathlib import Path
from typing import Any

from earmark.engines import body
from earmark.errors import UserError, reason_of

DEFAULT_MINUTES = 24 * 60


class Submitted:
    """What SLURM runs; after a time limit or a preemption it is put into the queue again."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request

    def __call__(self) -> dict[str, Any]:
        try:
            return body.run(self.request)
        except ChildProcessError as error:
            return {"problem": f"{error}; {body.GO_ON}"}

    def checkpoint(self) -> Any:
        """What submitit asks for before it puts the job into the queue again."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


class SlurmJob:
    """One job, and what became of it."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def poll(self, seconds: float) -> dict[str, Any] | None:
        if not self._job.done():
            time.sleep(seconds)
            return None
        try:
            result: dict[str, Any] = self._job.result()
        except Exception as error:
            reason = reason_of(error)
            return {"problem": f"SLURM's job {self._job.job_id} ended ({reason}); {body.GO_ON}"}
        return result

    def cancel(self) -> None:
        self._job.cancel(check=False)


def options_of(request: dict[str, Any]) -> dict[str, Any]:
    """submitit's parameters: what the body needs, and what EARMARK_SLURM_* says.

    Raises:
        UserError: EARMARK_SLURM_MINUTES or EARMARK_SLURM_OPTIONS cannot be read.
    """
    needs, environment = request["resources"], os.environ
    options: dict[str, Any] = {
        "name": f"earmark {request['title']}".replace(" ", "-"),
        "cpus_per_task": needs["cpus"],
        "timeout_min": _minutes(environment.get("EARMARK_SLURM_MINUTES", "")),
    }
    if needs["memory_bytes"]:
        options["mem_gb"] = math.ceil(needs["memory_bytes"] / 1e9)
    if needs["gpus"]:  # auto is none here: SLURM does not say what a job will find
        options["gpus_per_node"] = math.ceil(needs["gpus"])
    if partition := environment.get("EARMARK_SLURM_PARTITION"):
        options["slurm_partition"] = partition
    if text := environment.get("EARMARK_SLURM_OPTIONS"):
        options["slurm_additional_parameters"] = _pairs(text)
    return options


def submit(request: dict[str, Any], tell: Any) -> SlurmJob:  # noqa: ARG001 -- as Ray's
    """Put the body into SLURM's queue.

    Raises:
        UserError: there is no SLURM, or it refuses the options.
    """
    import cloudpickle
    import submitit

    cloudpickle.register_pickle_by_value(body)
    cluster = os.environ.get("EARMARK_SLURM_EXECUTOR") or "slurm"
    try:
        executor = submitit.AutoExecutor(Path(request["mailbox"]) / "slurm", cluster=cluster)
        executor.update_parameters(**options_of(request))
        return SlurmJob(executor.submit(Submitted(request)))
    except (RuntimeError, submitit.core.utils.FailedJobError) as error:
        raise UserError(f"SLURM takes no job here ({reason_of(error)})") from error


def _minutes(text: str) -> int:
    if not text:
        return DEFAULT_MINUTES
    if not text.isdigit() or not int(text):
        raise UserError(f"EARMARK_SLURM_MINUTES={text}: set it to a whole number from 1 on")
    return int(text)


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split()]
    if not all(name and sign for name, sign, _ in pairs):
        raise UserError(f"EARMARK_SLURM_OPTIONS={text}: write `name=value name=value`")
    return {name: value for name, _, value in pairs}
