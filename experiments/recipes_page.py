"""The table of levers as markdown, and its place in a page of the documentation."""

from collections.abc import Sequence
from pathlib import Path

from earmark.evaluation.intervals import Estimate
from earmark.layout import Layout
from experiments.levers import ALONE, GROUP, NETWORK
from experiments.pages import put_into
from experiments.queue import ComparingQueue
from experiments.recipes import PROFILE, Clips, Measured, RecipePlan, measure
from experiments.runner import Outcome, write_result

TITLE = "The levers of the training recipe, each alone"
MINUS = "−"


def run(
    plan: RecipePlan, layout: Layout, queue: ComparingQueue, *, jobs: int, into: Path | None = None
) -> Outcome:
    """Measure the levers, and write the table to experiments/results/ and, if all is there, `into`.

    Args:
        plan: the levers.
        layout: of the repository.
        queue: that runs the experiments.
        jobs: how many at a time.
        into: a page with the two markers of `experiments.pages`; None for none.
    """
    measured, failed = measure(plan, queue, jobs=jobs)
    text = page(plan, measured, queue.version())
    write_result(layout, plan.file_name, f"# {TITLE}\n\n{text}")
    if into is not None and not failed:
        put_into(into, text)
    return Outcome(text, failed)


def page(plan: RecipePlan, measured: Sequence[tuple[Clips, list[Measured]]], version: str) -> str:
    """Render the table for each set of folds.

    Args:
        plan: that was run.
        measured: the clips of each set, and the levers on them, the base first.
        version: of the code.
    """
    lines = [f"`{plan.command}`, commit {version}."]
    if plan.is_small:
        lines.append("**A check that every row works**: after two epochs no figure says anything.")
    lines += ["", *_explained(plan)]
    for clips, rows in measured:
        lines += ["", _clips_line(plan, clips), "", *_table(plan, clips, rows)]
    if not measured:
        lines += ["", "The base failed, and nothing can be compared without it."]
    return "\n".join(lines) + "\n"


def _explained(plan: RecipePlan) -> list[str]:
    recipe = plan.params["model"]
    n_rows = len(plan.levers) - 1
    return [
        f"The base is `{NETWORK}` of `profile use {PROFILE}` without its baseline (`{ALONE}`), "
        f"{recipe['epochs']} epochs of batches of {recipe['batch_size']}. Each row changes one "
        f"part; its settings of `model` stand in `models.{GROUP}.{NETWORK}.training` of that "
        "profile. Differences are to the base, of the same seed, on the same clips, with their 95 "
        "% interval over recordings, in bold where 0 is outside: without any effect one row in "
        f"twenty would be bold, and there are {n_rows}. The intervals do not allow for other "
        "seeds. The cost is that of the network's multiply-adds in training, as a multiple of the "
        "base's; augmentation and reading are not in it.",
    ]


def _clips_line(plan: RecipePlan, clips: Clips) -> str:
    seeds = " and ".join(map(str, plan.seeds))
    fold_names = ", ".join(clips.folds)
    line = (
        f"Corpus {plan.params['corpus']['name']}, fold{_s(clips.folds)} {fold_names}: {clips.n} "
        f"clips of {clips.n_recordings} recordings; seed{_s(plan.seeds)} {seeds}."
    )
    is_fresh = plan.is_confirming and len(clips.folds) < len(plan.params["folds"])
    return f"{line} These folds had no part in the choice of levers." if is_fresh else line


def _table(plan: RecipePlan, clips: Clips, rows: Sequence[Measured]) -> list[str]:
    metric = clips.metric.replace("_", " ")
    by_seed = " (by seed)" if len(plan.seeds) > 1 else ""
    header = ["lever", "change", "settings", metric, f"log loss{by_seed}"]
    header += [f"{metric}, difference", "log loss, difference", "cost"]
    base = rows[0]
    lines = [_line(header), _line(["---"] * len(header))]
    lines += [_row(plan, one, base) for one in rows]
    failed = {lever.name for lever in plan.levers} - {one.lever.name for one in rows}
    lines += [
        _line([lever.name, lever.what, _settings(plan, lever.name), *["failed"] * 5])
        for lever in plan.levers
        if lever.name in failed
    ]
    return lines


def _row(plan: RecipePlan, one: Measured, base: Measured) -> str:
    seeds = ", ".join(f"{loss:.3f}" for loss in one.log_losses)
    cost = f"{one.cost / base.cost:.2f}" if one.cost and base.cost else "–"
    return _line(
        [
            one.lever.name,
            one.lever.what,
            _settings(plan, one.lever.name),
            f"{one.metric:.3f}",
            f"{one.log_loss:.3f} ({seeds})" if len(plan.seeds) > 1 else f"{one.log_loss:.3f}",
            _difference(one.metric_difference),
            _difference(one.log_loss_difference),
            cost,
        ]
    )


def _settings(plan: RecipePlan, name: str) -> str:
    return " ".join(f"`{setting}`" for setting in plan.settings[name])


def _difference(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    value = _signed(estimate.value)
    if estimate.low is None or estimate.high is None:
        return f"{value} (no interval: {estimate.why_no_interval})"
    text = f"{value} ({_signed(estimate.low)} to {_signed(estimate.high)})"
    return text if estimate.low <= 0 <= estimate.high else f"**{text}**"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", MINUS)


def _s(several: Sequence[object]) -> str:
    return "s" if len(several) > 1 else ""


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
