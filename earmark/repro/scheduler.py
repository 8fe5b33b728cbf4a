"""Which stage starts when: as soon as what it reads from is done, and there is a slot for it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from earmark.repro.gpus import Gpus
from earmark.repro.graph import Stage, chains
from earmark.repro.job import Job
from earmark.repro.trainers import Trainers

POLL_SECONDS = 0.1


@dataclass
class Slots:
    """How many stages run at a time.

    Args:
        jobs: of one computing stage each.
        workers_width: how many of them a stage takes that computes in processes.
        gpus: lent to stages that compute on one.
        trainers: the processes that trainings share; None where each has its own.
    """

    jobs: int
    workers_width: int
    gpus: Gpus
    trainers: Trainers | None = None
    _taken: dict[str, int] = field(default_factory=dict)

    def take(self, stage: Stage) -> dict[str, str] | None:
        """What the environment of a stage says of its slot; None while there is none."""
        width = 1 if stage.computes else min(self.workers_width, self.jobs)
        if sum(self._taken.values()) + width > self.jobs:
            return None
        environment, gpu = {}, None
        if stage.on_device and self.gpus:
            gpu = self.gpus.lend(stage.name, time.monotonic())
            if gpu is None:
                return None
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        if stage.trains and self.trainers:
            environment |= self.trainers.lend(stage.name, gpu)
        self._taken[stage.name] = width
        return environment

    def give_back(self, stage: str) -> None:
        del self._taken[stage]
        self.gpus.take_back(stage)
        if self.trainers:
            self.trainers.take_back(stage)


@dataclass
class Progress:
    """How far a run is, for whoever shows it: names of stages."""

    waiting: list[str]
    running: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # since one that they read from has failed
    jobs: dict[str, Job] = field(default_factory=dict)  # of all that have started

    @property
    def n_stages(self) -> int:
        parts = (self.waiting, self.running, self.done, self.failed, self.skipped)
        return sum(len(part) for part in parts)


def run_stages(
    stages: Mapping[str, Stage],
    slots: Slots,
    start: Callable[[str, dict[str, str]], Job],
    show: Callable[[Progress, str], None],
    *,
    end_seconds: float = 20.0,
) -> Progress:
    """Run the stale stages, each when those that it reads from are done.

    Of those that could start, the one with the most stages in a row after it comes first. A stage
    that fails stops those that read from it, directly or not, and no other.

    Args:
        start: starts a stage by its name, with additions to the environment.
        show: is called with the name of each stage that has started or ended, and with "" several
            times a second.
        end_seconds: what running stages have to end in after Ctrl-C or an error.
    """
    length = chains(stages)
    order = list(stages)
    stale = [name for name in order if stages[name].is_stale]
    progress = Progress(sorted(stale, key=lambda name: (-length[name], order.index(name))))
    open_ = set(stale)  # not yet done
    try:
        while progress.waiting or progress.running:
            for name in list(progress.waiting):
                if stages[name].upstream & open_:
                    continue
                environment = slots.take(stages[name])
                if environment is not None:
                    progress.waiting.remove(name)
                    progress.jobs[name] = start(name, environment)
                    progress.running.append(name)
                    show(progress, name)
            time.sleep(POLL_SECONDS)
            for name in list(progress.running):
                code = progress.jobs[name].code()
                if code is None:
                    continue
                slots.give_back(name)
                progress.running.remove(name)
                if code == 0:
                    progress.done.append(name)
                    open_.remove(name)
                else:
                    progress.failed.append(name)
                    _skip_dependents(name, stages, progress)
                show(progress, name)
            show(progress, "")
    finally:
        _end([progress.jobs[name] for name in progress.running], end_seconds)
    return progress


def _skip_dependents(failed: str, stages: Mapping[str, Stage], progress: Progress) -> None:
    lost = {failed}
    for stage in stages.values():  # upstream ones come first
        if stage.upstream & lost:
            lost.add(stage.name)
    progress.skipped += [name for name in progress.waiting if name in lost]
    progress.waiting = [name for name in progress.waiting if name not in lost]


def _end(running: list[Job], seconds: float) -> None:
    """Let all end by themselves, at the same time, and kill what does not."""
    for job in running:
        job.interrupt()
    deadline = time.monotonic() + seconds
    for job in running:
        job.end(max(0.0, deadline - time.monotonic()))
