"""The section of a report on the student: what it takes and what it scores, beside the ensemble."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from earmark.evaluation.calibration import verdict
from earmark.evaluation.intervals import interval_text
from earmark.reports.figures import METRIC_NAMES
from earmark.reports.parts import Table, cells
from earmark.reports.score_tables import estimate_cell
from earmark.wording import counted

_COUNTS = ("parameters", "multiply_adds")


class Student(NamedTuple):
    """What the part shows: texts and a table."""

    texts: list[str]
    table: Table


def student_part(scores: Mapping[str, Any]) -> Student:
    """The student beside the ensemble.

    Args:
        scores: the content of metrics/scores.json, with `student` as
            `evaluation.student.student_scores` returns it.
    """
    student, metric = scores["student"], scores["metric"]
    name = METRIC_NAMES[metric]
    taught = (
        f"One network, trained once on all {student['n_clips']} training clips. Its targets are "
        f"{student['teacher_weight']:.0%} of the ensemble's calibrated out-of-fold answers, which "
        f"{student['n_answered']} of the clips have, and the labels for the rest. "
    )
    more = [
        *([f"{counted(n, 'recording')} without labels"] if (n := student["n_unlabelled"]) else []),
        *([f"{counted(n, 'clip')} made of training clips"] if (n := student["n_made"]) else []),
    ]
    if more:
        taught += f"Of {' and '.join(more)} it learned the answers of all folds alone. "
    if "test" not in student:
        text = "Nothing unseen is left to score it on: the corpus has no labelled test clips."
        return Student([taught + text], _table(scores, name, {}))
    gain = student["gain"]
    difference = gain["difference"]
    text = (
        f"Neither it nor any of its teachers has seen a test clip. There its {name} differs "
        f"from the ensemble's by {difference['value']:+.4f} ({interval_text(difference, '+.4f')}; "
        f"p = {gain['p_value']:.2g} by a permutation test)."
    )
    judged = student["calibration"]
    clips = counted(judged["n_clips"], "test clip")
    calibration = f"Its probabilities, on {clips}: {verdict(judged)}."
    estimates = {
        "ensemble": scores["ensemble"]["test"]["all"][metric],
        "student": student["test"][metric],
    }
    return Student([taught + text, calibration], _table(scores, name, estimates))


def _table(scores: Mapping[str, Any], metric: str, estimates: Mapping[str, Any]) -> Table:
    costs = scores["student"]["costs"]
    heading = f"multiply-adds, {costs['clip_seconds']:g} s"
    head = ["", *([f"{metric}, test"] if estimates else []), "networks", "parameters", heading]
    rows = []
    for name in ("ensemble", "student"):
        cost = costs[name]
        score = [estimate_cell(estimates[name])] if estimates else []
        counts = [_millions(cost[key]) for key in _COUNTS]
        rows.append(cells([name, *score, cost["networks"], *counts]))
    ratio = costs["ensemble"]["multiply_adds"] / max(costs["student"]["multiply_adds"], 1)
    caption = (
        f"Multiply-adds of the networks for a clip of {costs['clip_seconds']:g} s, {ratio:.0f} "
        "times as many for the ensemble; decoding and spectra are not counted."
    )
    return Table(head, rows, caption)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.{0 if count >= 1e8 else 2}f} M"
