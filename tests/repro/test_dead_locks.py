"""DVC's locks on paths, after processes were killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from earmark.repro.dead_locks import release_dead


def test_what_ended_and_zombie_processes_held_is_free_and_the_rest_is_not(tmp_path: Path) -> None:
    folder = tmp_path / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    zombie = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays
    by = [{"pid": pid, "cmd": "dvc"} for pid in (os.getpid(), gone.pid, zombie.pid)]
    lock = {
        "write": {"mine": by[0], "of_gone": by[1], "of_zombie": by[2]},
        "read": {"shared": by, "of_both": by[1:]},
    }
    (folder / "rwlock").write_text(json.dumps(lock))
    release_dead(tmp_path)
    found = json.loads((folder / "rwlock").read_text())
    assert found == {"write": {"mine": by[0]}, "read": {"shared": [by[0]]}}
    assert zombie.wait() == -signal.SIGKILL


def test_without_a_lock_there_is_nothing_to_do(tmp_path: Path) -> None:
    release_dead(tmp_path)
    assert not (tmp_path / ".dvc").exists()
