"""Bodies on a cluster of Ray that is simulated on this machine: nodes on loopback, made-up GPUs.

Run where requirements-cluster.txt is installed; docs/scaling.md has the command.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.engines.carrying import FOLDER
from tests.engines.small_stage import (
    SECONDS,
    Waiting,
    ends,
    make_repository,
    nothing_is_left,
)
from tests.processes import wait_until
from tests.source_graph import ROOT

ray = pytest.importorskip("ray", reason="Ray is not here: pip install -r requirements-cluster.txt")
pytestmark = pytest.mark.slow

# Before Ray reads them. Its own waits, 30 s each, are too short where other work keeps cores busy;
# the one for a lost head is a minute, and only makes the test longer.
os.environ.update(
    RAY_raylet_start_wait_time_s="300",
    RAY_worker_niceness="0",
    RAY_gcs_rpc_server_reconnect_timeout_s="5",
    RAY_health_check_period_ms="1000",
    RAY_health_check_failure_threshold="5",
    RAY_DISABLE_IMPORT_WARNING="1",
    PYTHONPATH=str(ROOT),
)


class Nodes:
    """A head without slots, and nodes with two CPUs and two GPUs each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=False)
        self.head = self.cluster.add_node(
            wait=False, num_cpus=0, include_dashboard=False, dashboard_port=None
        )
        self.workers = [self.add() for _ in range(2)]

    def add(self):
        node = self.cluster.add_node(wait=False, num_cpus=4, num_gpus=2)
        self.cluster.wait_for_nodes(timeout=300)
        return node

    def stage(self, root: Path, *arguments: str) -> Waiting:
        address = {"EARMARK_RAY_ADDRESS": self.cluster.address}
        return Waiting(root, *arguments, EARMARK_ENGINE="ray", **address)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    os.environ[FOLDER] = str(tmp_path_factory.mktemp("node"))
    found = Nodes()
    yield found
    found.cluster.shutdown()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def n_epochs(root: Path, name: str) -> int:
    return int((root / f"{name}.epochs").read_text())


def test_eight_bodies_share_four_gpus(nodes: Nodes, tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    stages = [nodes.stage(root, f"s{i}", "gpu", "8") for i in range(8)]
    most = 0
    while any(one.process.poll() is None for one in stages):
        most = max(most, len(list(root.glob("*.on"))))
        time.sleep(0.1)
    for code, text in [one.end() for one in stages]:
        assert code == 0, text
        assert "epoch 8\n" in text
        assert re.search("gpus '[01]'", text)
    assert 2 <= most <= 4
    assert nothing_is_left(root)


def test_however_a_stage_ends_its_body_does_not_go_on(nodes: Nodes, tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    interrupted, killed = (nodes.stage(root, name, "1000") for name in ("a", "b"))
    failing = nodes.stage(root, "c", "error")
    pids = [interrupted.body(), killed.body()]
    interrupted.interrupt()
    killed.kill()
    assert all(map(ends, pids))
    code, text = interrupted.end()
    assert (code, text.splitlines()[-1]) == (130, "train: stopped; run it again to go on")
    assert failing.end() == (1, "c: begins\ntrain: clip 7: too short; leave it out\n")
    assert nothing_is_left(root)


def test_a_killed_worker_and_a_killed_node_cost_an_epoch_that_is_not_finished(
    nodes: Nodes, tmp_path: Path
) -> None:
    root = make_repository(tmp_path)
    waiting = nodes.stage(root, "a", "120")
    first = waiting.body()
    worker = parent_of(first)
    os.kill(worker, signal.SIGKILL)
    assert ends(first)
    n_done = n_epochs(root, "a")
    assert wait_until(lambda: n_epochs(root, "a") > n_done, seconds=SECONDS)
    second = waiting.body()
    assert second != first
    raylet = parent_of(parent_of(second))
    assert "raylet" in Path(f"/proc/{raylet}/comm").read_text()
    os.kill(raylet, signal.SIGKILL)
    assert ends(second)
    code, text = waiting.end()
    assert code == 0, text
    assert [line for line in text.splitlines() if "its process ended; it goes on at" in line]
    done = [int(n) for n in re.findall(r"epoch (\d+)", text)]
    assert sorted(set(done)) == list(range(1, 121))
    assert len(done) <= 120 + 2  # one epoch for each kill, which was done and not told


def test_nodes_that_share_no_folder_are_sent_what_a_stage_reads(
    nodes: Nodes, tmp_path: Path
) -> None:
    root = make_repository(tmp_path)
    (root / "rows").write_text("1 2 3")
    stage = {"cmd": f"{sys.executable} -m stages.train a 30", "deps": ["rows"], "outs": ["a.out"]}
    (root / "dvc.yaml").write_text(json.dumps({"stages": {"train": stage}}))
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=root, check=True)
    environment = {
        "EARMARK_ENGINE": "ray", "EARMARK_RAY_ADDRESS": nodes.cluster.address,
        "EARMARK_ENGINE_CARRY": "1", "EARMARK_ENGINE_ENV": "PYTHONPATH",
        "EARMARK_ENGINE_MEMORY_GB": "0", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    repro = subprocess.Popen(
        [*dvc, "repro"], cwd=root, env=os.environ | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip

    def pids() -> list[Path]:
        return list(Path(os.environ[FOLDER]).glob("*/bodies/*/a.pid"))

    wait_until(lambda: bool(pids()) or repro.poll() is not None, seconds=SECONDS)
    assert pids(), repro.communicate()[0]
    assert (pids()[0].parent / "rows").read_text() == "1 2 3"
    os.kill(parent_of(int(pids()[0].read_text())), signal.SIGKILL)
    text = repro.communicate(timeout=SECONDS)[0]
    assert repro.returncode == 0, text
    assert "train: its process ended; it goes on at " in text
    assert "a: epoch 30\n" in text
    assert (root / "a.out").read_text() == "30"
    assert not (root / "a.epochs").exists()  # which is no out
    assert nothing_is_left(root)


def test_a_lost_head_ends_in_a_line_and_a_rerun_goes_on(nodes: Nodes, tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    waiting = nodes.stage(root, "a", "1000")
    body = waiting.body()
    nodes.cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
    code, text = waiting.end()
    line = text.splitlines()[-1]
    assert code == 1
    assert line.startswith(f"train: ray: the cluster at {nodes.cluster.address} was lost"), text
    assert line.endswith("run it again: it goes on from its last checkpoint")
    assert ends(body)
    n_done = n_epochs(root, "a")
    code, text = Waiting(root, "a", str(n_done + 1)).end()
    assert (code, text) == (0, f"a: begins\na: epoch {n_done + 1}\n")
