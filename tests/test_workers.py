"""Work is spread over processes and comes back in order; one that is killed is an error in time."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import UserError
from earmark.processes import map_ordered
from earmark.sound.unusable import UnusableAudio
from tests.processes import is_running, wait_until
from tests.source_graph import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked")


@pytest.fixture(autouse=True)
def hanging_fails() -> Iterator[None]:
    def fail(*_: object) -> None:
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert active_children() == []


def spread(function: Callable[[int], Any], items: Sequence[int], *, workers: int) -> list[Any]:
    return list(map_ordered(function, items, workers=workers, description="test"))


def uneven(item: int) -> int:
    return sum(range(item % 7 * 2000)) + item  # the first may well end last


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("n_items", [0, 1, 5, 103])
def test_order_and_results_are_those_of_a_plain_loop(workers, n_items):
    assert spread(uneven, range(n_items), workers=workers) == [uneven(i) for i in range(n_items)]


def test_the_work_is_done_by_other_processes_and_each_item_once():
    assert set(spread(lambda _: os.getpid(), range(8), workers=1)) == {os.getpid()}
    pids = spread(lambda _: os.getpid(), range(8), workers=2)
    assert os.getpid() not in pids
    assert len(set(pids)) == 2


def test_few_results_are_ahead_of_the_one_that_is_yielded(tmp_path):
    def note(item: int) -> int:
        (tmp_path / str(item)).touch()
        return item

    results = map_ordered(note, range(500), workers=2, description="test")
    assert [next(results) for _ in range(5)] == [*range(5)]
    time.sleep(0.2)
    assert 5 <= len(list(tmp_path.iterdir())) <= 5 + 16 * 2
    assert isinstance(results, Generator)
    results.close()


def test_results_larger_than_any_buffer_come_back_whole():
    sizes = [3_000_000, 0, 10, 7_000_000]
    results = spread(lambda i: bytes([i]) * sizes[i], range(4), workers=2)
    assert results == [bytes([i]) * size for i, size in enumerate(sizes)]


class Unlucky(Exception):  # noqa: N818 -- it is no error of ours
    """Can be pickled, and not be made again."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


ERRORS = [
    ValueError("clip 5 is broken"),
    UserError("one", "two"),
    UnusableAudio(Path("a.wav"), "silent", "every sample is zero", "leave it out"),
    MemoryError("Unable to allocate 9 GiB"),
    SystemExit(3),
]


def raising(item: int, error: BaseException) -> int:
    if item in (5, 7):
        raise error
    return item


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exception_of_a_worker_arrives_as_itself_with_its_traceback_as_the_cause(error):
    results = map_ordered(
        lambda item: raising(item, error), range(20), workers=2, description="test"
    )
    assert [next(results) for _ in range(5)] == [*range(5)]
    with pytest.raises(type(error)) as caught:
        next(results)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)
    assert "in raising\n    raise error" in str(caught.value.__cause__)


def test_what_cannot_be_pickled_is_an_error_that_says_so():
    with pytest.raises(Exception, match="pickle"):
        spread(lambda item: lambda: item, range(4), workers=2)
    unlucky = Unlucky(1, 2)
    with pytest.raises(RuntimeError, match="Unlucky: 1 and 2") as caught:
        spread(lambda item: raising(item, unlucky), range(20), workers=2)
    assert "in raising" in str(caught.value.__cause__)


def ended_at(
    item: int, how: Callable[[], Any], *, others: Callable[[int], int] = uneven
) -> Callable[[int], int]:
    def function(given: int) -> int:
        if given == item:
            how()
        return others(given)

    return function


def kill(sent: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), sent)


@pytest.mark.parametrize(
    ("how", "line"),
    [
        (
            kill(signal.SIGKILL),
            r"worker process \d+ was killed by SIGKILL at clip 5; memory has probably run out: "
            r"lower runtime.workers in params.yaml \(it is 2\), then run it again",
        ),
        (
            kill(signal.SIGTERM),
            r"worker process \d+ was killed by SIGTERM at clip 5; run it again; .*",
        ),
        (lambda: os._exit(3), r"worker process \d+ ended with exit code 3 at clip 5; .*"),
    ],
    ids=["SIGKILL", "SIGTERM", "exit"],
)
def test_a_worker_that_dies_is_one_line_with_what_it_worked_on(how, line):
    results = map_ordered(
        ended_at(5, how), range(20), workers=2, description="test", name_of="clip {}".format
    )
    with pytest.raises(UserError, match=f"^{line}$") as caught:
        list(results)
    assert len(caught.value.problems) == 1


