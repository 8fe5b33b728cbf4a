"""A stage's body as a task of Ray, which finds a node for it and runs it again if that dies."""

import os
import socket
import time
from typing import Any

from earmark.engines import body, carrying
from earmark.engines.parcel import parcel_of, put_into_place
from earmark.errors import UserError, reason_of

RETRIES = 3  # of a body whose worker or node died
_PATIENCE_SECONDS = 20.0  # before a body that no node can take is spoken of


class RayJob:
    """One task; what is wrong with the cluster is told in a line."""

    def __init__(self, request: dict[str, Any], tell: Any) -> None:
        import ray

        self._ray, self._tell, self._request = ray, tell, request
        self._needs = request["resources"]
        if self._needs["gpus"] is None:
            self._needs["gpus"] = 1.0 if ray.cluster_resources().get("GPU", 0) > 0 else 0.0
        options: dict[str, Any] = {"num_cpus": self._needs["cpus"], "num_gpus": self._needs["gpus"]}
        if self._needs["memory_bytes"]:
            options["memory"] = self._needs["memory_bytes"]
        for module in (body, carrying):
            ray.cloudpickle.register_pickle_by_value(module)
        is_carried = request["carries"] is not None
        task = ray.remote(carrying.run if is_carried else body.run).options(
            name=f"earmark {request['title']}",
            max_retries=RETRIES,
            retry_exceptions=[ChildProcessError],
            **options,
        )
        if is_carried:
            request |= parcel_of(request) | {"host": socket.gethostname()}
            request["files"] = self._files(request)
        self._patience = time.monotonic() + _PATIENCE_SECONDS
        self._reference = task.remote(request)

    def _files(self, request: dict[str, Any]) -> Any:
        """The actor that a node without our folders asks; it stays on this machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = self._ray.get_runtime_context().get_node_id()
        only_here = NodeAffinitySchedulingStrategy(here, soft=False)
        files = self._ray.remote(carrying.Files).options(num_cpus=0, scheduling_strategy=only_here)
        return files.remote(*(request[key] for key in ("root", "mailbox", "reads", "writes")))

    def poll(self, seconds: float) -> dict[str, Any] | None:
        done, _ = self._ray.wait([self._reference], timeout=seconds)
        if not done:
            self._speak_if_too_large()
            return None
        try:
            result: dict[str, Any] = self._ray.get(self._reference)
        except Exception as error:
            reason = reason_of(getattr(error, "cause", None) or error)
            return {"problem": f"Ray started it {RETRIES + 1} times ({reason}); {body.GO_ON}"}
        if "files" in self._request and result == {"exit": 0}:
            put_into_place(self._request)
        return result

    def cancel(self) -> None:
        self._ray.cancel(self._reference, force=True)
        self._ray.wait([self._reference], timeout=5.0)
        self._ray.shutdown()

    def _speak_if_too_large(self) -> None:
        """Say once that no node has what the task asks for: it waits until one joins."""
        if time.monotonic() < self._patience:
            return
        self._patience = float("inf")
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        asked = {"CPU": self._needs["cpus"], "GPU": self._needs["gpus"]}
        asked["memory"] = self._needs["memory_bytes"]
        if not any(all(n.get(k, 0) >= v for k, v in asked.items()) for n in nodes):
            gb = asked["memory"] / 1e9
            self._tell(
                f"waits: no node of the Ray cluster has {asked['CPU']} CPUs, {asked['GPU']:g} GPUs "
                f"and {gb:.1f} GB; add one, or lower runtime.threads, runtime.workers, "
                "EARMARK_ENGINE_GPUS or EARMARK_ENGINE_MEMORY_GB"
            )


def submit(request: dict[str, Any], tell: Any) -> RayJob:
    """Join the cluster, or start a local one, and hand it the body.

    Raises:
        UserError: nobody answers at the address.
    """
    import ray

    address = request["address"] or "local"
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if address == "local":
        # Ray's own default, 15, is for a desktop; DVC would not run a stage at it either.
        os.environ.setdefault("RAY_worker_niceness", "0")
        n_cpus = max(os.cpu_count() or 1, request["resources"]["cpus"])
        ray.init("local", num_cpus=n_cpus, include_dashboard=False, **quiet)
        return RayJob(request, tell)
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no Ray cluster takes us at {address} ({reason_of(error)}); start one with "
            "`ray start --head`, correct RAY_ADDRESS, or give its token (docs/scaling.md)"
        ) from error
    return RayJob(request, tell)
