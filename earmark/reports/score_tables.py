"""The scores of a report: a line per member with its interval, and a table per set of clips."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from earmark.evaluation.scores import AS_GIVEN
from earmark.reports.figures import METRIC_NAMES
from earmark.reports.parts import Cell, Table

ENSEMBLE = "ensemble"
_NO_INTERVAL = "no interval"
_TEST_HEADINGS = {"all": "test", "public": "test, Public", "private": "test, Private"}


class _Row(NamedTuple):
    """A row of a table: a model, its scores, and their mean and deviation over the folds."""

    name: str
    scores: Mapping[str, Any]
    folds: Mapping[str, Any] | None = None


class Mark(NamedTuple):
    """A dot with its interval on the scale of a chart, all in percent of its width."""

    value: float
    low: float
    high: float
    text: str
    clips: str


class Chart(NamedTuple):
    """Dots of members above each other: `rows` have a name and marks, `lines` cross all rows."""

    metric: str
    rows: Sequence[tuple[str, Sequence[Mark]]]
    lines: Sequence[tuple[str, float, str]]  # name, percent of the width, value
    ticks: Sequence[tuple[float, str]]  # percent of the width, value


def score_tables(
    scores: Mapping[str, Any], weights: Mapping[str, float], metrics: Sequence[str]
) -> list[Table]:
    """All tables of scores; the arguments are those of `render_report`."""
    entries = _by_value(scores, metrics[0])
    out_of_fold = [_Row(name, entry["out_of_fold"], entry.get("folds")) for name, entry in entries]
    as_given = [_Row(name, entry[AS_GIVEN]) for name, entry in entries if AS_GIVEN in entry]
    heading = "out of fold, labels as corrected" if as_given else "out of fold"
    tables = [_score_table(heading, out_of_fold, weights, metrics)]
    if as_given:
        tables.append(_score_table("out of fold, labels as given", as_given, weights, metrics))
    for split, heading in _TEST_HEADINGS.items():
        rows = [_Row(name, e["test"][split]) for name, e in entries if split in _test(e)]
        if rows:
            tables.append(_score_table(heading, rows, weights, metrics))
    return tables


def score_chart(
    scores: Mapping[str, Any], metric: str, trivial: Mapping[str, Mapping[str, float]]
) -> Chart:
    """The metric of the ensemble and of every model with its interval, and lines to compare with.

    Args:
        scores: those of `render_report`.
        metric: a key of METRIC_NAMES.
        trivial: name -> metric -> value of answers that ignore the sound.
    """
    lines = [(name, values[metric]) for name, values in trivial.items() if metric in values]
    if "baseline" in scores:
        baseline = scores["models"][scores["baseline"]["name"]]["out_of_fold"][metric]
        lines.append(("baseline", baseline["value"]))
    rows: list[tuple[str, dict[str, Mapping[str, Any]]]] = []
    for name, entry in _by_value(scores, metric):
        sets = {"out of fold": entry["out_of_fold"][metric]}
        if "all" in _test(entry):
            sets["test"] = entry["test"]["all"][metric]
        rows.append((name, sets))
    known = [value for _, value in lines]
    known += [
        one[end]
        for _, sets in rows
        for one in sets.values()
        for end in ("value", "low", "high")
        if one.get(end) is not None
    ]
    low, high, ticks = _scale(known)

    def percent(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return Chart(
        METRIC_NAMES[metric],
        [
            (name, [_mark(one, clips, percent) for clips, one in sets.items()])
            for name, sets in rows
        ],
        [(name, percent(value), f"{value:.3f}") for name, value in lines],
        [(percent(tick), f"{tick:.1f}") for tick in ticks],
    )


def _mark(estimate: Mapping[str, Any], clips: str, percent: Any) -> Mark:
    value = estimate["value"]
    # The interval of a macro average need not contain it.
    given = (estimate.get(end) for end in ("low", "high"))
    ends = [value if end is None else end for end in given]
    low, high = map(percent, ends)
    return Mark(percent(value), low, high, _text(estimate), clips)


def _scale(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """The ends of a scale in whole tenths that holds all values, and its ticks."""
    low = int(min(0.9, *values) * 10)
    high = max(10, -int(-max(values) * 10 // 1))
    step = 1 if high - low <= 6 else 2
    ticks = [tick / 10 for tick in range(high, low - 1, -step)]
    return min(low / 10, min(values)), max(high / 10, max(values)), ticks


def estimate_cell(
    estimate: Mapping[str, Any], folds: Mapping[str, Any] | None = None, metric: str = ""
) -> Cell:
    """An estimate with its interval (or, when pointed at, why there is none), and its mean and
    deviation over the folds."""
    value = f"{estimate['value']:.3f}"
    below = ""
    if folds is not None:
        below = f"{folds['mean'][metric]:.3f} ± {folds['std'][metric]:.3f}"
    if "why_no_interval" in estimate:
        return Cell(value, _NO_INTERVAL, below, estimate["why_no_interval"])
    return Cell(value, _interval(estimate), below)


def _interval(estimate: Mapping[str, Any]) -> str:
    return f"[{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _text(estimate: Mapping[str, Any]) -> str:
    cell = estimate_cell(estimate)
    return f"{cell.text} {cell.small}"


def _by_value(scores: Mapping[str, Any], metric: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The ensemble, then the models, the best out-of-fold value first."""

    def order(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        return -item[1]["out_of_fold"][metric]["value"], item[0]

    return [(ENSEMBLE, scores["ensemble"]), *sorted(scores["models"].items(), key=order)]


def _score_table(
    heading: str, rows: Sequence[_Row], weights: Mapping[str, float], metrics: Sequence[str]
) -> Table:
    lines = []
    for name, scores, folds in rows:
        weight = "" if name == ENSEMBLE else f"{weights[name]:.3f}" if name in weights else "–"
        estimates = [estimate_cell(scores[metric], folds, metric) for metric in metrics]
        lines.append([Cell(name), Cell(weight), *estimates])
    return Table(
        [heading, "weight", *(METRIC_NAMES[metric] for metric in metrics)],
        lines,
        _caption(rows, metrics),
        highlight=ENSEMBLE,
    )


def _caption(rows: Sequence[_Row], metrics: Sequence[str]) -> str:
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
    caption += "".join(f". {why}" for why in sorted(whys))
    if any(row.folds is not None for row in rows):
        caption += ". Second line: mean ± standard deviation over the folds"
    return f"{caption}."


def _test(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry.get("test") or {}
