"""The score tables of a report: one table per set of clips, with the members as rows."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from earmark.evaluation.scores import AS_GIVEN
from earmark.reports.figures import METRIC_NAMES, members_figure
from earmark.reports.parts import picture

_ENSEMBLE = "ensemble"
_NO_INTERVAL = "no interval"
_TEST_HEADINGS = {"all": "test", "public": "test, Public", "private": "test, Private"}


class _Row(NamedTuple):
    """A row of a table: a model, its scores, and their mean and deviation over the folds."""

    name: str
    scores: Mapping[str, Any]
    folds: Mapping[str, Any] | None = None


def score_tables(
    scores: Mapping[str, Any], weights: Mapping[str, float], metrics: Sequence[str]
) -> str:
    """The html of all tables and a figure; the arguments are those of `render_report`."""
    entries = _by_value(scores, metrics[0])
    out_of_fold = [_Row(name, entry["out_of_fold"], entry.get("folds")) for name, entry in entries]
    as_given = [_Row(name, entry[AS_GIVEN]) for name, entry in entries if AS_GIVEN in entry]
    heading = "out of fold, labels as corrected" if as_given else "out of fold"
    parts = [_score_table(heading, out_of_fold, weights, metrics)]
    if as_given:
        parts.append(_score_table("out of fold, labels as given", as_given, weights, metrics))
    parts.append(_members_picture(scores, metrics[0]))
    for split, heading in _TEST_HEADINGS.items():
        rows = [_Row(name, e["test"][split]) for name, e in entries if split in _test(e)]
        if rows:
            parts.append(_score_table(heading, rows, weights, metrics))
    return "\n".join(parts)


def estimate_cell(
    estimate: Mapping[str, Any], folds: Mapping[str, Any] | None = None, metric: str = ""
) -> str:
    """The html of an estimate with its interval (or, when pointed at, why there is none), and of
    its mean and deviation over the folds."""
    if "why_no_interval" in estimate:
        interval = f'<span title="{escape(estimate["why_no_interval"])}">{_NO_INTERVAL}</span>'
    else:
        interval = f"[{estimate['low']:.3f}, {estimate['high']:.3f}]"
    text = f"{estimate['value']:.3f} <small>{interval}</small>"
    if folds is None:
        return text
    return f"{text}<br><small>{folds['mean'][metric]:.3f} ± {folds['std'][metric]:.3f}</small>"


def _by_value(scores: Mapping[str, Any], metric: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The ensemble, then the models, the best out-of-fold value first."""

    def order(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        return -item[1]["out_of_fold"][metric]["value"], item[0]

    return [(_ENSEMBLE, scores["ensemble"]), *sorted(scores["models"].items(), key=order)]


def _score_table(
    heading: str, rows: Sequence[_Row], weights: Mapping[str, float], metrics: Sequence[str]
) -> str:
    lines = []
    for name, scores, folds in rows:
        weight = "" if name == _ENSEMBLE else f"{weights[name]:.3f}" if name in weights else "–"
        cells = [estimate_cell(scores[metric], folds, metric) for metric in metrics]
        row = "".join(f"<td>{cell}</td>" for cell in (escape(name), weight, *cells))
        lines.append(f"<tr{' class=ensemble' if name == _ENSEMBLE else ''}>{row}</tr>")
    names = (METRIC_NAMES[metric] for metric in metrics)
    head = "".join(f"<th>{cell}</th>" for cell in (heading, "weight", *names))
    estimates = {metric: rows[0].scores[metric] for metric in metrics}
    over = {one["over"] for one in estimates.values() if "over" in one}
    caption = f"{rows[0].scores['n_clips']} clips."
    if over:
        caption += f" In brackets: 95 % interval over {' and '.join(sorted(over))}"
    whys = {
        f"{METRIC_NAMES[metric]}: {_NO_INTERVAL}, {one['why_no_interval']}"
        for metric, one in estimates.items()
        if "why_no_interval" in one
    }
    caption += "".join(f". {escape(why)}" for why in sorted(whys))
    if any(row.folds is not None for row in rows):
        caption += ". Second line: mean ± standard deviation over the folds"
    return (
        f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'
        f"<p><small>{caption}.</small></p>"
    )


def _test(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry.get("test") or {}


def _members_picture(scores: Mapping[str, Any], metric: str) -> str:
    rows: dict[str, dict[str, Any]] = {}
    for name, entry in _by_value(scores, metric):
        by_set = {"out of fold": entry["out_of_fold"]}
        if "all" in _test(entry):
            by_set["test"] = entry["test"]["all"]
        rows[name] = {}
        for clips, estimates in by_set.items():
            rows[name][clips] = estimates[metric]
    name = METRIC_NAMES[metric]
    baseline = None
    if "baseline" in scores:
        baseline = rows[scores["baseline"]["name"]]["out of fold"]["value"]
    figure = members_figure(rows, metric=name, highlight=_ENSEMBLE, baseline=baseline)
    return picture(figure, f"{name} of the ensemble and of every model")
