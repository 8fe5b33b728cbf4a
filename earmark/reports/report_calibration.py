"""The part of a report about calibration and rejection."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from earmark.reports.figures import coverage_figure, reliability_figure
from earmark.reports.parts import paragraphs, picture
from earmark.reports.score_tables import estimate_cell

_HEADINGS = ("", "ECE before", "ECE after", "ECE if calibrated", "AURC")


def calibration_section(
    calibration: Mapping[str, Any], reliability: pd.DataFrame, coverage: pd.DataFrame
) -> str:
    """The html of texts, a table and two figures, from what `calibration_report` returns."""
    out_of_fold = calibration["out_of_fold"]
    bins, curve = (rows[rows["clips"] == "out_of_fold"] for rows in (reliability, coverage))
    figures = picture(reliability_figure(bins), "Reliability diagram")
    threshold = out_of_fold["rejection_threshold"]
    figures += picture(coverage_figure(curve, threshold), "Coverage curve")
    return (
        paragraphs(*_texts(calibration))
        + _table(calibration)
        + f'<div class="side">{figures}</div>'
        + paragraphs(_rejection(out_of_fold))
    )


def _texts(calibration: Mapping[str, Any]) -> list[str]:
    texts = [
        f"`predict` divides the logits of the ensemble by a temperature of "
        f"{calibration['temperature']:.2f}, which is learned on all validation clips. Above 1, the "
        "ensemble was overconfident; below 1, it was underconfident. The temperature changes no "
        "ranking, and the scores above do not use it. Out of fold, each clip gets a temperature "
        "that was learned on the other folds.",
        "The expected calibration error (ECE) is the mean difference between confidence and "
        "accuracy over 15 bins. Each dot of the reliability diagram is one bin.",
    ]
    if "test" in calibration:
        texts.append(
            "A test clip gets the mean over the networks of all folds, as a new recording does. "
            "This mean is less confident than the single network that predicts a validation clip."
        )
    return texts


def _table(calibration: Mapping[str, Any]) -> str:
    rows = []
    for clips, name in (("out_of_fold", "out of fold"), ("test", "test")):
        if clips in calibration:
            values = calibration[clips]
            before, after = (estimate_cell(values[f"ece_{when}"]) for when in ("before", "after"))
            numbers = (f"{values['ece_if_calibrated']:.3f}", f"{values['aurc']:.3f}")
            cells = "".join(f"<td>{cell}</td>" for cell in (name, before, after, *numbers))
            rows.append(f"<tr>{cells}</tr>")
    head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    caption = (
        "Before and after: without and with the temperature. If calibrated: the ECE that chance "
        "gives a perfectly calibrated tagger on as many clips. AURC: area under the risk-coverage "
        "curve; 0 is best."
    )
    table = f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
    return f"{table}<p><small>{caption}</small></p>"


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
