"""What killed processes still hold of DVC's locks on paths."""

from pathlib import Path

import psutil


def release_dead(root: Path) -> None:
    """Take out what processes hold that have ended, zombies too, which DVC takes for alive.

    Who kills a run leaves its `dvc` processes to the init of the machine. In a container without
    one they stay zombies, and what they held would be busy until it stops.

    Args:
        root: the folder of dvc.yaml.
    """
    from dvc.fs import localfs
    from dvc.rwlock import RWLOCK_FILE, _edit_rwlock

    path = root / ".dvc" / "tmp" / RWLOCK_FILE
    if not path.exists():
        return
    with _edit_rwlock(str(path.parent), localfs, False) as lock:
        lock["write"] = {one: by for one, by in lock["write"].items() if _lives(by["pid"])}
        readers = {one: [b for b in by if _lives(b["pid"])] for one, by in lock["read"].items()}
        lock["read"] = {one: by for one, by in readers.items() if by}


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
