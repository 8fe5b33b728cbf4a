"""What reads embeddings in a fold reads those of the fold's own extractor."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from earmark.inference.recording_tagger import RecordingTagger
from earmark.layout import Layout
from earmark.records import read_table, write_table
from earmark.store import Store
from stages import embed, finetune, predict, train
from tests.training.test_run import tiny_params, write_features


def test_a_fold_needs_nothing_of_another_folds_extractor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    layout, params = Layout(tmp_path), tiny_params()
    write_features(layout)
    folds = read_table(layout.folds)
    write_table(layout.folds, folds.rename(columns={"fold_0": "fold_1"}))

    finetune.run(params, layout, "vggish", "1")
    embed.run(params, layout, "vggish", "1")
    assert Store.open(layout.embeddings("vggish", "1")).metadata["fold"] == "1"
    train.run(params, layout, "embedding", "attention", "1", "vggish")
    predict.run(params, layout, "embedding", "attention", "1", "vggish")
    assert not (layout.root / "models" / "vggish" / "0").exists()

    rules = SimpleNamespace(members={"attention-vggish": ["1"]})
    ensemble = RecordingTagger(rules, layout.model, params.runtime, tmp_path, digest="")
    assert ensemble.networks["attention-vggish"]["1"][1] is not None
