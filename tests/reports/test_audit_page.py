"""The whole audit of a small corpus: files, findings by severity, and the command."""

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earmark.audit.findings import SEVERITIES, Finding, by_severity, counted, some
from earmark.audit.run import audit_corpus, write_audit
from earmark.corpora.clips import clips_table
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params.reading import load_params
from earmark.reports.audit_figures import balance_figure, bandwidth_figure, noise_figure
from earmark.sound.decoding import as_int16
from earmark.store import StoreWriter, read_json, write_json, write_table

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000
TAGS = ["bark", "cello"]


def recording(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0.05, 1, 16), RATE // 16)
    return (0.2 * envelope * rng.standard_normal(RATE)).astype(np.float32)


def corpus(root: Path, *, faulty: bool, n: int = 24) -> Layout:
    """A decoded and split corpus of `n` clips; faulty: a leak, a licence and three wrong labels."""
    layout = Layout(root)
    root.joinpath("none.csv").write_text("clip,decision,label\n")
    names = [f"{i:02}.wav" for i in range(n)]
    labels = [TAGS[i % 2] for i in range(n)]
    waveforms = [recording(i) for i in range(n)]
    licences = ["CC BY 3.0"] * n
    if faulty:
        waveforms[3] = 0.4 * waveforms[1]  # in another fold
        licences[5] = "CC BY-NC 3.0"
    columns = {"clip": names, "path": names, "label": labels, "licence": licences}
    clips = clips_table(columns).assign(quarantined=False, equal_to="")
    write_table(layout.clips, clips)
    with StoreWriter(
        layout.decoded, row_shape=(), dtype="int16", about={"sample_rate": RATE}
    ) as store:
        for name, waveform in zip(names, waveforms, strict=True):
            samples = as_int16(waveform)
            store.append(
                samples,
                clip=name,
                split="train",
                seconds=len(samples) / RATE,
                peak=float(np.abs(waveform).max()),
                native_sample_rate=RATE,
                channels=1,
                sha256=hashlib.sha256(samples.data).hexdigest(),
            )
    fold = ["validation" if i % 4 < 2 else "train" for i in range(n)]
    other = ["train" if role == "validation" else "validation" for role in fold]
    folds = clips[["clip", "split", "label", "event", "verified"]]
    write_table(layout.folds, folds.assign(fold_0=fold, fold_1=other))
    return layout


def ensemble(layout: Layout, *, wrong: list[int], n: int = 24) -> None:
    """What an ensemble says that is sure of the true tags, but that `wrong` clips are the other."""
    says_first = np.array([(i % 2 == 0) != (i in wrong) for i in range(n)])
    shares = np.where(says_first, 0.9, 0.1) + np.random.default_rng(0).normal(0, 0.02, n)
    names = [f"{i:02}.wav" for i in range(n)]
    labels = [TAGS[i % 2] for i in range(n)]
    rows = pd.DataFrame({"clip": names, "split": "validation", "fold": "0", "label": labels})
    write_table(layout.ensemble / "clips.parquet", rows)
    said = pd.DataFrame({TAGS[0]: shares, TAGS[1]: 1 - shares})
    write_table(layout.ensemble / "ensemble.parquet", said)
    write_json(layout.ensemble / "ensemble.json", {"tags": TAGS})


@pytest.fixture
def params():
    loaded = load_params(ROOT / "params.yaml")
    corpus_ = loaded.corpus.model_copy(
        update={
            "synthetic": False,
            "edits": "none.csv",
            "name": "mine",
            "adapter": "folder",
            "root": ".",
        }
    )
    runtime = loaded.runtime.model_copy(update={"workers": 1})
    return loaded.model_copy(update={"corpus": corpus_, "runtime": runtime})


def test_planted_faults_are_found_the_gravest_first_and_written(tmp_path, params):
    layout = corpus(tmp_path, faulty=True)
    ensemble(layout, wrong=[7, 8, 9])
    audit = audit_corpus(params, layout)
    write_audit(audit, params, layout)
    gravities = [SEVERITIES.index(finding.severity) for finding in audit.findings]
    assert gravities == sorted(gravities)
    assert audit.findings[0].severity == "critical"
    assert "01.wav and 03.wav" in audit.findings[0].meaning
    suspects = pd.read_csv(layout.audit / "suspects.csv", keep_default_na=False)
    assert set(suspects["clip"]) == {"07.wav", "08.wav", "09.wav"}
    assert list(suspects["suggested"]) != list(suspects["given"])
    metrics = read_json(layout.metrics / "audit.json")
    assert metrics["duplicates"]["leaks_across_folds"] == 1
    assert metrics["licences"]["not_for_commercial_use"] == 1
    assert metrics["labels"]["suspects"] == 3
    page = (layout.audit / "index.html").read_text()
    assert page.index("training and validation") < page.index("forbid commercial use")
    assert len(re.findall("data:image/png;base64", page)) == 3
    assert "05.wav" in (layout.audit / "ATTRIBUTION.txt").read_text()
    for name in ("duplicates.csv", "licences.csv", "sound.csv"):
        assert (layout.audit / name).exists()


