"""Run a table: queue what is not there yet, wait for it, and write the results."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.layout import Layout
from earmark.whole_files import whole_file
from experiments.queue import Queue
from experiments.rendering import markdown
from experiments.settings import Plan, Settings

logger = logging.getLogger(__name__)

RESULTS = Path("experiments") / "results"


@dataclass(frozen=True)
class Outcome:
    """A table as markdown, and the names of the experiments that failed."""

    markdown: str
    failed: list[str]


def run(plan: Plan, layout: Layout, queue: Queue, *, jobs: int) -> Outcome:
    """Run the experiments that a table lacks, and write it to experiments/results/."""
    code = queue.code(plan.params["extensions"])
    names = {experiment: plan.name_of(experiment, code) for experiment in plan.experiments}
    scores = finish(plan.table.name, plan.params, plan.experiments, names, queue, jobs=jobs)
    text = markdown(plan, scores)
    write_result(layout, f"{plan.table.name}{'-small' if plan.is_small else ''}", text)
    return Outcome(text, [names[experiment] for experiment in names if experiment not in scores])


def finish(
    title: str,
    params: dict[str, Any],
    experiments: Mapping[str, Settings],
    names: Mapping[str, str],
    queue: Queue,
    *,
    jobs: int,
) -> dict[str, dict[str, Any]]:
    """Run what is not there yet; returns the scores of the experiments that succeeded.

    Experiments of earlier runs that have the same params and code, and thus name, are not run
    again.

    Args:
        title: of the table, for the log.
        params: that all experiments share.
        experiments: what each changes in them.
        names: of each in DVC.
        queue: that runs them.
        jobs: how many at a time.
    """
    missing = {e: name for e, name in names.items() if queue.scores(name) is None}
    logger.info("%s: %d of %d experiments to run", title, len(missing), len(names))
    if missing:
        queue.add(params, {name: experiments[e] for e, name in missing.items()})
        queue.run(list(missing.values()), jobs)
    ended = {experiment: queue.scores(name) for experiment, name in names.items()}
    return {experiment: values for experiment, values in ended.items() if values is not None}


def write_result(layout: Layout, name: str, text: str) -> None:
    """Write experiments/results/NAME.md."""
    path = layout.root / RESULTS / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
    logger.info("%s", path.relative_to(layout.root))
