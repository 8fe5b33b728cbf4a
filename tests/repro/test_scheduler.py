"""The order in which stages start, and what a failed one stops."""

from collections.abc import Callable

import pytest

from earmark.params.reading import read_yaml
from earmark.repro import scheduler
from earmark.repro.gpus import Gpus
from earmark.repro.graph import TRAINING_COMMANDS, Stage, chains
from earmark.repro.job import Job
from earmark.repro.scheduler import Progress, Slots, run_stages
from earmark.repro.trainers import Trainers
from tests.source_graph import ROOT

GRAPH = {
    "decode": "", "features": "decode", "audit": "decode", "train0": "features",
    "train1": "features", "predict0": "train0", "predict1": "train1",
    "ensemble": "predict0 predict1",
}  # fmt: skip


class FakeJob(Job):
    """Ends with a code after so many looks at it."""

    def __init__(self, code: int, looks: int = 2) -> None:
        self._code, self._looks, self.ended_by = code, looks, ""

    def code(self) -> int | None:
        self._looks -= 1
        return None if self._looks > 0 else self._code

    def interrupt(self) -> None:
        self.ended_by += "interrupt "

    def end(self, wait_seconds: float) -> None:
        self.ended_by += f"end within {wait_seconds:.0f} s"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.0)


def graph(*, up_to_date: str = "", computing: str = "train0 train1") -> dict[str, Stage]:
    return {
        name: Stage(name, frozenset(above.split()), name not in up_to_date, name in computing)
        for name, above in GRAPH.items()
    }


def run(
    stages: dict[str, Stage],
    *,
    jobs: int = 2,
    width: int = 1,
    failing: str = "",
    look: Callable[[Progress], None] = lambda _: None,
) -> tuple[Progress, list[str]]:
    events: list[str] = []

    def start(name: str, _: dict[str, str]) -> Job:
        events.append(f"+{name}")
        return FakeJob(int(name in failing))

    def show(progress: Progress, changed: str) -> None:
        if changed and changed not in progress.running:
            events.append(f"-{changed}")
        look(progress)

    return run_stages(stages, Slots(jobs, width, Gpus([])), start, show), events


def test_a_stage_starts_when_all_that_it_reads_from_is_done_and_never_too_many_run() -> None:
    n_running: list[int] = []
    progress, events = run(graph(), look=lambda now: n_running.append(len(now.running)))
    assert sorted(progress.done) == sorted(GRAPH)
    assert max(n_running) == 2
    for name, above in GRAPH.items():
        assert all(events.index(f"-{one}") < events.index(f"+{name}") for one in above.split())


def test_the_longest_way_to_the_end_goes_first_and_short_ones_fill_the_slots() -> None:
    assert chains(graph()) == {
        "decode": 5, "features": 4, "audit": 1, "train0": 3, "train1": 3, "predict0": 2,
        "predict1": 2, "ensemble": 1,
    }  # fmt: skip
    _, events = run(graph())
    started = [event for event in events if event[0] == "+"]
    assert started[:4] == ["+decode", "+features", "+audit", "+train0"]


def test_what_is_up_to_date_neither_runs_nor_is_waited_for() -> None:
    progress, events = run(graph(up_to_date="decode features audit train0 predict0"))
    assert progress.done == ["train1", "predict1", "ensemble"]
    assert "+decode" not in events


def test_a_failed_stage_stops_what_needs_it_and_nothing_else() -> None:
    progress, _ = run(graph(), failing="train0")
    assert progress.failed == ["train0"]
    assert progress.skipped == ["predict0", "ensemble"]
    assert set(progress.done) == {"decode", "features", "audit", "train1", "predict1"}
    assert progress.n_stages == len(GRAPH)


def test_a_stage_of_worker_processes_takes_their_slots() -> None:
    together: set[frozenset[str]] = set()
    run(
        graph(up_to_date="decode", computing="train0 train1"),
        width=2,
        look=lambda now: together.add(frozenset(now.running)),
    )
    assert frozenset({"train0", "train1"}) in together
    assert all(len(some) == 1 for some in together if some & {"features", "audit", "predict0"})


def test_a_wider_stage_than_there_are_slots_runs_alone() -> None:
    progress, _ = run(graph(), jobs=2, width=8)
    assert sorted(progress.done) == sorted(GRAPH)


def test_after_ctrl_c_all_running_stages_are_told_at_once_and_waited_for() -> None:
    jobs: list[FakeJob] = []

    def start(name: str, _: dict[str, str]) -> Job:
        jobs.append(FakeJob(0, looks=10**9 if name.startswith("train") else 1))
        return jobs[-1]

    def show(progress: Progress, changed: str) -> None:
        if len(progress.running) == 2 and not changed:
            raise KeyboardInterrupt

    slots = Slots(2, 1, Gpus([]))
    with pytest.raises(KeyboardInterrupt):
        run_stages(graph(up_to_date="audit"), slots, start, show, end_seconds=7)
    assert [job.ended_by for job in jobs[2:]] == ["interrupt end within 7 s"] * 2
    assert [job.ended_by for job in jobs[:2]] == ["", ""]


def test_stages_on_a_device_are_spread_over_the_gpus_and_others_get_none() -> None:
    slots = Slots(3, 1, Gpus(["4", "7"], room=lambda *_: False))
    on_gpu = [Stage(name, frozenset(), True, True, True) for name in ("a", "b", "c")]
    assert [slots.take(stage) for stage in on_gpu] == [
        {"CUDA_VISIBLE_DEVICES": "4"},
        {"CUDA_VISIBLE_DEVICES": "7"},
        None,
    ]
    assert slots.take(Stage("split", frozenset(), True)) == {}
    slots.give_back("a")
    assert slots.take(on_gpu[2]) == {"CUDA_VISIBLE_DEVICES": "4"}


def test_trainings_alone_are_lent_a_process_to_share_and_that_of_their_gpu() -> None:
    lent: list[tuple[str, str | None]] = []

    class Fake(Trainers):
        def __init__(self) -> None:
            pass

        def lend(self, stage: str, gpu: str | None) -> dict[str, str]:
            lent.append((stage, gpu))
            return {"EARMARK_TRAINER": f"of {gpu}"}

        def take_back(self, stage: str) -> None:
            lent.remove((stage, "4"))

    slots = Slots(3, 1, Gpus(["4"], room=lambda *_: True), Fake())
    training = Stage("a", frozenset(), True, True, True, True)
    assert slots.take(training) == {"CUDA_VISIBLE_DEVICES": "4", "EARMARK_TRAINER": "of 4"}
    assert lent == [("a", "4")]
    assert slots.take(Stage("b", frozenset(), True)) == {}
    slots.give_back("a")
    assert lent == []
    assert slots.take(Stage("c", frozenset(), True, True, True)) == {"CUDA_VISIBLE_DEVICES": "4"}
    assert lent == []


def test_the_stages_that_may_share_a_process_are_those_of_dvc_yaml_that_train_by_folds() -> None:
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    trains = {
        name
        for name, entry in stages.items()
        if entry.get("do", entry)["cmd"].startswith(TRAINING_COMMANDS)
    }
    assert trains == {name for name in stages if name.startswith("train_") or name == "finetune"}
