"""What a person sees of a run: on a terminal every running stage in a line that changes."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from earmark.processes import LINE_SECONDS, duration
from earmark.repro.scheduler import Progress

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

REDRAW_SECONDS = 0.5


class Screen(Protocol):
    """Shows a run; see `scheduler.run_stages`."""

    def show(self, progress: Progress, changed: str) -> None: ...


class Lines:
    """A line for each stage that starts or ends, and now and then how far the running ones are."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._start = self._last = time.monotonic()

    def show(self, progress: Progress, changed: str) -> None:
        if changed:
            self.say(_event(progress, changed, self._root))
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            self.say(_summary(progress, self._last - self._start))
            for name in progress.running:
                self.say(f"  {name}: {progress.jobs[name].last_line()}")

    def say(self, text: str) -> None:
        typer.echo(text, err=True)


class Table:
    """On a terminal: what has ended scrolls up, what runs stays below with its last line."""

    def __init__(self, live: "Live", root: Path) -> None:
        self._live, self._root = live, root
        self._start = time.monotonic()
        self._drawn = 0.0

    def show(self, progress: Progress, changed: str) -> None:
        if changed and changed not in progress.running:
            text = _event(progress, changed, self._root)
            self._live.console.print(text, markup=False, highlight=False)
        now = time.monotonic()
        if changed or now - self._drawn >= REDRAW_SECONDS:
            self._drawn = now
            self._live.update(self._drawing(progress, now - self._start), refresh=True)

    def _drawing(self, progress: Progress, seconds: float) -> "Group":
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        for name in progress.running:
            job = progress.jobs[name]
            grid.add_row(Text(name), Text(duration(job.seconds)), Text(job.last_line()))
        return Group(grid, Text(_summary(progress, seconds), style="bold"))


@contextmanager
def screen(root: Path) -> Iterator[Screen]:
    """What fits the stream that messages go to."""
    if not sys.stderr.isatty():
        yield Lines(root)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield Table(live, root)


def _summary(progress: Progress, seconds: float) -> str:
    parts = {
        "done": progress.done, "running": progress.running, "waiting": progress.waiting,
        "failed": progress.failed, "skipped": progress.skipped,
    }  # fmt: skip
    counts = ", ".join(f"{len(part)} {what}" for what, part in parts.items() if part)
    return f"{progress.n_stages} stages: {counts}; {duration(seconds)}"


def _event(progress: Progress, name: str, root: Path) -> str:
    job = progress.jobs[name]
    if name in progress.running:
        return f"{name}: started"
    if name in progress.failed:
        log = job.log.relative_to(root).as_posix()
        return f"{name}: FAILED after {duration(job.seconds)}; its output is in {log}\n  " + (
            job.last_line() or "there is none"
        )
    return f"{name}: {job.what_was_done()}, {duration(job.seconds)}"
