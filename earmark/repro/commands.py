"""`python -m earmark repro`: `dvc repro`, several stages at a time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from earmark.errors import UserError, WrongUse
from earmark.file_locks import lock_now
from earmark.layout import Layout

_FOLDER = ".earmark/repro"


def repro(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STAGE]...", help="These and what they read from; else all."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Stages at a time.")] = 1,
    together: Annotated[
        bool, typer.Option("--together", help="Train in one process for each GPU (or core).")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "-S", help="KEY=VALUE in params.yaml, as `dvc exp run -S`."),
    ] = None,
    name: Annotated[str, typer.Option("--name", "-n", help="Of the experiment, with -S.")] = "",
) -> None:
    """Run what is stale, several stages at a time; with one job this is `dvc repro`.

    A stage starts when those that it reads from are done; DVC runs it, locks what it writes and
    caches the result. At the end `dvc repro` itself (or `dvc exp run -S`) runs whatever is left,
    which is nothing. Where a stage fails, all that does not depend on it still runs. Set
    `runtime.threads` so that JOBS times it is the number of cores; it is part of the results.
    """
    layout = Layout.of_pipeline(fix="go to the folder of the pipeline")
    targets, changes = targets or [], changes or []
    if not (layout.root / "dvc.yaml").exists():
        raise WrongUse(f"no dvc.yaml in {layout.root}; go to the folder of the pipeline")
    if name and not changes:
        raise UserError("--name: names an experiment, and there is one with -S alone")
    if together and (jobs == 1 or os.environ.get("EARMARK_ENGINE")):
        raise WrongUse("--together: is for several --jobs on this machine, without EARMARK_ENGINE")
    if jobs > 1:
        if name:
            _refuse_name(layout.root, name)
        name = name or (_name_of_experiment() if changes else "")
        with _alone(layout.root):
            _side_by_side(layout, jobs, targets, changes, name, together=together)
    finish = ["exp", "run", *(f"--set-param={one}" for one in changes)] if changes else ["repro"]
    named = ["--name", name] if name else []
    command = [sys.executable, "-m", "dvc", *finish, *named, *targets]
    sys.stdout.flush()
    os.execv(sys.executable, command)


def _side_by_side(
    layout: Layout,
    jobs: int,
    targets: list[str],
    changes: list[str],
    name: str,
    *,
    together: bool,
) -> None:
    from earmark.params.reading import load_params
    from earmark.repro.dead_locks import release_dead
    from earmark.repro.gpus import Gpus, visible_gpus
    from earmark.repro.graph import read_graph
    from earmark.repro.job import Job
    from earmark.repro.overrides import overridden
    from earmark.repro.scheduler import Slots, run_stages
    from earmark.repro.screen import screen
    from earmark.repro.trainers import trainers
    from earmark.settings.dvc_files import dvc_problems

    root, logs = layout.root, layout.root / _FOLDER
    if damaged := dvc_problems(layout):
        raise UserError(*damaged)
    release_dead(root)
    with overridden(layout.params, changes, logs / "params.json"):
        runtime = load_params(layout.params).runtime
        _write_code(root)
        stages = read_graph(root, targets)
        engine = os.environ.get("EARMARK_ENGINE", "")
        gpus = [] if engine or runtime.device == "cpu" else visible_gpus()
        cores = os.cpu_count() or 1
        if not (engine or gpus or together) and jobs * runtime.threads > cores:
            typer.echo(
                f"warning: {jobs} jobs of runtime.threads {runtime.threads} on {cores} cores slow "
                f"each other down; -S runtime.threads={max(1, cores // jobs)} fits (and trains "
                "anew: the last bits of results change)",
                err=True,
            )
        width = 1 if engine else -(-runtime.workers // runtime.threads)
        experiment = {"DVC_EXP_NAME": name} if name else {}

        def start(stage: str, environment: dict[str, str]) -> Job:
            return Job(stage, root, logs / f"{stage}.log", environment | experiment)

        n_trainers = max(1, min(jobs, cores // runtime.threads))
        sharing = trainers(root, Path(_FOLDER), n_trainers, experiment)
        with screen(root) as shown, sharing if together else nullcontext() as ours:
            ended = run_stages(stages, Slots(jobs, width, Gpus(gpus), ours), start, shown.show)
    if ended.failed:
        rest = f"; {len(ended.skipped)} that need them were not run" if ended.skipped else ""
        fix = "fix that, and run it again: what is done stays done"
        raise UserError(f"failed: {', '.join(ended.failed)}{rest}; {fix}")


def _write_code(root: Path) -> None:
    """Stage `code` first: what else is stale depends on what it writes."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", "code"]
    done = subprocess.run(
        command, cwd=root, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:  # with -q DVC would not say why
        raise UserError(f"{done.stdout.strip()}\nstage `code` failed; fix that, and run it again")


def _refuse_name(root: Path, name: str) -> None:
    """Refuse the name of an experiment before any work; DVC does so when all has run.

    Raises:
        UserError: git cannot have the name.
    """
    command = ["git", "check-ref-format", f"refs/exps/{name}"]
    if "/" in name or subprocess.run(command, cwd=root, check=False).returncode:
        raise UserError(f"--name {name!r}: no name that git can have; give letters and digits")


def _name_of_experiment() -> str:
    """A name as DVC gives them, which MLflow's runs of all stages then carry."""
    from dvc.repo.experiments.utils import gen_random_name

    return str(gen_random_name())


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the folder of logs for this run.

    Raises:
        UserError: another one has it.
    """
    folder = root / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        if not lock_now(lock):
            raise UserError("another `earmark repro` runs here; wait for its end")
        yield
