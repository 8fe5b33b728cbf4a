"""The report of an ensemble, from tables and dictionaries: one page, and clips beside it.

An estimate is as `evaluation.intervals.Estimate.to_json()` returns it: `{"value", "low", "high",
"over"}`, or `{"value", "why_no_interval"}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.evaluation.by_tag import confusion_pairs
from earmark.reports.clips import MAX_ERRORS, RIGHT_PER_TAG, Shown, matrices, tag_errors
from earmark.reports.excerpts import MAX_SECONDS
from earmark.reports.figures import METRIC_NAMES, learning_curve_figure
from earmark.reports.pages import render
from earmark.reports.parts import Cell, Table, cells, drawing, table_of
from earmark.reports.report_calibration import calibration_part
from earmark.reports.report_student import student_part
from earmark.reports.score_tables import estimate_cell, score_chart, score_tables
from earmark.reports.summary import summary_of
from earmark.wording import counted

MAX_QUARANTINED = 50


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
    shown: Shown | None = None,
    label_note: str = "",
    trivial: Mapping[str, Mapping[str, float]] | None = None,
    contributions: Sequence[Any] = (),
    crop_sweep: pd.DataFrame | None = None,
    threshold_sweep: pd.DataFrame | None = None,
    provenance: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the html page, with its figures inside.

    Args:
        title: the heading.
        synthetic: whether a banner warns that the corpus is synthetic.
        notes: what a reader of the scores must know.
        metrics: keys of METRIC_NAMES; the first one decides about the summary and the order.
        scores: `{"models": {name: {"folds": {"mean", "std"}, "out_of_fold", "test"}}, "ensemble",
            "gain"}`. out_of_fold and each split of test (all, public, private) are as
            `Scores.to_json()` returns them. folds, test and gain (see `summary_of`) may be
            absent, and the ensemble has no folds. `metric` and `student`, where there is one: see
            `student_part`. Every model is a member, whatever its weight.
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
        shown: the clips to click on; the page then asks for `clips.js` beside it.
        label_note: why the audit says nothing of labels, or "".
        trivial: name -> metric -> value of answers that ignore the sound.
        contributions: of `ensemble.contributions`.
        crop_sweep: of `ensemble.sweep`.
        threshold_sweep: of `evaluation.threshold_sweep`.
        provenance: names and values of what the page was made of.

    Raises:
        ValueError: a weight belongs to no model, or no weight is above 0.
    """
    _validate(scores, weights)
    metric = metrics[0]
    judged = None
    if calibration is not None and reliability is not None and coverage is not None:
        judged = calibration_part(calibration, reliability, coverage)
    return render(
        "report.html",
        title=title,
        synthetic=synthetic,
        summary=summary_of(scores, metric),
        score=estimate_cell(scores["ensemble"]["out_of_fold"][metric]),
        metric=METRIC_NAMES[metric],
        chart_data=score_chart(scores, metric, trivial or {}),
        notes=notes,
        listening=None if shown is None else _listening(shown, label_note, confusion is None),
        pairs=None if confusion is None else _pairs(confusion, tags),
        by_tag=_by_tag(by_tag),
        has_thresholds="threshold" in by_tag,
        contributions=_contributions(contributions, METRIC_NAMES[metric]),
        folds=_folds(split),
        scores=score_tables(scores, weights, metrics),
        student=student_part(scores) if "student" in scores else None,
        crop_sweep=_crop_sweep(crop_sweep, metric),
        threshold_sweep=_threshold_sweep(threshold_sweep),
        calibration=judged,
        aggregation=None if aggregation is None else _aggregation(aggregation),
        curves=_curves(scores, metric, learning_curves),
        quarantine=_quarantine(quarantine),
        provenance=provenance,
    )


def _listening(shown: Shown, label_note: str, is_multi_label: bool) -> dict[str, Any]:
    """What stands above the clips: matrices, or errors by tag, and which clips can be heard."""
    n_clips = sum(len(one.predictions) for one in shown.sets.values())
    heard = (
        f"{counted(shown.n_errors, 'error')} in {counted(n_clips, 'answer')}. "
        f"An excerpt is the first {MAX_SECONDS:g} s of a clip, without the silence at its ends, as "
        "the networks read it, compressed (up to 12 kHz). "
    )
    if shown.n_errors_heard < shown.n_errors:
        heard += (
            f"There are excerpts of at most {MAX_ERRORS} errors of each set, the worst of all and "
            "of every kind, "
        )
    else:
        heard += "There are excerpts of all errors, "
    heard += f"and of the {RIGHT_PER_TAG} least confident right answers of each tag."
    return {
        "matrices": [] if is_multi_label else matrices(shown),
        "tag_errors": tag_errors(shown) if is_multi_label else [],
        "heard": heard,
        "label_note": label_note,
    }


