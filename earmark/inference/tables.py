"""The table of answers: one row for each tag that is named of a recording or a segment.

Version 1. Columns: file, start_seconds, end_seconds, tag, probability, rank, answered, model.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from earmark.csv_files import neutral
from earmark.inference.answers import Prediction, Timeline
from earmark.wording import printable

VERSION = 1
COLUMNS = pa.schema(
    [
        ("file", pa.string()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("tag", pa.string()),
        ("probability", pa.float64()),
        ("rank", pa.int64()),
        ("answered", pa.bool_()),
        ("model", pa.string()),
    ]
)
TABLES = (".csv", ".jsonl", ".parquet")
LABELS = ("audacity", "raven")

Row = dict[str, Any]
Rows = Iterable[Row]


@dataclass(frozen=True)
class Naming:
    """Which tags are named.

    Attributes:
        top: at most so many for each recording or segment.
        thresholds: by tag; where given, those from their threshold upwards are the answer, and no
            other is named.
        merge: join neighbouring segments with the same answer; nothing else is named then.
    """

    top: int
    thresholds: dict[str, float] | None
    merge: bool

    def of_clip(self, prediction: Prediction, *, model: str) -> list[Row]:
        """The rows of a recording as a whole."""
        return self._rows(prediction, 0.0, prediction.seconds, model)

    def of_timeline(self, timeline: Timeline, *, model: str) -> list[Row]:
        """The rows of all segments, in the order of time; those without sound have none."""
        rows: list[Row] = []
        times = zip(timeline.starts.tolist(), timeline.ends.tolist(), strict=True)
        for (start, end), prediction in zip(times, timeline.predictions(), strict=True):
            if prediction is not None:
                rows += self._rows(prediction, start, end, model)
        return merged(rows) if self.merge else rows

    def _rows(self, prediction: Prediction, start: float, end: float, model: str) -> list[Row]:
        by_tag = dict(zip(prediction.tags, prediction.probabilities, strict=True))
        answered = set(prediction.answer or [])
        if (least := self.thresholds) is not None:
            answered = {tag for tag, p in by_tag.items() if p >= least.get(tag, 2.0)}
        rows = []
        for rank, (tag, probability) in enumerate(list(by_tag.items())[: self.top], start=1):
            if tag in answered or not (self.merge or self.thresholds is not None):
                row = [prediction.clip, round(start, 6), round(end, 6), tag, round(probability, 6)]
                rows.append(
                    dict(zip(COLUMNS.names, [*row, rank, tag in answered, model], strict=True))
                )
        return rows


def merged(rows: Rows) -> list[Row]:
    """Join rows of the same tag whose segments touch or overlap; the highest probability stays."""
    open_: dict[str, Row] = {}
    joined: list[Row] = []
    for row in rows:
        before = open_.get(row["tag"])
        if before is not None and row["start_seconds"] <= before["end_seconds"]:
            before["end_seconds"] = max(before["end_seconds"], row["end_seconds"])
            before["probability"] = max(before["probability"], row["probability"])
            before["rank"] = min(before["rank"], row["rank"])
        else:
            open_[row["tag"]] = {**row}
            joined.append(open_[row["tag"]])
    return joined


@contextmanager
def table_writer(path: Path, form: str) -> Iterator[Callable[[list[Row]], None]]:
    """Write rows to a file of one of TABLES, some of them at a time."""
    if form == ".parquet":
        with pq.ParquetWriter(path, COLUMNS) as parquet:
            yield lambda rows: parquet.write_table(pa.Table.from_pylist(rows, COLUMNS))
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if form == ".jsonl":
            yield lambda rows: file.writelines(json.dumps(row) + "\n" for row in rows)
            return
        writer = csv.DictWriter(file, COLUMNS.names, lineterminator="\n")
        writer.writeheader()
        yield lambda rows: writer.writerows(_neutral(row) for row in rows)


def _neutral(row: Row) -> Row:
    """Without cells that a spreadsheet would take for formulas; booleans as in other csv files."""
    return {key: neutral(value) if isinstance(value, str) else value for key, value in row.items()}


def timeline_lines(rows: Rows) -> list[str]:
    """A line a segment: its time, what is answered, then the other tags that are named.

    >>> row = {"file": "a.wav", "start_seconds": 61.5, "end_seconds": 64.5, "tag": "dog",
    ...        "probability": 0.91, "rank": 1, "answered": True, "model": "ensemble"}
    >>> timeline_lines([row, row | {"tag": "cat", "probability": 0.04, "answered": False}])
    ['a.wav 1:01.5 to 1:04.5: dog 0.91  | cat 0.04']
    """
    by_segment: dict[tuple[str, float, float], list[Row]] = {}
    for row in rows:
        key = (row["file"], row["start_seconds"], row["end_seconds"])
        by_segment.setdefault(key, []).append(row)
    lines = []
    for (file, start, end), named in by_segment.items():
        head = "  ".join(_label(row) for row in named if row["answered"]) or "unknown"
        rest = "  ".join(_label(row) for row in named if not row["answered"])
        times = f"{file} {_clock(start)} to {_clock(end)}"
        lines.append(f"{times}: {head}" + (f"  | {rest}" if rest else ""))
    return lines


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def label_text(rows: Rows, form: str) -> str:
    """The answers for one recording as a label track of Audacity, or a selection table of Raven.

    Audacity: start, end and label of each line. Raven: a header, and the whole range of frequency
    left open, since a tag has none.
    """
    answers = [row for row in rows if row["answered"]]
    if form == "audacity":
        lines = [_tabs(r["start_seconds"], r["end_seconds"], _label(r)) for r in answers]
    else:
        lines = [
            _tabs("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Tag", "Score")
        ]
        for number, r in enumerate(answers, start=1):
            times = (r["start_seconds"], r["end_seconds"])
            lines.append(
                _tabs(number, "Spectrogram 1", 1, *times, printable(r["tag"]), r["probability"])
            )
    return "".join(f"{line}\n" for line in lines)


def _label(row: Row) -> str:
    return f"{printable(row['tag'])} {row['probability']:.2f}"


def _tabs(*cells: object) -> str:
    return "\t".join(str(cell).replace("\t", " ") for cell in cells)
