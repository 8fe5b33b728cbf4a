"""The report of an ensemble: one self-contained page, from tables and dictionaries.

An estimate is as `evaluation.intervals.Estimate.to_json()` returns it: `{"value", "low", "high",
"over"}`, or `{"value", "why_no_interval"}`.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.evaluation.by_tag import confusion_pairs
from earmark.reports.figures import (
    METRIC_NAMES,
    confusion_figure,
    learning_curve_figure,
    per_class_figure,
)
from earmark.reports.parts import details, page, paragraphs, picture, section, table
from earmark.reports.report_calibration import calibration_section
from earmark.reports.report_student import student_section
from earmark.reports.score_tables import score_tables
from earmark.reports.summary import summary_of
from earmark.wording import counted


def render_report(
    *,
    title: str,
    synthetic: bool,
    notes: Sequence[str],
    metrics: Sequence[str],
    scores: Mapping[str, Any],
    by_tag: pd.DataFrame,
    confusion: NDArray[np.integer[Any]] | None,
    tags: Sequence[str],
    learning_curves: pd.DataFrame,
    weights: Mapping[str, float],
    quarantine: pd.DataFrame,
    calibration: Mapping[str, Any] | None = None,
    reliability: pd.DataFrame | None = None,
    coverage: pd.DataFrame | None = None,
    aggregation: pd.DataFrame | None = None,
    split: Mapping[str, Any] | None = None,
) -> str:
    """Return the html page, with its pictures inside.

    Args:
        title: the heading.
        synthetic: whether a banner warns that the corpus is synthetic.
        notes: paragraphs that follow the summary.
        metrics: keys of METRIC_NAMES; the first one decides about the summary and the order.
        scores: `{"models": {name: {"folds": {"mean", "std"}, "out_of_fold", "test"}}, "ensemble",
            "gain"}`. out_of_fold and each split of test (all, public, private) are as
            `Scores.to_json()` returns them. folds, test and gain (see `summary_of`) may be
            absent, and the ensemble has no folds. `metric` and `student`, where there is one: see
            `student_section`. Every model is a member, whatever its weight.
        by_tag: one row per tag, of the ensemble, out of fold.
        confusion: (K, K), likewise; None where clips may have several tags.
        tags: the K tags.
        learning_curves: one row per model, fold and epoch.
        weights: of the members.
        quarantine: the recordings that could not be used.
        calibration: of `calibration.calibration_report`, as `reliability` and `coverage`.
        reliability: see `figures.reliability_figure`.
        coverage: see `figures.coverage_figure`.
        aggregation: of `tables.aggregation_table`.
        split: the content of metrics/split.json.

    Raises:
        ValueError: a weight belongs to no model, or no weight is above 0.
    """
    _validate(scores, weights)
    summary = summary_of(scores, metrics[0])
    style = "summary" if summary.is_best else "summary no"
    sections = [
        f'<p class="{style}">{escape(summary.sentence)}</p>',
        paragraphs(*notes),
        section("Scores", paragraphs(*_folds(split)), score_tables(scores, weights, metrics)),
    ]
    if "student" in scores:
        sections.append(section("Student", student_section(scores)))
    sections.append(section("Tags", _by_tag(by_tag)))
    if confusion is not None:
        sections.append(section("Confusions", _confusions(confusion, tags)))
    if calibration is not None and reliability is not None and coverage is not None:
        part = calibration_section(calibration, reliability, coverage)
        sections.append(section("Calibration and rejection", part))
    if aggregation is not None:
        sections.append(section("Crops", _aggregation(aggregation)))
    by_epochs = learning_curves.dropna(subset=["learning_rate"])  # not what is fitted at once
    if len(by_epochs):
        metric = metrics[0] if metrics[0] in learning_curves else "map_at_3"
        curves = picture(learning_curve_figure(by_epochs, metric), "Learning curves")
        epochs = _epochs(scores.get("epochs", {}), METRIC_NAMES[metric])
        fits = _fits(scores.get("fits", {}), METRIC_NAMES[metric])
        text = "<p>One line per fold.</p>"
        sections.append(section("Learning curves", text, curves, fits, epochs))
    sections.append(section("Quarantine", _quarantine(quarantine)))
    return page(title, synthetic=synthetic, body="\n".join(sections))


def _epochs(choices: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """What each model's curve says of the epoch that is kept, by whatever rule."""
    if not choices:
        return ""
    rows = pd.DataFrame.from_dict(dict(choices), orient="index").round(3).fillna("–")
    rows.insert(0, "model", rows.index)
    text = paragraphs(
        f"Validation {metric} at the epoch that each rule would keep, mean over the folds: the "
        "best of the fold that is scored (which flatters), the best of the other folds' mean "
        "curve, and the last. Each model was kept by the rule that its row names."
    )
    return text + table(rows.rename(columns={"rule": "kept_by"}))


