"""A table as markdown: the paper's figures, and ours with their 95 % intervals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earmark.errors import UserError
from earmark.evaluation.epoch_choice import EPOCH_RULES
from experiments.settings import Plan
from experiments.tables import ENSEMBLE, Column, Row

NOT_GIVEN = "–"


def markdown(plan: Plan, scores: Mapping[str, dict[str, Any]]) -> str:
    """Render the table from the scores of its experiments, by the table's names for them.

    Rows of experiments that are missing say so. A small run's figures stand alone, so that nobody
    compares them with the paper's.
    """
    whose = ["ours"] if plan.is_small else ["paper", "ours"]
    header = ["", *(f"{column.heading}: {one}" for column in plan.columns for one in whose)]
    rows = [row for row in plan.table.rows if row.experiment or not plan.is_small]
    lines = [f"# {plan.table.title}", "", *_headline(plan, scores), ""]
    lines += [_line(header), _line(["---"] * len(header))]
    lines += [_line([row.name, *_cells(row, plan, scores)]) for row in rows]
    return "\n".join([*lines, "", *_epochs(scores), *_notes(plan, scores)]) + "\n"


def _headline(plan: Plan, scores: Mapping[str, dict[str, Any]]) -> list[str]:
    brackets = "Brackets: 95 % intervals over clips, or over recordings (r) cut into several clips."
    if not plan.is_small:
        return [f"Corpus: {plan.corpus}. {brackets}"]
    lines = [
        f"**A check that every row works**, on {plan.corpus} with narrow networks and two epochs: "
        "these figures say nothing about the paper.",
        brackets,
    ]
    if any("test" not in entry["ensemble"] for entry in scores.values()):
        lines.append("The folder has no test clips: all figures are out of fold.")
    return lines


def _cells(row: Row, plan: Plan, scores: Mapping[str, dict[str, Any]]) -> list[str]:
    cells = []
    for column, figure in zip(plan.columns, row.figures, strict=True):
        ours = "not run"
        if row.experiment:
            run = scores.get(row.experiment)
            ours = "failed" if run is None else _ours(row, column, run, plan.is_small)
        cells += [ours] if plan.is_small else [figure or NOT_GIVEN, ours]
    return cells


def _ours(row: Row, column: Column, run: dict[str, Any], is_small: bool) -> str:
    entry = run["ensemble"] if row.member == ENSEMBLE else run["models"][row.member]
    estimate = _part(entry, column, row, is_small)[column.metric]
    text = f"{estimate['value']:.3f} ({_ends(estimate)})"
    if not column.over_folds:
        return text
    mean, std = (entry["folds"][key][column.metric] for key in ("mean", "std"))
    return f"{mean:.3f} ± {std:.3f}; of all clips {text}"


def _ends(estimate: Mapping[str, Any]) -> str:
    if "why_no_interval" in estimate:
        return f"no interval: {estimate['why_no_interval']}"
    mark = "; r" if estimate["over"] == "recordings" else ""
    return f"{estimate['low']:.3f} to {estimate['high']:.3f}{mark}"


def _part(entry: dict[str, Any], column: Column, row: Row, is_small: bool) -> dict[str, Any]:
    """The scores on a column's clips; a small run takes the nearest that its folder has."""
    ways = [column.part, ("test", "all"), ("out_of_fold",)] if is_small else [column.part]
    for way in ways:
        scores: Any = entry
        for key in way:
            scores = scores.get(key, {})
        if scores:
            return dict(scores)
    part = " ".join(column.part)
    fix = "run the table on the paper's corpus, or try it with --small"
    raise UserError(f"{row.name}: the corpus has no {part} clips, so nothing was scored; {fix}")


def _epochs(scores: Mapping[str, dict[str, Any]]) -> list[str]:
    """How far the papers' choice of an epoch, on the fold that is scored, flatters each network."""
    rows = []
    for experiment, run in scores.items():
        for model, entry in run["epochs"].items():
            values = [entry.get(rule) for rule in EPOCH_RULES]
            shown = [NOT_GIVEN if value is None else f"{value:.3f}" for value in values]
            rows.append(_line([experiment, model, entry["rule"], *shown]))
    if not rows:
        return []
    heading = "After each epoch, on validation clips, at the epoch that a rule would keep:"
    head = ["experiment", "model", "kept by", *(rule.replace("_", " ") for rule in EPOCH_RULES)]
    return [heading, "", _line(head), _line(["---"] * len(head)), *rows, ""]


def _notes(plan: Plan, scores: Mapping[str, dict[str, Any]]) -> list[str]:
    of_runs = [note for run in scores.values() for note in run["notes"]]
    notes = [*plan.table.notes, *_starts(plan), *of_runs]
    return [f"- {note}" for note in dict.fromkeys(notes)]


def _starts(plan: Plan) -> list[str]:
    """What the networks started from; runs say themselves which published weights were missing."""
    training = {
        name: model["training"]
        for models in plan.params["models"].values()
        for name, model in models.items()
    }
    shared = plan.params.get("model", {}).get("init_from", "")
    paths = [one.get("init_from", shared) for one in training.values()]
    paths += [extractor["weights"] for extractor in plan.params.get("extractors", {}).values()]
    given = sorted({Path(path).name for path in paths if path})
    lacking = [name for name, one in training.items() if one.get("init_from") == ""]
    notes = [f"Started from {', '.join(given)}."] if given else []
    if lacking:
        notes.append(
            f"{', '.join(lacking)} started from random values, unlike the paper's: no weight file "
            "was given (the profile says how to)."
        )
    return notes


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
