"""Which GPU a stage gets: the one with the fewest stages, if another fits beside them."""

import os
import subprocess
from collections.abc import Callable

SETTLED_SECONDS = 30.0  # after which a stage has taken most of the memory that it will take
MARGIN = 1.25  # what must be free, to what each stage there takes


def visible_gpus() -> list[str]:
    """Their numbers or names, as CUDA_VISIBLE_DEVICES takes them; empty without any."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in named.split(",") if name.strip() not in ("", "-1")]
    return _ask("index", [])


def has_room(gpu: str, n_running: int) -> bool:
    """Whether one stage more fits into the memory of a GPU, if it takes what those there take."""
    (answer,) = _ask("memory.free,memory.used", ["-i", gpu]) or ["0, 1"]
    free, used = (float(number) for number in answer.split(","))
    return free >= MARGIN * used / n_running


def _ask(what: str, of: list[str]) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits", *of]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


class Gpus:
    """GPUs that are lent to stages.

    Args:
        names: as of `visible_gpus`.
        room: `has_room`.
    """

    def __init__(self, names: list[str], room: Callable[[str, int], bool] = has_room) -> None:
        self._lent: dict[str, dict[str, float]] = {name: {} for name in names}
        self._room = room
        self._full: dict[str, float] = {}  # when a GPU was last found to be so

    def __bool__(self) -> bool:
        return bool(self._lent)

    def lend(self, stage: str, now: float) -> str | None:
        """A GPU for a stage; None while there is no room on any.

        Args:
            now: of a clock that only goes forward, in seconds.
        """
        for name, running in sorted(self._lent.items(), key=lambda one: len(one[1])):
            # Whoever waits asks many times a second, and the driver's program takes a while.
            times = [*running.values(), *([self._full[name]] if name in self._full else [])]
            settled = all(now - time >= SETTLED_SECONDS for time in times)
            if not running or (settled and self._room(name, len(running))):
                running[stage] = now
                return name
            if settled:
                self._full[name] = now
        return None

    def take_back(self, stage: str) -> None:
        for name, running in self._lent.items():
            if running.pop(stage, None) is not None:
                self._full.pop(name, None)
