"""What reads embeddings in a fold reads those of the fold's own extractor."""

from pathlib import Path

import pytest

from earmark.inference.predict import Ensemble
from earmark.layout import Layout
from earmark.store import Store, read_table, write_json, write_table
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

    write_json(layout.plan, {"members": {"attention-vggish": "embedding"}, "folds": ["1"]})
    ensemble = Ensemble(params.runtime, layout)
    vars(ensemble)["metadata"] = {"weights": {"attention-vggish": 1.0}}
    assert ensemble.networks["attention-vggish"]["1"][1] is not None
