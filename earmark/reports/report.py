"""One self-contained page that says how good a tagger is, from plain tables and dictionaries.

An estimate is `{"value", "low", "high"}`, its ends over clips, and where recordings were cut into
several clips `{"low_by_source", "high_by_source"}`, its ends over recordings.
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
    coverage_figure,
    learning_curve_figure,
    members_figure,
    per_class_figure,
    reliability_figure,
)
from earmark.reports.parts import page, paragraphs, picture, section, table
from earmark.reports.summary import BY_SOURCE, ends_of, verdict

_Row = tuple[str, Mapping[str, Any], Mapping[str, Any]]  # name, scores, what may hold "folds"

_ENSEMBLE = "ensemble"
_TEST_PARTS = {"all": "test", "public": "test, Public", "private": "test, Private"}


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
    split: Mapping[str, Any] | None = None,
) -> str:
    """Return the html page, its pictures inside.

    `scores` is `{"models": {name: {"folds": {"mean", "std"}, "out_of_fold", "test"}}, "ensemble",
    "gain"}`: out_of_fold and each part of test (all, public, private) as `Scores.to_json()` gives
    them; folds and test may be absent, and the ensemble has no folds; gain (see `verdict`) may be
    absent. Every model is a member, whatever its weight; `by_tag` and `confusion` are the
    ensemble's, out of fold, and there is no confusion where clips may have several tags. The first
    of `metrics` is the one that counts. `calibration`, `reliability` and `coverage` are those of
    `calibration.calibration_report`; `split` is what the split stage says of the folds.
    """
    _validate(scores, weights)
    beats, sentence = verdict(scores, metrics[0])
    sections = [
        f'<p class="verdict{"" if beats else " no"}">{escape(sentence)}</p>',
        paragraphs(*notes),
        section("Scores", paragraphs(*_folds(split)), _score_tables(scores, weights, metrics)),
        section("Tags", _by_tag(by_tag)),
    ]
    if confusion is not None:
        sections.append(section("Confusions", _confusions(confusion, tags)))
    if calibration is not None and reliability is not None and coverage is not None:
        shown = _calibration(calibration, reliability, coverage)
        sections.append(section("Calibration and what to leave open", shown))
    if len(learning_curves):
        metric = metrics[0] if metrics[0] in learning_curves else "map_at_3"
        curves = picture(learning_curve_figure(learning_curves, metric), "Learning curves")
        sections.append(section("Learning curves", "<p>One line per fold.</p>", curves))
    sections.append(section("Quarantine", _quarantine(quarantine)))
    return page(title, synthetic=synthetic, body="\n".join(sections))


def _validate(scores: Mapping[str, Any], weights: Mapping[str, float]) -> None:
    strangers = sorted(set(weights) - set(scores["models"]))
    if strangers:
        raise ValueError(f"weights for {strangers}, which have no scores")
    if not any(weight > 0 for weight in weights.values()):
        raise ValueError("no model has a weight above 0, so there is no ensemble to report")


def _folds(split: Mapping[str, Any] | None) -> list[str]:
    """How the clips were dealt, and what of it flatters the scores."""
    if split is None:
        return []
    said = f"Folds: {split['scheme']}, {len(split['folds'])} of them"
    if split["folds_are_official"]:
        said += ", the corpus' own"
    found = [f"{said}; {split['train_clips']} training and {split['test_clips']} test clips."]
    leaks = {
        "sources_across_folds": "recordings have clips in several folds",
        "equal_recordings_across_folds": "pairs of equal recordings lie in different folds",
        "sources_across_train_and_test": "recordings have clips in training and in the test set",
    }
    heard = [f"{split[key]} {what}" for key, what in leaks.items() if split.get(key)]
    if heard:
        found.append(f"These scores are hopeful, for {'; '.join(heard)}.")
    return found


def _by_value(scores: Mapping[str, Any], metric: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The ensemble, then the models, the best out-of-fold value first."""

    def order(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        return -item[1]["out_of_fold"][metric]["value"], item[0]

    return [(_ENSEMBLE, scores["ensemble"]), *sorted(scores["models"].items(), key=order)]


def _score_tables(
    scores: Mapping[str, Any], weights: Mapping[str, float], metrics: Sequence[str]
) -> str:
    """One table per set of clips, since a number means something else on each."""
    rows = _by_value(scores, metrics[0])
    out_of_fold: list[_Row] = [(name, entry["out_of_fold"], entry) for name, entry in rows]
    tables = [
        _score_table("out of fold", out_of_fold, weights, metrics),
        _members_picture(scores, metrics[0]),
    ]
    for part, heading in _TEST_PARTS.items():
        tests: list[_Row] = [(n, e["test"][part], {}) for n, e in rows if part in _test(e)]
        if tests:
            tables.append(_score_table(heading, tests, weights, metrics))
    return "\n".join(tables)


def _score_table(
    heading: str, rows: Sequence[_Row], weights: Mapping[str, float], metrics: Sequence[str]
) -> str:
    lines = []
    for name, found, entry in rows:
        weight = "" if name == _ENSEMBLE else f"{weights[name]:.3f}" if name in weights else "–"
        cells = [_estimate(found[metric], entry.get("folds"), metric) for metric in metrics]
        row = "".join(f"<td>{cell}</td>" for cell in (escape(name), weight, *cells))
        lines.append(f"<tr{' class=ensemble' if name == _ENSEMBLE else ''}>{row}</tr>")
    names = (METRIC_NAMES[metric] for metric in metrics)
    head = "".join(f"<th>{cell}</th>" for cell in (heading, "weight", *names))
    caption = f"{rows[0][1]['n_clips']} clips. Brackets: 95 % interval over the clips"
    if any(BY_SOURCE in line for line in lines):
        caption += f", or {BY_SOURCE} over the recordings that they were cut from, if wider"
    if any("folds" in entry for *_, entry in rows):
        caption += "; second line: mean ± standard deviation over the folds"
    return (
        f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'
        f"<p><small>{caption}.</small></p>"
    )


def _estimate(e: Mapping[str, float], folds: Mapping[str, Any] | None, metric: str) -> str:
    low, high, mark = ends_of(e)
    text = f"{e['value']:.3f} <small>[{low:.3f}, {high:.3f}]{mark}</small>"
    if folds is None:
        return text
    return f"{text}<br><small>{folds['mean'][metric]:.3f} ± {folds['std'][metric]:.3f}</small>"


def _test(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry.get("test") or {}


def _members_picture(scores: Mapping[str, Any], metric: str) -> str:
    rows: dict[str, dict[str, Any]] = {}
    for name, entry in _by_value(scores, metric):
        parts = {"out of fold": entry["out_of_fold"]}
        if "all" in _test(entry):
            parts["test"] = entry["test"]["all"]
        rows[name] = {}
        for part, found in parts.items():
            low, high, _ = ends_of(found[metric])
            rows[name][part] = {"value": found[metric]["value"], "low": low, "high": high}
    name = METRIC_NAMES[metric]
    figure = members_figure(rows, metric=name, highlight=_ENSEMBLE)
    return picture(figure, f"{name} of the ensemble and of every model")


def _by_tag(by_tag: pd.DataFrame) -> str:
    names = {"map_at_3": "MAP@3", "roc_auc": "ROC AUC"}
    rounded = by_tag.round(3).fillna("").rename(columns=names)
    said = ""
    if "threshold" in by_tag:
        said = paragraphs(
            "Precision, recall and F1 are of answers by thresholds that other folds taught. The "
            "threshold in the table is from all held-out clips: from that probability upwards "
            "`predict` says the tag."
        )
    return (
        said
        + picture(per_class_figure(by_tag), "F1, precision and recall of each tag")
        + f"<details><summary>As a table</summary>{table(rounded)}</details>"
    )


def _confusions(confusion: NDArray[np.integer[Any]], tags: Sequence[str]) -> str:
    drawn = picture(confusion_figure(confusion, tags), "Confusion matrix")
    pairs = confusion_pairs(confusion, tags).head(10)
    if pairs.empty:
        return drawn + "<p>No clip was mistaken for another tag.</p>"
    shares = pairs["share_of_actual"].map("{:.0%}".format)
    return drawn + "<p>The most frequent:</p>" + table(pairs.assign(share_of_actual=shares))


def _calibration(
    calibration: Mapping[str, Any], reliability: pd.DataFrame, coverage: pd.DataFrame
) -> str:
    held_out = calibration["out_of_fold"]
    texts = [
        f"A temperature of {calibration['temperature']:.2f}, learned on the held-out clips, "
        "divides the logits of what `predict` answers (above 1 they were too sure, below 1 too "
        "timid). It changes no ranking, and the scores above are without it. Out of fold each "
        "clip is judged with a temperature that other folds taught.",
        "Expected calibration error (ECE) is the mean gap between how sure the ensemble is and how "
        "often it is right, over 15 bins; a dot below is one of them.",
    ]
    if "test" in calibration:
        texts.append(
            "A test clip, like a new recording, is answered by the mean over the networks of all "
            "folds, which is less sure than the one that answers for a held-out clip."
        )
    rows = []
    for part, name in (("out_of_fold", "out of fold"), ("test", "test")):
        if part in calibration:
            found = calibration[part]
            before, after = (_estimate(found[f"ece_{w}"], None, "") for w in ("before", "after"))
            cells = (f"{found['ece_if_calibrated']:.3f}", f"{found['aurc']:.3f}")
            row = "".join(f"<td>{cell}</td>" for cell in (name, before, after, *cells))
            rows.append(f"<tr>{row}</tr>")
    heads = ("", "ECE as joined", "ECE with temperature", "by chance alone", "AURC")
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    errors = f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
    caption = (
        "<p><small>By chance alone: what a tagger that means what it says would show on as many "
        "clips. AURC: area under the risk-coverage curve, 0 is best.</small></p>"
    )
    chosen = (one[one["clips"] == "out_of_fold"] for one in (reliability, coverage))
    bins, curve = chosen
    drawn = picture(reliability_figure(bins), "Reliability diagram")
    drawn += picture(coverage_figure(curve, held_out["rejection_threshold"]), "Coverage curve")
    left = f'<div class="side">{drawn}</div>'
    return paragraphs(*texts) + errors + caption + left + paragraphs(_unknown(held_out))


def _unknown(held_out: Mapping[str, Any]) -> str:
    if not held_out["rejection_threshold"]:
        return "evaluate.rejection_threshold is 0: every clip is answered."
    if not held_out["coverage"]:
        return f"With evaluate.rejection_threshold {held_out['rejection_threshold']} no clip is answered."
    return (
        f"With evaluate.rejection_threshold {held_out['rejection_threshold']}, {held_out['coverage']:.1%} of "
        f"the held-out clips are answered, and {held_out['accuracy']:.1%} of those rightly."
    )


def _quarantine(quarantine: pd.DataFrame) -> str:
    if quarantine.empty:
        return "<p>Every recording could be read; none was left out.</p>"
    n_shown = 50
    text = f"<p>{len(quarantine)} recordings could not be used and were left out"
    text += f"; the first {n_shown}:</p>" if len(quarantine) > n_shown else ":</p>"
    return text + table(quarantine.head(n_shown))