def test_a_clean_corpus_has_nothing_worse_than_a_note(tmp_path, params):
    layout = corpus(tmp_path, faulty=False)
    ensemble(layout, wrong=[])
    audit = audit_corpus(params, layout)
    assert [finding for finding in audit.findings if finding.severity != "note"] == []
    assert audit.metrics["duplicates"]["pairs"] == 0
    assert audit.metrics["labels"]["suspects"] == 0


def test_before_the_split_and_the_ensemble_the_rest_is_audited(tmp_path, params):
    layout = corpus(tmp_path, faulty=True)
    layout.folds.unlink()
    audit = audit_corpus(params, layout)
    write_audit(audit, params, layout)
    assert audit.metrics["duplicates"]["pairs"] == 1
    assert audit.metrics["duplicates"]["leaks_across_folds"] == 0
    assert "no ensemble yet" in audit.metrics["labels"]["note"]
    header = (layout.audit / "suspects.csv").read_text().strip()
    assert header.endswith("score,verified,decision,label")


def test_what_the_user_has_decided_is_no_suspect_any_more(tmp_path, params):
    layout = corpus(tmp_path, faulty=False)
    ensemble(layout, wrong=[7, 8])
    (tmp_path / "mine.csv").write_text("clip,decision\n07.wav,keep\n")
    own = params.corpus.model_copy(update={"edits": "mine.csv"})
    audit = audit_corpus(params.model_copy(update={"corpus": own}), layout)
    assert list(audit.doubts.noise.suspects["clip"]) == ["08.wav"]


def test_dropped_clips_are_audited_no_more(tmp_path, params):
    layout = corpus(tmp_path, faulty=True)
    folds = pd.read_parquet(layout.folds)
    write_table(layout.folds, folds[~folds["clip"].isin(["03.wav", "05.wav"])])
    audit = audit_corpus(params, layout)
    assert audit.metrics["duplicates"]["pairs"] == 0
    assert audit.metrics["licences"]["not_for_commercial_use"] == 0
    assert "03.wav" not in set(audit.sound["clip"])


def test_several_tags_a_clip_leave_the_labels_out(tmp_path, params):
    layout = corpus(tmp_path, faulty=False)
    ensemble(layout, wrong=[])
    folds = pd.read_parquet(layout.folds)
    write_table(layout.folds, folds.assign(label=["bark;cello", *folds["label"][1:]]))
    audit = audit_corpus(params, layout)
    assert "several tags" in audit.metrics["labels"]["note"]
    assert audit.guesses == {}


def test_without_decoded_clips_there_is_one_line(tmp_path, params):
    with pytest.raises(UserError, match="not there; run `dvc repro`"):
        audit_corpus(params, Layout(tmp_path))


@pytest.mark.slow
def test_the_command_says_what_it_found(tmp_path):
    corpus(tmp_path, faulty=True)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "no_edits.csv").write_text("clip,decision,label\n")
    command = [sys.executable, "-m", "earmark", "audit"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("grave: duplicates: 1 pair of the same recording")
    assert (tmp_path / "data" / "audit" / "index.html").exists()


def test_findings_keep_their_order_within_a_gravity():
    one = Finding("minor", "a", "1", "", "")
    found = by_severity(
        [one, replace(one, severity="critical", title="2"), replace(one, title="3")]
    )
    assert [finding.title for finding in found] == ["2", "1", "3"]


def test_long_lists_are_cut_and_numbers_agree_with_their_nouns():
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcde")) == "a, b, c and 2 more"
    assert (counted(1, "pair"), counted(2, "pair")) == ("1 pair", "2 pairs")


def test_pictures_show_what_the_tables_say():
    sizes = pd.DataFrame({"tag": TAGS, "clips": [9, 4], "verified": [3, 4]})
    bars = balance_figure(sizes).axes[0].patches
    assert [bar.get_width() for bar in bars] == [9, 4, 3, 4]
    facts = pd.DataFrame({"label": ["b", "b", "a"], "bandwidth_hz": [8000.0, 9000.0, 4000.0]})
    axes = bandwidth_figure(facts).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert axes.lines[0].get_xdata().tolist() == [4.0]
    counts = noise_figure(np.array([[5, 2], [0, 3]]), TAGS).axes[0]
    assert counts.images[0].get_array().tolist() == [[0, 2], [0, 0]]


def test_of_many_tags_those_that_disagree_are_drawn():
    counts = np.zeros((60, 60), dtype=np.int64)
    counts[50, 7] = 3
    axes = noise_figure(counts, [f"tag{i}" for i in range(60)]).axes[0]
    named = {tick.get_text() for tick in axes.get_yticklabels()}
    assert len(named) == 40
    assert {"tag50", "tag7"} <= named