def half_a_message(sent: int) -> None:
    """Let the next message of this worker be cut in its middle by a signal."""

    def sendall(self: socket.socket, data: bytes) -> None:
        if len(data) > 1000:
            self.send(data[: len(data) // 2])
            os.kill(os.getpid(), sent)
        else:
            self.send(data)

    socket.socket.sendall = sendall  # type: ignore[method-assign, assignment]


def test_half_a_message_of_a_killed_worker_hangs_nothing():
    def function(item: int) -> bytes:
        if item == 3:
            half_a_message(signal.SIGKILL)
        return bytes(100_000)

    with pytest.raises(UserError, match="killed by SIGKILL at 3;"):
        spread(function, range(20), workers=2)


def test_half_a_message_of_a_stopped_worker_hides_no_death_of_another():
    def function(item: int) -> bytes:
        if item == 0:
            half_a_message(signal.SIGSTOP)
        elif item == 5:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        return bytes(100_000)

    with pytest.raises(UserError, match="killed by SIGKILL at 5;"):
        spread(function, range(20), workers=2)


def test_a_child_of_a_worker_that_keeps_its_socket_hides_no_death():
    def leave_a_child() -> None:
        if os.fork() == 0:
            time.sleep(6)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

    start = time.monotonic()
    with pytest.raises(UserError, match="killed by SIGKILL at 2;"):
        spread(ended_at(2, leave_a_child), range(9), workers=2)
    assert time.monotonic() - start < 5


def test_a_stopped_worker_is_waited_for():
    def stop_for_a_while() -> None:
        me = os.getpid()
        if os.fork() == 0:
            time.sleep(1.5)
            os.kill(me, signal.SIGCONT)
            os._exit(0)
        os.kill(me, signal.SIGSTOP)
        os.wait()

    results = spread(ended_at(2, stop_for_a_while), range(50), workers=2)
    assert results == [uneven(i) for i in range(50)]


def test_a_worker_that_cannot_be_started_is_one_line(monkeypatch):
    fork, n_forks = os.fork, 0

    def refuse_the_second() -> int:
        nonlocal n_forks
        n_forks += 1
        if n_forks == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", refuse_the_second)
    line = r"worker process 2 of 3 cannot be started \(Resource .*\); lower runtime.workers .*"
    with pytest.raises(UserError, match=line):
        spread(uneven, range(9), workers=3)


def kill_at_five(item: int) -> int:
    if item == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_workers_can_be_spawned_as_on_macos(monkeypatch):
    monkeypatch.setattr("earmark.workers.START_METHOD", "spawn")
    assert spread(uneven, range(20), workers=2) == [uneven(i) for i in range(20)]
    with pytest.raises(UserError, match="killed by SIGKILL at 5;"):
        spread(kill_at_five, range(20), workers=2)


ROUNDS = """
import os, random, signal, sys, threading, time
from earmark.errors import UserError
from earmark.processes import map_ordered
from tests.processes import children_of

rng = random.Random(1)

def work(item):
    time.sleep(0.001)
    return item, bytes(300_000)

def strike(delay, n):
    while not (workers := children_of(os.getpid())):
        time.sleep(0.0005)
    time.sleep(delay)
    workers = children_of(os.getpid()) or workers
    for pid in rng.sample(workers, min(n, len(workers))):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

n_lines = n_whole = 0
for round in range(50):
    delay = 0.0 if round % 5 == 0 else rng.uniform(0, 0.06)  # a fifth of them at the start
    striker = threading.Thread(target=strike, args=(delay, rng.choice([1, 1, 2, 3])))
    striker.start()
    start = time.monotonic()
    try:
        results = list(map_ordered(work, range(100), workers=3, description="test"))
        assert [item for item, _ in results] == list(range(100))
        n_whole += 1
    except UserError as error:
        assert "was killed by SIGKILL" in str(error), error
        assert len(error.problems) == 1
        n_lines += 1
    assert time.monotonic() - start < 10
    striker.join()
    assert not children_of(os.getpid())
print(n_lines, n_whole)
"""


def run_script(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_fifty_of_fifty_kills_at_random_moments_end_in_one_line():
    script = run_script(ROUNDS)
    try:
        out, err = script.communicate(timeout=200)
    finally:
        script.kill()
    assert script.returncode == 0, err
    n_lines, n_whole = map(int, out.split())
    assert n_lines + n_whole == 50
    assert n_lines >= 25


PARENT = """
import os, signal, sys, time
from pathlib import Path
from earmark.processes import map_ordered

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

def work(item):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(60)

try:
    print("ready", flush=True)
    list(map_ordered(work, range(2), workers=2, description="test"))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_parent_that_ends_not_even_a_stopped_worker(tmp_path, sent):
    parent = run_script(PARENT, str(tmp_path))
    try:
        assert wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        assert all(map(is_running, workers))
        os.kill(workers[0], signal.SIGSTOP)
        parent.send_signal(sent)
        _, err = parent.communicate(timeout=20)
    finally:
        parent.kill()
    assert (parent.returncode, err) == (130 if sent == signal.SIGINT else -sent, "")
    assert wait_until(lambda: not any(map(is_running, workers)))


def test_ctrl_c_while_the_workers_start_is_answered_by_the_parent_alone(tmp_path):
    rng = random.Random(1)
    for _ in range(8):
        parent = run_script(PARENT, str(tmp_path))
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.02))
            os.killpg(parent.pid, signal.SIGINT)
            _, err = parent.communicate(timeout=20)
        finally:
            parent.kill()
        assert (parent.returncode, err) == (130, "")


def test_results_that_nobody_wants_any_more_end_the_workers():
    results = map_ordered(uneven, range(500), workers=2, description="test")
    next(results)
    assert len(active_children()) == 2
    del results
    assert active_children() == []


def test_a_worker_killed_while_the_parent_is_busy_is_seen_afterwards():
    results = map_ordered(uneven, range(500), workers=2, description="test")
    next(results)
    active_children()[0].kill()
    time.sleep(0.1)
    with pytest.raises(UserError, match="killed by SIGKILL"):
        list(results)