def _pairs(confusion: NDArray[np.integer[Any]], tags: Sequence[str]) -> Table | None:
    pairs = confusion_pairs(confusion, tags).head(10)
    if pairs.empty:
        return None
    return table_of(pairs.assign(share_of_actual=pairs["share_of_actual"].map("{:.0%}".format)))


def _by_tag(by_tag: pd.DataFrame) -> Table:
    headings = {**METRIC_NAMES, "f1": "F1", "n_clips": "clips"}
    ordered = by_tag.sort_values(["f1", "tag"])
    decimals = {
        name: ordered[name].map("{:.3f}".format, na_action="ignore")
        for name in ordered.columns
        if ordered[name].dtype.kind == "f"
    }
    shown = ordered.assign(**decimals).fillna("").rename(columns=headings)
    table = table_of(shown, is_sortable=True)
    column = list(shown.columns).index("F1")
    for row in table.rows:
        assert isinstance(row, list)
        row[column] = row[column]._replace(bar=float(row[column].text))
    return table


def _contributions(contributions: Sequence[Any], metric: str) -> Table | None:
    """What the ensemble loses without each member."""
    if not contributions:
        return None
    rows, whys = [], set()
    for one in contributions:
        difference, value = one.difference, f"{one.difference['value']:+.4f}"
        if difference.get("low") is None:
            why = difference.get("why_no_interval") or ""
            cell = Cell(value, "no interval", title=why)
            whys.add(f"No interval: {why}." if why else "")
        else:
            cell = Cell(value, f"[{difference['low']:+.4f}, {difference['high']:+.4f}]")
        rows.append(cells([one.member, f"{one.without:.4f}", cell, f"{one.p_value:.2g}"]))
    head = ["member", f"{metric} without it", "what it adds", "p"]
    return Table(head, rows, " ".join(sorted(whys)), is_sortable=True)


def _threshold_sweep(sweep: pd.DataFrame | None) -> Table | None:
    if sweep is None or sweep.empty:
        return None
    shown = sweep.round(4).astype(object).where(sweep.notna(), "–")
    return table_of(shown.rename(columns=METRIC_NAMES))


def _crop_sweep(sweep: pd.DataFrame | None, metric: str) -> Table | None:
    """A row for each confidence and a column for each model, with the crops looked at."""
    if sweep is None or sweep.empty:
        return None
    models = list(dict.fromkeys(sweep["model"]))
    rows = [
        cells(
            [
                f"{confidence:g}",
                *(Cell(f"{value:.3f}", f"{n:.1f}") for value, n in zip(*of_models, strict=True)),
            ]
        )
        for confidence, part in sweep.groupby("confidence")
        for of_models in [part.set_index("model").loc[models, [metric, "n_crops"]].to_numpy().T]
    ]
    caption = f"{METRIC_NAMES[metric]}, and beside it how many crops of a clip are looked at."
    return Table(["confidence", *models], rows, caption)


def _aggregation(aggregation: pd.DataFrame) -> Table:
    used = aggregation["used"].map({True: "yes", False: ""})
    return table_of(aggregation.assign(used=used).round(3))


def _curves(
    scores: Mapping[str, Any], metric: str, learning_curves: pd.DataFrame
) -> dict[str, Any] | None:
    """Learning curves, what each says of the epoch that is kept, and whether a model is
    over-fitted."""
    by_epochs = learning_curves.dropna(subset=["learning_rate"])  # not what is fitted at once
    if by_epochs.empty:
        return None
    metric = metric if metric in learning_curves else "map_at_3"
    figure = drawing(learning_curve_figure(by_epochs, metric), "Learning curves")
    epochs = _by_model(scores.get("epochs", {}), missing="–")
    return {
        "figure": figure,
        "metric": METRIC_NAMES[metric],
        "fits": _by_model(scores.get("fits", {})),
        "epochs": epochs,
    }


def _by_model(values: Mapping[str, Mapping[str, Any]], *, missing: str = "") -> Table | None:
    """A row for each model."""
    if not values:
        return None
    rows = pd.DataFrame.from_dict(dict(values), orient="index").round(3)
    rows = rows.astype(object).where(rows.notna(), missing)
    rows.insert(0, "model", rows.index)
    return table_of(rows.rename(columns={"rule": "kept_by"}))


def _quarantine(quarantine: pd.DataFrame) -> dict[str, Any] | None:
    if quarantine.empty:
        return None
    text = f"{counted(len(quarantine), 'recording')} could not be used and "
    text += "was left out" if len(quarantine) == 1 else "were left out"
    text += f". The first {MAX_QUARANTINED}:" if len(quarantine) > MAX_QUARANTINED else ":"
    return {"text": text, "table": table_of(quarantine.head(MAX_QUARANTINED))}


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
