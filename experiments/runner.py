"""Run a table: queue what is not there yet, wait for it, and write the results."""

import logging
from dataclasses import dataclass
from pathlib import Path

from earmark.layout import Layout
from earmark.whole_files import whole_file
from experiments.queue import Queue
from experiments.rendering import markdown
from experiments.settings import Plan

logger = logging.getLogger(__name__)

RESULTS = Path("experiments") / "results"


@dataclass(frozen=True)
class Outcome:
    """A table as markdown, and the names of the experiments that failed."""

    markdown: str
    failed: list[str]


def run(plan: Plan, layout: Layout, queue: Queue, *, jobs: int) -> Outcome:
    """Run the experiments that a table lacks, and write it to experiments/results/.

    Experiments of earlier runs that have the same params and code are not run again.
    """
    code = queue.code(plan.params["extensions"])
    names = {experiment: plan.name_of(experiment, code) for experiment in plan.experiments}
    missing = {e: name for e, name in names.items() if queue.scores(name) is None}
    logger.info("%s: %d of %d experiments to run", plan.table.name, len(missing), len(names))
    if missing:
        queue.add(plan.params, {name: plan.experiments[e] for e, name in missing.items()})
        queue.run(list(missing.values()), jobs)
    ended = {experiment: queue.scores(name) for experiment, name in names.items()}
    scores = {experiment: values for experiment, values in ended.items() if values is not None}
    text = markdown(plan, scores)
    _write(plan, layout, text)
    return Outcome(text, [names[experiment] for experiment in names if experiment not in scores])


def _write(plan: Plan, layout: Layout, text: str) -> None:
    path = layout.root / RESULTS / f"{plan.table.name}{'-small' if plan.is_small else ''}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
    logger.info("%s", path.relative_to(layout.root))
