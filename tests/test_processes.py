"""Threads are as set, loops say how far they are, and a stage ends with what started it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.processes import duration, progress, set_up_process
from stages import stage
from tests.processes import is_running, wait_until
from tests.source_graph import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


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
    arguments = "--group logmel128 --model compact --fold 0"
    monkeypatch.setattr("sys.argv", ["train.py", *arguments.split()])
    with caplog.at_level("INFO"), stage("train", "group", "model", "extractor", "fold"):
        pass
    assert caplog.messages == ["train_logmel128 compact-0: 0 s"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "train: the following arguments are required: --group, --model, --fold; `dvc "),
        ("logmel128 compact 0", "train: the following arguments are required: --group"),
        ("--group logmel128 --model other --fold 0", "train: --model other: there is none of that"),
        ("--group logmel128 --model compact --fold 9", "train: --fold 9: there is none of"),
        ("--group other --model compact --fold 0", "train: --group other: there is none"),
        (
            "--group logmel128 --model compact --fold 0 --extractor vggish",
            "train: --group logmel128: takes no --extractor; `dvc repro STAGE`",
        ),
        (
            "--group embedding --model attention --fold 0",
            "train: --group embedding: needs --extractor; `dvc repro STAGE`",
        ),
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


@pytest.mark.parametrize(
    "start",
    [
        "from earmark.processes import set_up_process; set_up_process(threads=1)",
        "import stages.evaluate",
    ],
)
def test_products_are_added_up_in_one_order_whatever_the_environment_says(start: str) -> None:
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("OpenBLAS has no kernels that all processors without AVX2 share")
    code = (
        f"{start}; import numpy, scipy.linalg, threadpoolctl; "
        "print({i['architecture'] for i in threadpoolctl.threadpool_info() "
        "if i['internal_api'] == 'openblas'})"
    )
    env = os.environ | {"OPENBLAS_CORETYPE": "Sandybridge"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "{'Haswell'}\n"


def in_a_stage(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> str:
    monkeypatch.setattr("sys.argv", ["stage.py"])
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("stages.check", lambda *_: "")
    monkeypatch.setattr("stages.set_up_process", lambda **_: None)
    with pytest.raises(SystemExit) as ended, stage(name):
        raise error
    return str(ended.value)


@pytest.mark.parametrize(
    ("name", "lower"), [("train", "model.batch_size"), ("trim", "runtime.workers")]
)
def test_a_stage_without_memory_says_what_to_lower(monkeypatch, name, lower):
    monkeypatch.setattr("stages._check_networks", lambda *_: None)
    line = in_a_stage(monkeypatch, name, MemoryError("Unable to allocate 9 GiB"))
    assert line.startswith(f"{name}: memory has run out (Unable to allocate 9 GiB); lower {lower} ")
    assert "\n" not in line


def test_a_check_of_the_params_that_is_killed_is_one_line(monkeypatch, tmp_path):
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr("stages.subprocess.run", lambda *_, **__: killed)
    monkeypatch.setattr("stages.Layout.home", tmp_path)  # no mark of an earlier check
    line = in_a_stage(monkeypatch, "trim", RuntimeError("not reached"))
    assert line.startswith("trim: the check of params.yaml was killed by SIGKILL; memory")
    assert "\n" not in line


THREADS = """
import json, sys
from threadpoolctl import threadpool_info
{before}
from earmark.processes import duration, map_ordered, progress, set_up_process
from stages import stage
set_up_process(threads={threads})
import torch, numpy

def counts(_=None):
    used = {{pool["num_threads"] for pool in threadpool_info()}}
    return sorted(used | {{torch.get_num_threads()}})

def spread(workers):
    return list(map_ordered(counts, range(2), workers=workers, description=""))

alone = spread(1)
import scipy.linalg  # which brings a BLAS of its own
print(json.dumps([counts(), alone, spread(1), spread(2), counts()]))
"""


@pytest.mark.slow
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
    assert json.loads(done.stdout) == [[threads], one, one, one, [threads]]


def test_set_threads_reaches_libraries_that_are_loaded_later(monkeypatch):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for name in names:
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    set_up_process(threads=1)
    assert [os.environ[name] for name in names] == ["1", "1", "1"]
    assert "OMP_THREAD_LIMIT" not in os.environ
