"""The part of a report about calibration and rejection."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from earmark.evaluation.calibration import verdict
from earmark.reports.figures import coverage_figure, reliability_figure
from earmark.reports.parts import Table, cells, drawing
from earmark.reports.score_tables import estimate_cell

_HEADINGS = ("", "clips", "ECE before", "ECE after", "ECE if calibrated", "AURC")


class Calibration(NamedTuple):
    """What the part shows: texts, a table, figures, and what it means for rejection."""

    texts: list[str]
    table: Table
    figures: list[Markup]
    rejection: list[str]


def calibration_part(
    calibration: Mapping[str, Any], reliability: pd.DataFrame, coverage: pd.DataFrame
) -> Calibration:
    """From what `calibration_report` returns."""
    out_of_fold = calibration["out_of_fold"]
    figures = []
    for clips, name in _parts(calibration):
        bins = reliability[reliability["clips"] == clips]
        title = f"{name}: {calibration[clips]['estimator']}"
        figure = reliability_figure(bins, title=title)
        figures.append(drawing(figure, f"Reliability diagram, {name}"))
    curve = coverage[coverage["clips"] == "out_of_fold"]
    threshold = out_of_fold["rejection_threshold"]
    figures.append(drawing(coverage_figure(curve, threshold), "Coverage curve"))
    rejection = [_rejection(out_of_fold), *_recommendation(out_of_fold)]
    return Calibration(_texts(calibration), _table(calibration), figures, rejection)


def _parts(calibration: Mapping[str, Any]) -> list[tuple[str, str]]:
    parts = (("out_of_fold", "out of fold"), ("test", "test"))
    return [(clips, name) for clips, name in parts if clips in calibration]


def _texts(calibration: Mapping[str, Any]) -> list[str]:
    which = "verified validation clips"
    if calibration["out_of_fold"]["clips"] == "all":
        which = "validation clips"
    texts = [
        f"{name[0].upper()}{name[1:]}, by {calibration[clips]['estimator']}, the tempered "
        f"probabilities are {verdict(calibration[clips])}."
        for clips, name in _parts(calibration)
    ]
    texts += [
        f"A temperature divides the logits: {calibration['temperature_out_of_fold']:.2f} for one "
        f"fold's networks, learned on {which} (out of fold, on those of the other folds), and "
        f"{calibration['temperature']:.2f} for the mean over folds, which `predict` shows. The "
        "latter is less sharp; by how much is measured on test clips, without their labels. Above "
        "1, the ensemble was overconfident; below 1, it was underconfident. A temperature changes "
        "no ranking, and the scores above do not use it.",
        "The expected calibration error (ECE) is the mean difference between confidence and "
        "accuracy over 15 bins. Each dot of a reliability diagram is one bin.",
    ]
    return texts


def _table(calibration: Mapping[str, Any]) -> Table:
    rows = []
    for clips, name in _parts(calibration):
        values = calibration[clips]
        before, after = (estimate_cell(values[f"ece_{when}"]) for when in ("before", "after"))
        chance = f"{values['ece_if_calibrated']:.3f}, up to {values['ece_chance_limit']:.3f}"
        n_clips, aurc = str(values["n_clips"]), f"{values['aurc']:.3f}"
        rows.append(cells([f"{name}, {values['estimator']}", n_clips, before, after, chance, aurc]))
    caption = (
        "Before and after: without and with the temperature. If calibrated: the ECE that chance "
        "gives a perfectly calibrated tagger on as many clips, on average and in 19 of 20 cases. "
        "AURC: area under the risk-coverage curve; 0 is best."
    )
    return Table(_HEADINGS, rows, caption)


def _rejection(out_of_fold: Mapping[str, Any]) -> str:
    threshold = out_of_fold["rejection_threshold"]
    if not threshold:
        return "evaluate.rejection_threshold is 0: every clip is answered."
    if not out_of_fold["coverage"]:
        return f"With evaluate.rejection_threshold {threshold}, no validation clip is answered."
    return (
        f"With evaluate.rejection_threshold {threshold}, {out_of_fold['coverage']:.1%} of the "
        f"validation clips are answered, and {out_of_fold['accuracy']:.1%} of these answers are "
        "right."
    )


def _recommendation(out_of_fold: Mapping[str, Any]) -> list[str]:
    """The thresholds that would give the accuracies that users ask for."""
    options = [
        f"{float(accuracy):.0%} at {row['threshold']:.2f} ({row['coverage']:.0%} answered)"
        for accuracy, row in out_of_fold["rejection_for_accuracy"].items()
    ]
    if not options:
        return []
    return [
        "Rejection thresholds above which a share of the answers to these validation clips is "
        f"right: {'; '.join(options)}."
    ]
