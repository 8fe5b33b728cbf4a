"""Measurements only depend on the decoded clips, and come back from their files unchanged."""

import numpy as np
import pandas as pd
import pytest

from earmark.audit.measurements import read_measurements, write_measurements
from earmark.audit.measuring import are_current, measure_corpus
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.records import write_table
from tests.audit.small_corpus import audit_params, write_corpus, write_decoded, write_ensemble


@pytest.mark.parametrize("faulty", [True, False])
def test_written_measurements_are_read_back_unchanged(tmp_path, faulty):
    layout = write_decoded(tmp_path, faulty=faulty)
    measured = measure_corpus(audit_params(), layout)
    write_measurements(measured, layout.audit_sound)
    again = read_measurements(layout.audit_sound)
    pd.testing.assert_frame_equal(again.search.pairs, measured.search.pairs)
    pd.testing.assert_frame_equal(again.sound, measured.sound)
    assert len(again.search.pairs) == faulty
    assert again.search.null == measured.search.null
    assert again.search.without_fingerprint == measured.search.without_fingerprint


def test_an_unknown_null_distribution_is_read_back_as_nan(tmp_path, monkeypatch):
    monkeypatch.setattr("earmark.audit.null_distribution._N_PAIRS", 10)  # too few to fit
    layout = write_decoded(tmp_path, faulty=False)
    write_measurements(measure_corpus(audit_params(), layout), layout.audit_sound)
    null = read_measurements(layout.audit_sound).search.null
    assert np.isnan(null.tail_start)
    assert np.isnan(null.expected_false)


def test_two_runs_write_the_same_bytes(tmp_path):
    layout = write_decoded(tmp_path, faulty=True)
    for name in ("first", "second"):
        write_measurements(measure_corpus(audit_params(), layout), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["duplicates.parquet", "measurements.json", "sound.parquet"]
    for name in names:
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_folds_ensemble_and_label_corrections_are_not_read(tmp_path):
    layout = write_corpus(tmp_path, faulty=True)
    (tmp_path / "none.csv").unlink()
    layout.folds.unlink()
    write_ensemble(layout, wrong=[1, 2])
    assert are_current(audit_params(), layout)
    before = read_measurements(layout.audit_sound)
    after = measure_corpus(audit_params(), layout)
    pd.testing.assert_frame_equal(after.search.pairs, before.search.pairs)


def test_measurements_of_other_clips_are_not_current(tmp_path):
    layout = write_decoded(tmp_path, faulty=True)
    assert not are_current(audit_params(), layout)
    write_measurements(measure_corpus(audit_params(), layout), layout.audit_sound)
    assert are_current(audit_params(), layout)
    clips = pd.read_parquet(layout.clips)
    write_table(layout.clips, clips.assign(label=clips["label"].to_numpy()[::-1]))
    assert not are_current(audit_params(), layout)
    write_table(layout.clips, clips)
    write_decoded(tmp_path, faulty=False)
    assert not are_current(audit_params(), layout)


def test_measurements_are_current_where_the_decoded_clips_are_not_here(tmp_path):
    layout = write_corpus(tmp_path, faulty=False)
    layout.decoded.rename(tmp_path / "elsewhere")
    assert are_current(audit_params(), layout)


def test_without_decoded_clips_there_is_one_line_with_the_fix(tmp_path):
    with pytest.raises(UserError, match="does not exist; run `dvc repro`"):
        measure_corpus(audit_params(), Layout(tmp_path))
