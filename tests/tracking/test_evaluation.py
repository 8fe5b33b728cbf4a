"""What the parent run holds once a small corpus was trained, combined and scored."""

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from mlflow import MlflowClient

from earmark.inference.workspace import load_ensemble
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger
from earmark.tracking import model as tracked_model
from earmark.tracking.evaluation import description, track_evaluation
from earmark.tracking.parents import md5_of
from earmark.tracking.registry import ALIAS, name_of
from earmark.tracking.store import prepare_store
from stages import ensemble, evaluate
from tests.source_graph import ROOT
from tests.stages.test_ensemble_and_evaluate import make
from tests.tracking.runs import changed, client_of, followed, parents_of, runs_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

TAGS = ["bark", "bell", "cello", "cough"]
WAVE = Input(
    feature="wave16k", type_name="waveform", options={"target_hz": 16_000}, sample_rate=44_100,
    lengths=[19_683], padding="right", silence=[0.0], mean=[0.0], std=[1.0],
)  # fmt: skip


@pytest.fixture
def scored(layout: Layout, params: Params) -> tuple[Layout, Params]:
    """A workspace after stage evaluate, with a network for each member and fold."""
    made = make(layout.root, n_tags_per_clip=1)
    few = changed(params, "evaluate", n_resamples=20)
    shutil.copy(ROOT / "params.yaml", layout.params)
    shutil.copy(ROOT / "code.json", layout.code)
    ensemble.run(few, made)
    evaluate.run(few, made)
    torch.manual_seed(0)
    options = {"n_samples": 19_683, "width": 0.125}
    for member in ("good", "poor"):
        for fold in ("0", "1"):
            tagger = Tagger.new("samplecnn", options, tags=TAGS, input_=WAVE)
            tagger.save(layout.model(member, fold), {"member": member, "fold": fold})
    return layout, few


def test_the_parent_holds_scores_with_intervals_weights_corpus_code_and_report(
    scored: tuple[Layout, Params],
) -> None:
    layout, params = scored
    with followed(layout, params):
        pass
    track_evaluation(params, layout)
    (parent,) = parents_of(layout)  # that of the training
    assert len(runs_of(layout)) == 2
    scores = read_json(layout.metrics / "scores.json")
    metrics = parent.data.metrics
    for key, estimates in (
        ("", scores["ensemble"]),
        ("good/", scores["models"]["good"]),
        ("poor/", scores["models"]["poor"]),
    ):
        for name, values in (
            ("out_of_fold", estimates["out_of_fold"]["map_at_3"]),
            ("test", estimates["test"]["all"]["map_at_3"]),
        ):
            assert metrics[f"{key}{name}.map_at_3"] == pytest.approx(values["value"])
            assert metrics[f"{key}{name}.map_at_3.low"] == pytest.approx(values["low"])
            assert metrics[f"{key}{name}.map_at_3.high"] == pytest.approx(values["high"])
    assert "out_of_fold.macro_f1" in metrics
    assert "good/out_of_fold.macro_f1" not in metrics  # in scores.json
    weights = {name: metrics[f"weight/{name}"] for name in ("good", "poor")}
    assert weights == pytest.approx(scores["weights"])

    dataset = parent.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("x", md5_of(layout.clips))
    assert len(parent.inputs.dataset_inputs) == 1
    assert parent.data.tags["code.digest"] == md5_of(layout.code)
    artifacts = {artifact.path for artifact in client_of(layout).list_artifacts(parent.info.run_id)}
    assert artifacts == {"report", "metrics", "params.yaml", "code.json"}
    kept = Path(parent.info.artifact_uri.removeprefix("file://"))
    assert (kept / "report" / "index.html").read_text().startswith("<!DOCTYPE html>")
    assert json.loads((kept / "metrics" / "scores.json").read_text()) == scores
    assert scores["notes"][0] in parent.data.tags["mlflow.note.content"]
    assert parent.info.status == "FINISHED"


def test_the_description_begins_with_the_metric_that_counts() -> None:
    estimates = {"roc_auc": {"value": 0.91, "low": 0.88, "high": None}, "n_clips": 60}
    scores: dict[str, Any] = {"metric": "roc_auc", "ensemble": {"out_of_fold": estimates}}
    assert description({**scores, "notes": ["x"]}) == "- **roc_auc out of fold: 0.910**\n\n- x"
    estimates["roc_auc"] = {"value": 0.91, "low": 0.88, "high": 0.94}
    assert description({**scores, "notes": []}).startswith(
        "- **roc_auc out of fold: 0.910** (0.880 to 0.940)"
    )


