"""One self-contained page that says how good a tagger is, from plain tables and dictionaries."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.figures import (
    confusion_figure,
    learning_curve_figure,
    members_figure,
    per_class_figure,
)
from earmark.scoring import confusion_pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion_figure", "learning_curve_figure", "render_report", "verdict"]

_COLUMNS = {"map_at_3": "MAP@3", "accuracy": "accuracy", "macro_f1": "macro F1"}
_Row = tuple[str, Mapping[str, Any], Mapping[str, Any]]  # name, scores, what may hold "folds"

_ENSEMBLE = "ensemble"
_TEST_PARTS = {"all": "test", "public": "test, Public", "private": "test, Private"}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #263238; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #cfd8dc; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #90a4ae; vertical-align: bottom; }
td { vertical-align: top; line-height: 1.35; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
tr.ensemble { background: #eceff1; font-weight: 600; }
small { color: #607d8b; font-weight: 400; } img { max-width: 100%; }
.scroll { overflow-x: auto; }
.verdict { font-size: 1.15rem; border-left: .4rem solid #1f6fb2; padding-left: 1rem; }
.verdict.no { border-color: #d1603d; }
.synthetic { background: #b71c1c; color: white; font-size: 1.25rem; font-weight: 700;
             padding: 1rem 1.5rem; position: sticky; top: 0; }
"""


def render_report(
    *,
    title: str,
    synthetic: bool,
    notes: Sequence[str],
    scores: Mapping[str, Any],
    per_class: pd.DataFrame,
    confusion: NDArray[np.integer[Any]],
    tags: Sequence[str],
    learning_curves: pd.DataFrame,
    weights: Mapping[str, float],
    quarantine: pd.DataFrame,
) -> str:
    """Return the html page, its pictures inside.

    `scores` is `{"models": {name: {"folds": {"mean", "std"}, "out_of_fold", "test"}}, "ensemble"}`:
    out_of_fold and each part of test (all, public, private) as `Scores.to_json()` gives them;
    folds and test may be absent, and the ensemble has no folds. Every model is a member, whatever
    its weight; `per_class` and `confusion` are the ensemble's, out of fold.
    """
    _validate(scores, weights)
    beats, sentence = verdict(scores)
    sections = [
        f'<p class="verdict{"" if beats else " no"}">{escape(sentence)}</p>',
        "".join(f"<p>{escape(note)}</p>" for note in notes),
        _section("Scores", _score_tables(scores, weights)),
        _section("Tags", _per_class(per_class)),
        _section("Confusions", _confusions(confusion, tags)),
    ]
    if len(learning_curves):
        picture = _picture(learning_curve_figure(learning_curves), "Learning curves")
        sections.append(_section("Learning curves", "<p>One line per fold.</p>", picture))
    sections.append(_section("Quarantine", _quarantine(quarantine)))
    return _page(title, synthetic, "\n".join(sections))


def verdict(scores: Mapping[str, Any]) -> tuple[bool, str]:
    """Say whether the ensemble beats every one of its members in MAP@3, out of fold.

    A member of weight 0 counts too: it could have been used alone instead.
    """
    members = sorted(scores["models"])
    values = {name: scores["models"][name]["out_of_fold"]["map_at_3"] for name in members}
    best = max(members, key=lambda name: float(values[name]["value"]))
    ours, theirs = scores["ensemble"]["out_of_fold"]["map_at_3"], values[best]
    if len(members) == 1:
        return False, f"The ensemble has one member, {best}: MAP@3 {ours['value']:.3f} out of fold."
    gain = ours["value"] - theirs["value"]
    numbers = (
        f"out-of-fold MAP@3 {ours['value']:.4f} against {theirs['value']:.4f} of the best, {best} "
        f"({gain:+.4f}; the 95 % intervals "
        f"{'overlap' if ours['low'] <= theirs['high'] else 'do not overlap'})."
    )
    if gain > 0:
        return True, f"The ensemble beats every one of its {len(members)} members: {numbers}"
    return False, f"The ensemble does NOT beat every one of its members: {numbers}"


def _validate(scores: Mapping[str, Any], weights: Mapping[str, float]) -> None:
    strangers = sorted(set(weights) - set(scores["models"]))
    if strangers:
        raise ValueError(f"weights for {strangers}, which have no scores")
    if not any(weight > 0 for weight in weights.values()):
        raise ValueError("no model has a weight above 0, so there is no ensemble to report")


