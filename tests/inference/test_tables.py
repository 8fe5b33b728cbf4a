"""The table of answers: its rows, its files, and labels for other programs."""

import json

import numpy as np
import pandas as pd
import pytest

from earmark.ensemble.rules import Estimator
from earmark.inference.answers import Prediction, Timeline
from earmark.inference.tables import COLUMNS, Naming, label_text, merged, table_writer

TAGS = ["bark", "bell"]
ESTIMATOR = Estimator(temperature=1.0, rejection_threshold=0.6, thresholds=None, calibration="")


def timeline(*of_bark: float) -> Timeline:
    p = np.array(of_bark)
    starts = np.arange(len(p)) * 1.0
    return Timeline(
        clip="a.wav", seconds=len(p) + 1.0, starts=starts, ends=starts + 2.0, tags=TAGS,
        probabilities=np.stack([p, 1 - p], axis=1), estimator=ESTIMATOR,
    )  # fmt: skip


def naming(**changes) -> Naming:
    return Naming(**({"top": 2, "thresholds": None, "merge": False} | changes))


def test_each_segment_has_a_row_for_each_of_its_likeliest_tags():
    rows = naming().of_timeline(timeline(0.9, 0.5, np.nan, 0.1), model="m")
    assert [row["start_seconds"] for row in rows] == [0.0, 0.0, 1.0, 1.0, 3.0, 3.0]
    assert [row["tag"] for row in rows] == ["bark", "bell", "bark", "bell", "bell", "bark"]
    assert [row["rank"] for row in rows] == [1, 2] * 3
    assert [row["answered"] for row in rows] == [True, False, False, False, True, False]
    assert {row["model"] for row in rows} == {"m"}
    assert list(rows[0]) == COLUMNS.names
    assert len(naming(top=1).of_timeline(timeline(0.9, 0.2), model="m")) == 2


def test_thresholds_of_ones_own_answer_in_place_of_the_taggers():
    given = naming(thresholds={"bark": 0.3, "bell": 0.45})
    rows = given.of_timeline(timeline(0.9, 0.5, 0.2), model="m")
    assert [(row["start_seconds"], row["tag"]) for row in rows] == [
        (0.0, "bark"), (1.0, "bark"), (1.0, "bell"), (2.0, "bell"),
    ]  # fmt: skip
    assert all(row["answered"] for row in rows)


def test_neighbours_with_the_same_answer_are_joined_and_a_gap_parts_them():
    rows = naming(merge=True).of_timeline(timeline(0.9, 0.7, 0.5, 0.5, 0.8, 0.1), model="m")
    shown = [(r["tag"], r["start_seconds"], r["end_seconds"], r["probability"]) for r in rows]
    assert shown == [("bark", 0.0, 3.0, 0.9), ("bark", 4.0, 6.0, 0.8), ("bell", 5.0, 7.0, 0.9)]
    assert merged([]) == []


def test_a_whole_recording_has_its_own_rows():
    prediction = Prediction("a.wav", TAGS, [0.75, 0.25], ["bark"], 3, 12.5)
    (first, second) = naming().of_clip(prediction, model="m")
    assert (first["start_seconds"], first["end_seconds"]) == (0.0, 12.5)
    assert (first["answered"], second["answered"]) == (True, False)


@pytest.mark.parametrize("form", [".csv", ".jsonl", ".parquet"])
def test_every_form_of_the_table_holds_the_same(tmp_path, form):
    rows = naming().of_timeline(timeline(0.9, 0.25), model="m")
    path = tmp_path / "part"
    with table_writer(path, form) as write:
        write(rows[:1])
        write([])
        write(rows[1:])
    read = {
        ".csv": pd.read_csv, ".parquet": pd.read_parquet,
        ".jsonl": lambda p: pd.DataFrame(json.loads(line) for line in p.read_text().splitlines()),
    }[form](path)  # fmt: skip
    pd.testing.assert_frame_equal(read, pd.DataFrame(rows), check_dtype=False)


def test_a_csv_holds_no_cell_that_a_spreadsheet_computes(tmp_path):
    row = naming().of_timeline(timeline(0.9), model="m")[0] | {"file": "=1+1.wav", "tag": "-x"}
    with table_writer(tmp_path / "part", ".csv") as write:
        write([row])
    assert (tmp_path / "part").read_text().splitlines()[1].startswith("'=1+1.wav,0.0,2.0,'-x,0.9")


def test_labels_are_as_audacity_and_raven_read_them():
    rows = naming(merge=True).of_timeline(timeline(0.9, 0.5, 0.1), model="m")
    assert label_text(rows, "audacity") == "0.0\t2.0\tbark 0.90\n2.0\t4.0\tbell 0.90\n"
    header, first, _ = label_text(rows, "raven").splitlines()
    assert header.split("\t")[:5] == [
        "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)",
    ]  # fmt: skip
    assert first.split("\t") == ["1", "Spectrogram 1", "1", "0.0", "2.0", "bark", "0.9"]
    hostile = [rows[0] | {"tag": "a\tb\n"}]
    assert label_text(hostile, "audacity").count("\n") == 1
    assert label_text(hostile, "audacity").count("\t") == 2
