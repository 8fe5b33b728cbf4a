"""The files of an audit, its page and its figures, and the command that makes them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.audit.measurements import write_measurements
from earmark.audit.measuring import measure_corpus
from earmark.audit.run import audit_corpus
from earmark.records import read_json
from earmark.reports.audit_figures import balance_figure, bandwidth_figure, noise_figure
from earmark.reports.audit_files import write_audit
from tests.audit.small_corpus import (
    TAGS,
    audit_params,
    write_corpus,
    write_decoded,
    write_ensemble,
)

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.drawn
def test_the_folder_holds_the_page_and_the_tables(tmp_path):
    layout = write_corpus(tmp_path, faulty=True)
    write_ensemble(layout, wrong=[7, 8, 9])
    audit = audit_corpus(audit_params(), layout)
    write_audit(audit, layout, corpus="mine")
    issues = pd.read_csv(layout.audit / "label_issues.csv", keep_default_na=False)
    assert set(issues["clip"]) == {"07.wav", "08.wav", "09.wav"}
    assert list(issues.columns[-2:]) == ["decision", "label"]
    assert read_json(layout.metrics / "audit.json") == audit.metrics
    page = (layout.audit / "index.html").read_text()
    assert "the ensemble&#39;s own errors are subtracted" in page
    assert "Of the listed labels about" in page
    assert page.index("training and validation") < page.index("forbids commercial use")
    assert page.count("<svg role=") == 3
    assert "05.wav" in (layout.audit / "ATTRIBUTION.txt").read_text()
    for name in ("duplicates.csv", "licences.csv", "sound.csv"):
        assert (layout.audit / name).exists()


def test_without_an_ensemble_the_label_issues_are_an_empty_table(tmp_path):
    layout = write_corpus(tmp_path, faulty=False)
    write_audit(audit_corpus(audit_params(), layout), layout, corpus="mine")
    header = (layout.audit / "label_issues.csv").read_text().strip()
    assert header.endswith("p_wrong,verified,decision,label")
    assert "no ensemble yet" in (layout.audit / "index.html").read_text()


def test_an_unknown_null_distribution_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr("earmark.audit.null_distribution._N_PAIRS", 10)  # too few to fit
    layout = write_decoded(tmp_path, faulty=False)
    write_measurements(measure_corpus(audit_params(), layout), layout.audit_sound)
    write_audit(audit_corpus(audit_params(), layout), layout, corpus="mine")
    page = (layout.audit / "index.html").read_text()
    assert "could be compared. A duplicate must therefore reach a correlation of 0.60" in page
    assert "nan" not in re.sub(
        r"<style>.*?</style>|<svg.*?</svg>|<script>.*?</script>", "", page, flags=re.DOTALL
    )


@pytest.mark.slow
def test_the_command_measures_audits_and_prints_its_findings(tmp_path):
    write_decoded(tmp_path, faulty=True)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "no_corrections.csv").write_text("clip,decision,label\n")
    command = [sys.executable, "-m", "earmark", "audit"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    for _ in range(2):  # the second time with the measurements of the first
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
            timeout=300,
        )  # fmt: skip
        assert ran.stdout.startswith("critical: duplicates: 1 pair of the same recording")
    assert (tmp_path / "data" / "audit_sound" / "sound.parquet").exists()
    assert (tmp_path / "data" / "audit" / "index.html").exists()


def test_figures_show_the_numbers_of_their_tables():
    sizes = pd.DataFrame({"tag": TAGS, "clips": [9, 4], "verified": [3, 4]})
    bars: list[Any] = list(balance_figure(sizes).axes[0].patches)
    assert [bar.get_width() for bar in bars] == [9, 4, 3, 4]
    sound = pd.DataFrame({"label": ["b", "b", "a"], "bandwidth_hz": [8000.0, 9000.0, 4000.0]})
    axes = bandwidth_figure(sound).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert axes.lines[0].get_xdata().tolist() == [4.0]
    counts = noise_figure(np.array([[5, 2], [0, 3]]), TAGS).axes[0]
    assert counts.images[0].get_array().tolist() == [[0, 2], [0, 0]]


def test_of_many_tags_those_with_most_disagreement_are_drawn():
    counts = np.zeros((60, 60), dtype=np.int64)
    counts[50, 7] = 3
    axes = noise_figure(counts, [f"tag{i}" for i in range(60)]).axes[0]
    shown = {tick.get_text() for tick in axes.get_yticklabels()}
    assert len(shown) == 40
    assert {"tag50", "tag7"} <= shown