def test_the_ensemble_is_loaded_by_mlflow_and_tags_as_predict_does(
    scored: tuple[Layout, Params], tmp_path: Path
) -> None:
    layout, params = scored
    track_evaluation(params, layout)
    (parent,) = parents_of(layout)
    (output,) = parent.outputs.model_outputs
    client = client_of(layout)
    logged = client.get_logged_model(output.model_id)
    assert logged.status == "READY"
    assert {metric.key for metric in logged.metrics} >= {"out_of_fold.map_at_3", "test.map_at_3"}
    assert set(logged.params) == {"good", "poor"}

    sound = np.random.default_rng(0).normal(0, 0.1, 30_000)
    soundfile.write(tmp_path / "a.wav", sound, 44_100)
    expected = load_ensemble(params.runtime, layout).tag(tmp_path / "a.wav")
    recording = pd.DataFrame({"path": [str(tmp_path / "a.wav")]})
    moved = Layout(tmp_path / "elsewhere")
    shutil.move(layout.root, moved.root)
    shutil.rmtree(moved.root / "models")  # it has its own copy
    folder = moved.home / "mlflow" / "artifacts" / "models" / output.model_id / "artifacts"
    loaded = mlflow.pyfunc.load_model(str(folder))
    mlflow.set_tracking_uri(prepare_store(moved))
    newest = mlflow.pyfunc.load_model(f"models:/{name_of(params.corpus.name)}@{ALIAS}")
    answer = loaded.predict(recording)
    assert newest.predict(recording).equals(answer)
    assert answer.columns.tolist() == TAGS
    by_tag = dict(zip(expected.tags, expected.probabilities, strict=True))
    assert answer.iloc[0].to_dict() == pytest.approx(by_tag)
    assert loaded.metadata.signature.inputs.input_names() == ["path"]
    assert loaded.metadata.signature.outputs.input_names() == TAGS
    assert loaded.metadata.load_input_example(str(folder)) == {"path": ["recording.wav"]}
    assert str(tmp_path) not in (folder / "MLmodel").read_text()


def test_a_second_evaluation_adds_no_second_model_unless_the_networks_changed(
    scored: tuple[Layout, Params],
) -> None:
    layout, params = scored

    def n_models() -> int:
        track_evaluation(params, layout)
        (parent,) = parents_of(layout)
        client = client_of(layout)
        return len(client.search_logged_models([parent.info.experiment_id]))

    assert [n_models(), n_models()] == [1, 1]
    Tagger.new("samplecnn", {"n_samples": 19_683, "width": 0.125}, tags=TAGS, input_=WAVE).save(
        layout.model("good", "0"), {}
    )
    assert n_models() == 2
    client = client_of(layout)
    name = name_of(params.corpus.name)
    versions = client.search_model_versions(f"name = '{name}'")
    assert sorted(int(one.version) for one in versions) == [1, 2]  # not one for each evaluation
    newest = client.get_model_version_by_alias(name, ALIAS)
    assert int(newest.version) == 2


def test_an_ensemble_that_is_too_large_is_not_copied_and_a_tag_says_so(
    scored: tuple[Layout, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, params = scored
    monkeypatch.setattr(tracked_model, "MAX_MEGABYTES", 0.01)
    track_evaluation(params, layout)
    (parent,) = parents_of(layout)
    assert parent.data.tags["ensemble"].startswith("not logged: ")
    assert not parent.outputs.model_outputs
    assert "out_of_fold.map_at_3" in parent.data.metrics


def test_scores_are_logged_where_the_networks_are_not_here(
    scored: tuple[Layout, Params], caplog: pytest.LogCaptureFixture
) -> None:
    layout, params = scored
    shutil.rmtree(layout.root / "models")
    track_evaluation(params, layout)
    (parent,) = parents_of(layout)
    assert "out_of_fold.map_at_3" in parent.data.metrics
    assert "the ensemble is not logged as a model" in caplog.text


def test_a_server_that_is_not_there_does_not_end_an_evaluation(
    scored: tuple[Layout, Params],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    layout, params = scored
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    track_evaluation(params, layout)
    assert "evaluation goes on untracked" in caplog.text


def test_an_ensemble_that_a_kill_left_half_uploaded_is_uploaded_again(
    scored: tuple[Layout, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, params = scored

    def killed(*_: object) -> None:
        raise RuntimeError("as after a kill")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_model_artifacts", killed)
        track_evaluation(params, layout)
    track_evaluation(params, layout)
    (parent,) = parents_of(layout)
    (model,) = client_of(layout).search_logged_models([parent.info.experiment_id])
    assert model.status == "READY"
    folder = layout.home / "mlflow" / "artifacts" / "models" / model.model_id / "artifacts"
    assert (folder / "MLmodel").exists()
