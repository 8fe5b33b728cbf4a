"""Bodies as jobs of submitit, by its local executor: no SLURM is needed.

Run where requirements-cluster.txt is installed; docs/scaling.md has the command.
"""

from pathlib import Path

import pytest

from tests.engines.small_stage import Waiting, ends, make_repository, nothing_is_left

reason = "submitit is not here: pip install -r requirements-cluster.txt"
pytest.importorskip("submitit", reason=reason)
pytestmark = pytest.mark.slow


def stage(root: Path, *arguments: str) -> Waiting:
    return Waiting(root, *arguments, EARMARK_ENGINE="slurm", EARMARK_SLURM_EXECUTOR="local")


def test_jobs_of_submitit_end_as_their_stages_do(tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    good, bad = stage(root, "a", "hold", "2"), stage(root, "b", "error")
    interrupted, killed = stage(root, "c", "1000"), stage(root, "d", "1000")
    pids = [interrupted.body(), killed.body()]
    interrupted.interrupt()
    killed.kill()
    assert all(map(ends, pids))
    assert interrupted.end()[0] == 130
    assert good.end() == (0, "a: begins\na: epoch 1\na: epoch 2\n")
    assert [path.name for path in (root / "work" / "a").iterdir()] == ["run-1"]
    assert bad.end() == (1, "b: begins\ntrain: clip 7: too short; leave it out\n")
    assert nothing_is_left(root)
