"""The audit of a small corpus: planted problems become findings, the most severe first."""

from dataclasses import replace

import pandas as pd
import pytest

from earmark.audit.findings import SEVERITIES, Finding, by_severity
from earmark.audit.run import audit_corpus
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.records import write_table
from tests.audit.small_corpus import N_CLIPS, audit_params, write_corpus, write_ensemble


def test_planted_problems_are_found_the_most_severe_first(tmp_path):
    layout = write_corpus(tmp_path, faulty=True)
    write_ensemble(layout, wrong=[7, 8, 9])
    audit = audit_corpus(audit_params(), layout)
    order = [SEVERITIES.index(finding.severity) for finding in audit.findings]
    assert order == sorted(order)
    assert audit.findings[0].severity == "critical"
    assert "01.wav and 03.wav" in audit.findings[0].meaning
    assert audit.metrics["duplicates"]["leaks_across_folds"] == 1
    assert audit.metrics["licences"]["not_for_commercial_use"] == 1
    assert audit.metrics["labels"]["label_issues"] == 3
    issues = audit.labels.noise.label_issues
    assert set(issues["clip"]) == {"07.wav", "08.wav", "09.wav"}
    assert (issues["suggested"] != issues["given"]).all()


def test_a_clean_corpus_has_nothing_worse_than_a_note(tmp_path):
    layout = write_corpus(tmp_path, faulty=False)
    write_ensemble(layout, wrong=[])
    audit = audit_corpus(audit_params(), layout)
    assert [finding for finding in audit.findings if finding.severity != "note"] == []
    assert audit.metrics["duplicates"]["pairs"] == 0
    assert audit.metrics["labels"]["label_issues"] == 0


def test_without_folds_and_ensemble_the_rest_is_audited(tmp_path):
    layout = write_corpus(tmp_path, faulty=True)
    layout.folds.unlink()
    audit = audit_corpus(audit_params(), layout)
    assert audit.metrics["duplicates"]["pairs"] == 1
    assert audit.metrics["duplicates"]["leaks_across_folds"] == 0
    assert "no ensemble yet" in audit.metrics["labels"]["note"]


def test_clips_that_the_user_decided_about_are_no_label_issues(tmp_path):
    layout = write_corpus(tmp_path, faulty=False)
    write_ensemble(layout, wrong=[7])
    audit = audit_corpus(audit_params(), layout)
    assert list(audit.labels.noise.label_issues["clip"]) == ["07.wav"]
    (tmp_path / "mine.csv").write_text("clip,decision\n07.wav,keep\n")
    audit = audit_corpus(audit_params(label_corrections="mine.csv"), layout)
    assert audit.labels.noise.label_issues.empty


def test_an_ensemble_near_chance_is_silent_about_labels(tmp_path):
    layout = write_corpus(tmp_path, faulty=False)
    write_ensemble(layout, wrong=list(range(0, N_CLIPS, 3)))  # right in 67 %, chance is 50 %
    audit = audit_corpus(audit_params(), layout)
    assert audit.labels.noise is None
    assert list(audit.metrics["labels"]) == ["note"]
    assert "Silent because the ensemble agrees with 67%" in audit.metrics["labels"]["note"]
    assert [f.title for f in audit.findings if f.topic == "labels"] == ["Labels are not judged"]


def test_dropped_clips_are_not_audited(tmp_path):
    layout = write_corpus(tmp_path, faulty=True)
    folds = pd.read_parquet(layout.folds)
    folds.loc[folds["clip"].isin(["03.wav", "05.wav"]), "split"] = "dropped"
    write_table(layout.folds, folds)
    audit = audit_corpus(audit_params(), layout)
    assert audit.metrics["duplicates"]["pairs"] == 0
    assert audit.metrics["licences"]["not_for_commercial_use"] == 0
    assert "03.wav" not in set(audit.sound["clip"])


def test_corrected_labels_are_audited(tmp_path):
    layout = write_corpus(tmp_path, faulty=True)
    folds = pd.read_parquet(layout.folds)
    folds.loc[folds["clip"] == "03.wav", "label"] = "bark"
    write_table(layout.folds, folds)
    audit = audit_corpus(audit_params(), layout)
    assert audit.metrics["duplicates"]["label_conflicts"] == 1
    assert dict(zip(audit.sound["clip"], audit.sound["label"], strict=True))["03.wav"] == "bark"


def test_several_tags_per_clip_leave_out_label_issues_and_shortcut_baseline(tmp_path):
    layout = write_corpus(tmp_path, faulty=False)
    write_ensemble(layout, wrong=[])
    folds = pd.read_parquet(layout.folds)
    write_table(layout.folds, folds.assign(label=["bark;cello", *folds["label"][1:]]))
    audit = audit_corpus(audit_params(), layout)
    assert "one tag per clip" in audit.metrics["labels"]["note"]
    assert audit.shortcut_baselines == {}


def test_missing_measurements_are_refused_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(UserError, match="does not exist; run `dvc repro`"):
        audit_corpus(audit_params(), Layout(tmp_path))


def test_findings_keep_their_order_within_a_severity():
    one = Finding("minor", "a", "1", "", "")
    two, three = replace(one, severity="critical", title="2"), replace(one, title="3")
    assert [finding.title for finding in by_severity([one, two, three])] == ["2", "1", "3"]