def _by_value(scores: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The ensemble, then the models, the best out-of-fold MAP@3 first."""

    def order(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        return -item[1]["out_of_fold"]["map_at_3"]["value"], item[0]

    return [(_ENSEMBLE, scores["ensemble"]), *sorted(scores["models"].items(), key=order)]


def _score_tables(scores: Mapping[str, Any], weights: Mapping[str, float]) -> str:
    """One table per set of clips, since a number means something else on each."""
    rows = _by_value(scores)
    out_of_fold: list[_Row] = [(name, entry["out_of_fold"], entry) for name, entry in rows]
    tables = [_score_table("out of fold", out_of_fold, weights), _members_picture(scores)]
    for part, heading in _TEST_PARTS.items():
        tests: list[_Row] = [(n, e["test"][part], {}) for n, e in rows if part in _test(e)]
        if tests:
            tables.append(_score_table(heading, tests, weights))
    return "\n".join(tables)


def _score_table(heading: str, rows: Sequence[_Row], weights: Mapping[str, float]) -> str:
    lines = []
    for name, found, entry in rows:
        weight = "" if name == _ENSEMBLE else f"{weights[name]:.3f}" if name in weights else "–"
        cells = [_estimate(found[metric], entry.get("folds"), metric) for metric in _COLUMNS]
        row = "".join(f"<td>{cell}</td>" for cell in (escape(name), weight, *cells))
        lines.append(f"<tr{' class=ensemble' if name == _ENSEMBLE else ''}>{row}</tr>")
    head = "".join(f"<th>{cell}</th>" for cell in (heading, "weight", *_COLUMNS.values()))
    caption = f"{rows[0][1]['n_clips']} clips. Brackets: 95 % interval over the clips"
    if any("folds" in entry for *_, entry in rows):
        caption += "; second line: mean ± standard deviation over the folds"
    return (
        f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'
        f"<p><small>{caption}.</small></p>"
    )


def _estimate(e: Mapping[str, float], folds: Mapping[str, Any] | None, metric: str) -> str:
    text = f"{e['value']:.3f} <small>[{e['low']:.3f}, {e['high']:.3f}]</small>"
    if folds is None:
        return text
    return f"{text}<br><small>{folds['mean'][metric]:.3f} ± {folds['std'][metric]:.3f}</small>"


def _test(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry.get("test") or {}


def _members_picture(scores: Mapping[str, Any]) -> str:
    rows: dict[str, dict[str, Any]] = {}
    for name, entry in _by_value(scores):
        rows[name] = {"out of fold": entry["out_of_fold"]["map_at_3"]}
        if "all" in _test(entry):
            rows[name]["test"] = entry["test"]["all"]["map_at_3"]
    figure = members_figure(rows, metric="MAP@3", highlight=_ENSEMBLE)
    return _picture(figure, "MAP@3 of the ensemble and of every model")


def _per_class(per_class: pd.DataFrame) -> str:
    rounded = per_class.round(3).fillna("").rename(columns={"map_at_3": "MAP@3"})
    return (
        _picture(per_class_figure(per_class), "F1, precision and recall of each tag")
        + f"<details><summary>As a table</summary>{_table(rounded)}</details>"
    )


def _confusions(confusion: NDArray[np.integer[Any]], tags: Sequence[str]) -> str:
    picture = _picture(confusion_figure(confusion, tags), "Confusion matrix")
    pairs = confusion_pairs(confusion, tags).head(10)
    if pairs.empty:
        return picture + "<p>No clip was mistaken for another tag.</p>"
    shares = pairs["share_of_actual"].map("{:.0%}".format)
    return picture + "<p>The most frequent:</p>" + _table(pairs.assign(share_of_actual=shares))


def _quarantine(quarantine: pd.DataFrame) -> str:
    if quarantine.empty:
        return "<p>Every recording could be read; none was left out.</p>"
    n_shown = 50
    text = f"<p>{len(quarantine)} recordings could not be used and were left out"
    text += f"; the first {n_shown}:</p>" if len(quarantine) > n_shown else ":</p>"
    return text + _table(quarantine.head(n_shown))


def _table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{escape(str(c).replace('_', ' '))}</th>" for c in table.columns)
    rows = (
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>"
        for row in table.itertuples(index=False)
    )
    return f'<div class="scroll"><table class="text"><tr>{head}</tr>{"".join(rows)}</table></div>'


def _section(heading: str, *parts: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n" + "\n".join(parts)


def _picture(figure: "Figure", alt: str) -> str:
    buffer = io.BytesIO()
    # Without the version of matplotlib inside, the bytes depend on the drawing alone.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _page(title: str, synthetic: bool, body: str) -> str:
    banner = (
        '<div class="synthetic">SYNTHETIC DATA: these scores say that the pipeline works, '
        "and nothing about real recordings.</div>"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{_STYLE}</style></head>\n<body>{banner if synthetic else ''}"
        f"<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )
