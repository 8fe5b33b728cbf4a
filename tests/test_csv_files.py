"""A spreadsheet computes no cell of a csv that is written here, and our readers get all back."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.csv_files import neutral, original, read_csv, write_csv
from earmark.records import write_table
from tests.source_graph import ROOT

FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "\uff1d1+1", "--x.wav"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_compute_begins_with_an_apostrophe(tmp_path, text):
    assert neutral(text) == f"'{text}"
    write_table(tmp_path / "t.csv", pd.DataFrame({"clip": [text], text: ["x"]}))
    cells = pd.read_csv(tmp_path / "t.csv")
    assert cells.iloc[0, 0] == cells.columns[1] == f"'{text}"


@pytest.mark.parametrize("text", ["dog", "big-dog", "'tis", "-0.5", "+3", "-1e-9", ".5", "", "a=b"])
def test_other_cells_stay_as_they_are(text):
    assert neutral(text) == original(text) == text


def test_each_tag_of_several_is_neutral_where_a_spreadsheet_cuts_at_semicolons():
    assert neutral("dog;=cmd();-1") == "dog;'=cmd();-1"


def test_numbers_and_missing_values_are_written_as_ever(tmp_path):
    table = pd.DataFrame(
        {"x": [-0.5, np.nan], "n": [-1, 2], "b": [True, False], "mixed": [-1, "-"], "none": None}
    )
    write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_bytes() == (
        b"x,n,b,mixed,none\n-0.5,-1,True,-1,\n,2,False,'-,\n"
    )


def test_a_submission_is_literal(tmp_path):
    write_table(tmp_path / "t.csv", pd.DataFrame({"fname": ["-x.wav"]}), literal=True)
    assert (tmp_path / "t.csv").read_text() == "fname\n-x.wav\n"


texts = st.text(st.sampled_from("'=+-@;,\"\t\r\n 1.eaé\uff1d") | st.characters(codec="utf-8"))


@settings(deadline=None)
@given(texts)
def test_every_cell_comes_back(text):
    assert original(neutral(text)) == text
    assert not re.match("[=@\t\r\n]|[+-](?![0-9.])", neutral(text))


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_every_table_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    table = pd.DataFrame(rows, columns=["clip", "-label"], dtype="str")
    write_csv(path, table)
    pd.testing.assert_frame_equal(read_csv(path, dtype=str), table)


def writes_csv(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return bool(names & {"to_csv", "DictWriter"} or {"csv", "writer"} <= names)


def test_csv_is_written_in_one_place_and_row_by_row_in_another():
    """inference/tables.py writes millions of rows, neutral too: see tests/inference/test_tables."""
    folders = [ROOT / name for name in ("earmark", "stages", "experiments", "extensions")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    assert {path.name for path in files if writes_csv(path)} == {"csv_files.py", "tables.py"}