def _fits(fits: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """Whether each model learned its clips by heart, or too little of them."""
    if not fits:
        return ""
    rows = pd.DataFrame.from_dict(dict(fits), orient="index").round(3)
    rows.insert(0, "model", rows.index)
    text = (
        f"The {metric} of the kept weights, on clips that they were trained on, as recorded, and "
        "on validation clips. Over-fitted: at most a third of the validation's error is there on "
        "training clips; under-trained: at least two thirds."
    )
    return paragraphs(text) + table(rows)


def _validate(scores: Mapping[str, Any], weights: Mapping[str, float]) -> None:
    unknown = sorted(set(weights) - set(scores["models"]))
    if unknown:
        raise ValueError(f"weights of {unknown}, which have no scores; score every member")
    if not any(weight > 0 for weight in weights.values()):
        raise ValueError("no model has a weight above 0; an ensemble needs at least one")


def _folds(split: Mapping[str, Any] | None) -> list[str]:
    """How the clips were split, and what makes the scores too high."""
    if split is None:
        return []
    official = ", as published with the corpus" if split["folds_are_official"] else ""
    texts = [
        f"Split: {split['scheme']}, {counted(len(split['folds']), 'fold')}{official}; "
        f"{split['train_clips']} training clips and {split['test_clips']} test clips."
    ]
    if n_copies := split.get("test_copies_dropped"):
        texts.append(f"{counted(n_copies, 'training clip')} equal to test clips did not train.")
    leaks = {
        "sources_across_folds": ("recording has", "recordings have", "clips in several folds"),
        "equal_recordings_across_folds": ("pair", "pairs", "of equal clips in different folds"),
        "sources_across_train_and_test": (
            "recording has",
            "recordings have",
            "clips in both the training clips and the test set",
        ),
    }
    sentences = [
        f"{counted(split[key], one, many)} {what}"
        for key, (one, many, what) in leaks.items()
        if split.get(key)
    ]
    if sentences:
        texts.append(f"The scores are too high, because of leaks: {'; '.join(sentences)}.")
    return texts


def _by_tag(by_tag: pd.DataFrame) -> str:
    text = ""
    if "threshold" in by_tag:
        text = paragraphs(
            "Precision, recall and F1 are out of fold: the thresholds come from the other folds. "
            "The column threshold is learned on all validation clips; `predict` answers a tag if "
            "its probability reaches this threshold."
        )
    headings = {**METRIC_NAMES, "f1": "F1", "n_clips": "clips"}
    rounded = by_tag.round(3).fillna("").rename(columns=headings)
    figure = picture(per_class_figure(by_tag), "F1, precision and recall of each tag")
    return text + figure + details("As a table", table(rounded))


def _confusions(confusion: NDArray[np.integer[Any]], tags: Sequence[str]) -> str:
    figure = picture(confusion_figure(confusion, tags), "Confusion matrix")
    pairs = confusion_pairs(confusion, tags).head(10)
    if pairs.empty:
        return figure + "<p>No clip was mistaken for another tag.</p>"
    shares = pairs["share_of_actual"].map("{:.0%}".format)
    text = "<p>The most frequent confusions:</p>"
    return figure + text + table(pairs.assign(share_of_actual=shares))


def _aggregation(aggregation: pd.DataFrame) -> str:
    text = (
        "Each model's crops by two rules, on the validation clips: the mean, and the first "
        "confident crop. Overconfidence is the mean confidence less the share that is right, as "
        "the ECE before any temperature; ece_calibrated has temperatures of the other folds, "
        "log_loss that of all folds. aggregation: best_out_of_fold takes the lower log_loss."
    )
    used = aggregation["used"].map({True: "yes", False: ""})
    return paragraphs(text) + table(aggregation.assign(used=used).round(3))


def _quarantine(quarantine: pd.DataFrame) -> str:
    if quarantine.empty:
        return "<p>Every recording could be used.</p>"
    n_shown = 50
    text = f"<p>{counted(len(quarantine), 'recording')} could not be used and "
    text += "was left out" if len(quarantine) == 1 else "were left out"
    text += f". The first {n_shown}:</p>" if len(quarantine) > n_shown else ":</p>"
    return text + table(quarantine.head(n_shown))
