"""Work is spread over processes and comes back in order, or fails at once; threads are as set."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from earmark import processes
from earmark.processes import duration, map_ordered, progress, set_up_process
from stages import stage
from tests.source_graph import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked")


def spread(
    function: Callable[[int], int], items: Sequence[int], *, workers: int, chunk: int = 4
) -> list[int]:
    return list(map_ordered(function, items, workers=workers, description="test", chunk=chunk))


def uneven(item: int) -> int:
    return sum(range(item % 7 * 2000)) + item  # the first of a chunk may well end last


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("n_items", [0, 1, 5, 103])
def test_order_and_results_are_those_of_a_plain_loop(workers, n_items):
    assert spread(uneven, range(n_items), workers=workers) == [uneven(i) for i in range(n_items)]


def test_the_work_is_done_by_other_processes_and_each_item_once():
    assert set(spread(lambda _: os.getpid(), range(8), workers=1)) == {os.getpid()}
    pids = spread(lambda _: os.getpid(), range(8), workers=2)
    assert os.getpid() not in pids
    assert len(set(pids)) <= 2


def test_few_results_are_in_flight_at_a_time(monkeypatch):
    submitted = []

    class Counting(ProcessPoolExecutor):
        def submit(self, *args, **kwargs):
            submitted.append(args)
            return super().submit(*args, **kwargs)

    monkeypatch.setattr(processes, "ProcessPoolExecutor", Counting)
    results = map_ordered(uneven, range(200), workers=2, description="test", chunk=1)
    assert [next(results) for _ in range(5)] == [uneven(i) for i in range(5)]
    assert 5 <= len(submitted) <= 5 + 4 * 2
    assert isinstance(results, Generator)
    results.close()


def broken(item: int) -> int:
    if item == 5:
        raise ValueError("clip 5 is broken")
    return item


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_an_exception_of_a_worker_reaches_the_caller(workers):
    with pytest.raises(ValueError, match="clip 5 is broken"):
        spread(broken, range(20), workers=workers)


def killed(item: int) -> int:
    if item == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_worker_killed_by_the_kernel_raises_instead_of_hanging():
    with pytest.raises(BrokenProcessPool):
        spread(killed, range(20), workers=2)


PARENT = """
import os, sys, time
from pathlib import Path
from earmark.processes import map_ordered

def work(item):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(60)

list(map_ordered(work, range(2), workers=2, description="test", chunk=1))
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"  # in a container without an init, dead processes stay as zombies


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return met


def test_workers_die_with_their_parent(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], env=environment)
    try:
        assert wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        assert all(map(is_running, workers))
    finally:
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not any(map(is_running, workers)))


STAGE = """
import os, sys, time
from pathlib import Path
from earmark.processes import die_with_parent

die_with_parent()
Path(sys.argv[1], str(os.getpid())).touch()
time.sleep(60)
"""
DVC = """
import subprocess, sys
subprocess.run(["sh", "-c", f"{sys.executable} {sys.argv[1]} {sys.argv[2]}; true"])
"""


def test_a_stage_dies_with_what_started_the_shell_that_it_runs_in(tmp_path):
    stage, marks = tmp_path / "stage.py", tmp_path / "marks"
    stage.write_text(STAGE)
    marks.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    grandparent = subprocess.Popen([sys.executable, "-c", DVC, stage, marks], env=environment)
    try:
        assert wait_until(lambda: any(marks.iterdir()))
        pid = int(next(marks.iterdir()).name)
    finally:
        grandparent.kill()
        grandparent.wait()
    assert wait_until(lambda: not is_running(pid))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (130, "2 min 10 s"),
        (7199, "2 h"),
        (11100, "3 h 5 min"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration(seconds) == text


def test_a_loop_in_a_log_says_twice_a_minute_how_far_it_is(monkeypatch, caplog):
    clock = iter(range(0, 1000, 20))  # 20 s a clip
    monkeypatch.setattr("earmark.processes.time.monotonic", lambda: next(clock))
    with caplog.at_level("INFO"):
        assert list(progress("abcde", total=5, description="features logmel")) == list("abcde")
    assert caplog.messages == [
        "features logmel: 2 of 5 clips, 1 min left",
        "features logmel: 4 of 5 clips, 20 s left",
    ]


def test_a_stage_closes_with_its_duration(monkeypatch, caplog):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("stages._check_networks", lambda *_: None)
    monkeypatch.setattr("stages.check", lambda *_: "")
    monkeypatch.setattr("stages.set_up_process", lambda **_: None)
    arguments = "--group logmel --model densenet_logmel --fold 0"
    monkeypatch.setattr("sys.argv", ["train.py", *arguments.split()])
    with caplog.at_level("INFO"), stage("train", "group", "model", "extractor", "fold"):
        pass
    assert caplog.messages == ["train_logmel densenet_logmel-0: 0 s"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "train: the following arguments are required: --group, --model, --fold; `dvc "),
        ("logmel densenet_logmel 0", "train: the following arguments are required: --group"),
        ("--group logmel --model other --fold 0", "train: --model other: there is none of that"),
        ("--group logmel --model densenet_logmel --fold 9", "train: --fold 9: there is none of"),
        ("--group other --model densenet_logmel --fold 0", "train: --group other: there is none"),
    ],
)
def test_a_stage_says_in_one_line_what_is_wrong_with_its_arguments(arguments, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("stages.set_up_process", lambda **_: None)
    monkeypatch.setattr("sys.argv", ["train.py", *arguments.split()])
    with pytest.raises(SystemExit) as ended, stage("train", "group", "model", "extractor", "fold"):
        pass
    assert str(ended.value).startswith(message)
    assert "\n" not in str(ended.value)


THREADS = """
import json, sys
from threadpoolctl import threadpool_info
{before}
from earmark.processes import duration, map_ordered, progress, set_up_process
from stages import stage
set_up_process(threads={threads})
import torch, numpy, scipy.linalg

def counts(_=None):
    used = {{pool["num_threads"] for pool in threadpool_info()}}
    return sorted(used | {{torch.get_num_threads()}})

def spread(workers):
    return list(map_ordered(counts, range(2), workers=workers, description="", chunk=1))

print(json.dumps([counts(), spread(1), spread(2), counts()]))
"""


@pytest.mark.parametrize("before", ["", "import torch, numpy, scipy.linalg"])
@pytest.mark.parametrize(("threads", "outside"), [(1, ""), (2, "1")])
def test_threads_are_those_that_were_set_and_workers_have_one(before, threads, outside):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_THREAD_LIMIT")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    environment = {**inherited, "PYTHONPATH": str(ROOT)}
    if outside:
        environment |= dict.fromkeys(names[:3], outside)
    script = THREADS.format(before=before, threads=threads)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    one = [[1], [1]]
    assert json.loads(done.stdout) == [[threads], one, one, [threads]]


def test_set_threads_reaches_libraries_that_are_loaded_later(monkeypatch):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for name in names:
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    set_up_process(threads=1)
    assert [os.environ[name] for name in names] == ["1", "1", "1"]
    assert "OMP_THREAD_LIMIT" not in os.environ
