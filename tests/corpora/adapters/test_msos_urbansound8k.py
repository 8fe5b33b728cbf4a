"""MSoS with its events, and UrbanSound8K with its ten folds."""

import re

import pytest

from earmark.corpora.adapters import find
from earmark.corpora.folds import assign_folds
from earmark.errors import UserError
from tests.corpora import corpus_trees
from tests.source_graph import ROOT


def test_the_category_is_the_label_and_the_event_the_aux_label(tmp_path):
    corpus_trees.msos(tmp_path)
    clips = find("msos").read_clips(tmp_path, "")
    assert clips["split"].tolist() == ["train"] * 12 + ["test"] * 2
    row = clips.set_index("clip").loc["music1.wav"]
    assert (row["label"], row["aux_label"]) == ("Music", "Big_band")
    assert row["path"] == "Development/Music/music1.wav"
    assert clips["path"].iloc[12] == "Evaluation/e0.wav"
    assert (clips["source"] == "").all()


def test_development_alone_is_a_corpus(tmp_path):
    corpus_trees.msos(tmp_path)
    (tmp_path / "Logsheet_EvaluationMaster.csv").unlink()
    assert set(find("msos").read_clips(tmp_path, "")["split"]) == {"train"}


def test_the_number_of_events_is_that_of_chen_and_gupta_everywhere():
    """Chen & Gupta, section 1.3: 91 output units for 91 sound events."""
    assert "91 events" in find("msos").description
    (row,) = re.findall(r"^\| `msos` .*$", (ROOT / "docs/corpora.md").read_text(), re.MULTILINE)
    assert "91 events" in row


def test_an_event_of_two_categories_is_refused(tmp_path):
    corpus_trees.msos(tmp_path)
    sheet = tmp_path / "Logsheet_Development.csv"
    sheet.write_text(sheet.read_text().replace("Nature,Rain,", "Nature,Oboe,", 1))
    with pytest.raises(UserError, match="event Oboe is in Music and Nature; fix the sheet"):
        find("msos").read_clips(tmp_path, "")


def test_slices_keep_their_recording_and_their_official_fold(tmp_path):
    corpus_trees.urbansound8k(tmp_path)
    clips = find("urbansound8k").read_clips(tmp_path, "")
    row = clips.set_index("clip").loc["710-1-0-1.wav"]
    assert (row["label"], row["source"], row["fold"]) == ("car_horn", "710", 7)
    assert row["path"] == "audio/fold7/710-1-0-1.wav"
    assert (clips.groupby("source")["fold"].nunique() == 1).all()
    folds = assign_folds(clips, scheme="official", k=10, seed=0)
    assert (folds == clips["fold"]).all()
