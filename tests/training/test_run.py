"""A training from features in the store to the model and the learning curve that it keeps."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.checksums import sha256_of
from earmark.errors import UserError
from earmark.evaluation.run import CURVE_COLUMNS
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import parse_params, read_yaml
from earmark.records import read_json, write_table
from earmark.settings.profiles import overlay
from earmark.store import StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger
from earmark.training import building, run
from earmark.training.batches import Sampler
from earmark.training.job import Job
from earmark.training.validation import validate
from earmark.weights import save_tensors
from tests.source_graph import ROOT
from tests.training.conftest import CPU, TAGS

ROW_SHAPES = {"logmel": (80,), "patches": (96, 64)}


def tiny_params(**changes: Any) -> Params:
    """The networks of the pipeline's tests."""
    raw = read_yaml(ROOT / "profiles" / "base.yaml")
    overlay(raw, read_yaml(ROOT / "tests" / "pipeline" / "tiny.yaml"))
    overlay(raw, changes)
    params, problems = parse_params(json.loads(json.dumps(raw)), "params.yaml")
    assert params is not None, problems
    return params


def write_features(layout: Layout, offset_of: Mapping[str, float] = MappingProxyType({})) -> None:
    """The folds and the features of 16 clips, a quarter of which validate.

    `offset_of` some clips is added to all their values.
    """
    rng = np.random.default_rng(0)
    clips = pd.DataFrame({"clip": [f"c{i:02}" for i in range(16)], "split": "train"})
    clips = clips.assign(label=[TAGS[i % 3] for i in range(16)], verified=True)
    clips["fold_0"] = ["validation" if i % 4 == 0 else "train" for i in range(16)]
    write_table(layout.folds, clips)
    silence = {"silence": [-9.0]}
    for name, shape in ROW_SHAPES.items():
        folder = layout.features(name)
        with StoreWriter(folder, row_shape=shape, dtype="float16", metadata=silence) as store:
            for i, clip in enumerate(clips["clip"]):
                n_rows = int(rng.integers(1, 4)) if name == "patches" else 50
                rows = rng.normal(i % 3, 1, (n_rows, *shape)) + offset_of.get(clip, 0.0)
                rows = rows.astype(np.float16)
                same = dict.fromkeys(("variant", "partner"), "")
                store.append(rows, clip=clip, split="train", sha256=clip, **same)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A workspace with features, whose runs nobody tracks."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    layout = Layout(tmp_path)
    write_features(layout)
    return layout


def train(layout: Layout, *, code: str = "") -> None:
    run.train_model(tiny_params(), layout, "logmel", "densenet", "0", None, code=code)


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def checkpoints(layout: Layout) -> list[Path]:
    return list((layout.home / "work").glob("*/checkpoint.safetensors"))


def count_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    batches: list[int] = []
    gather = Sampler.gather

    def counting(self: Sampler, *args: Any) -> Any:
        batches.append(1)
        return gather(self, *args)

    monkeypatch.setattr(Sampler, "gather", counting)
    return batches


def test_a_training_keeps_model_and_learning_curve_with_epochs_from_1_and_no_checkpoint(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "earmark"):
        train(layout)
    description = read_json(layout.model("densenet", "0") / "model.json")
    curve = pd.read_csv(layout.learning_curve("densenet", "0"))
    assert curve["epoch"].tolist() == [1, 2]
    assert list(curve.columns[:3]) == ["model", "fold", "epoch_choice"]
    kept = description["kept"]
    assert kept["epochs_trained"] == 2
    assert (kept["epoch"], kept["epoch_choice"]) == (2, "last")
    assert (description["member"], description["fold"]) == ("densenet", "0")
    assert "densenet-0: kept epoch 2 of 2, validation map_at_3" in caplog.text
    assert not checkpoints(layout)


def test_a_finished_training_that_is_asked_for_again_is_done_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = count_batches(monkeypatch)
    train(layout)
    n_batches = len(batches)
    weights = (layout.model("densenet", "0") / "weights.safetensors").read_bytes()
    train(layout)
    assert len(batches) == 2 * n_batches
    assert (layout.model("densenet", "0") / "weights.safetensors").read_bytes() == weights


def outputs(layout: Layout) -> dict[str, bytes]:
    """Every file of the model, and the learning curve."""
    files = [*layout.model("densenet", "0").iterdir(), layout.learning_curve("densenet", "0")]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.slow
def test_more_epochs_go_on_and_give_the_same_files_as_a_training_from_nothing(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_for(epochs: int, layout: Layout = layout, *, code: str = "", **model: Any) -> int:
        """Return how many batches it took."""
        n_before = len(batches)
        model |= {"epochs": epochs, "schedule": "constant"}
        params = tiny_params(model=model)
        run.train_model(params, layout, "logmel", "densenet", "0", None, code=code)
        return len(batches) - n_before

    batches = count_batches(monkeypatch)
    elsewhere = Layout(tmp_path / "elsewhere")
    write_features(elsewhere)
    from_nothing = train_for(6, elsewhere)
    assert train_for(2) == from_nothing / 3
    assert train_for(6) == from_nothing * 2 / 3
    assert outputs(layout) == outputs(elsewhere)
    assert not checkpoints(layout)
    assert train_for(6) == from_nothing, "by force: the same is asked for again"
    assert outputs(layout) == outputs(elsewhere)
    assert train_for(9, code="other") == from_nothing * 1.5
    assert train_for(9, mixup_alpha=0.5) == from_nothing * 1.5
    write_features(layout, offset_of={"c01": 1.0})
    assert train_for(9) == from_nothing * 1.5, "other data"


@pytest.mark.parametrize("killed_in", ["run.write_table", "building.Tagger.save"])
def test_a_kill_while_outputs_are_written_costs_no_training(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    batches = count_batches(monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"earmark.training.{killed_in}", killed)
        train(layout)
    assert len(checkpoints(layout)) == 1
    n_batches = len(batches)
    train(layout)
    assert len(batches) == n_batches
    assert layout.model("densenet", "0").exists()
    assert layout.learning_curve("densenet", "0").exists()
    assert not checkpoints(layout)


def test_a_training_that_was_killed_under_other_code_is_not_continued(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("earmark.training.run._write_outputs", killed)
        train(layout, code="before")
    with caplog.at_level("INFO", "earmark"):
        train(layout, code="after")
        assert "trained to the end before" not in caplog.text
        train(layout, code="before")
        assert "trained to the end before" in caplog.text


def test_an_extractor_is_trained_by_the_same_path_and_says_where_it_started(
    layout: Layout,
) -> None:
    run.train_extractor(tiny_params(), layout, "vggish", "0")
    description = read_json(layout.model("vggish", "0") / "model.json")
    assert description["weights_from"] == building.RANDOM
    assert description["random_start"] == "vggish weights (Xu et al., section 2.2)"
    assert description["input"]["lengths"] == [1]
    assert pd.read_csv(layout.learning_curve("vggish", "0"))["epoch"].tolist() == [1]


def test_an_extractor_has_a_fresh_head_on_the_weights_that_it_starts_from(layout: Layout) -> None:
    run.train_extractor(tiny_params(), layout, "vggish", "0")
    trained = Tagger.load(layout.model("vggish", "0"), CPU).network.state_dict()
    backbone = {key: value for key, value in trained.items() if not key.startswith("head.")}
    weights = layout.root / "backbone.safetensors"
    save_tensors(weights, backbone)
    pinned = {"weights": str(weights), "weights_sha256": sha256_of(weights)}
    params = tiny_params(extractors={"vggish": pinned})
    head = building.extractor_job(params, layout, "vggish", "0").head
    assert head == trained.keys() - backbone.keys()
    assert building.extractor_job(tiny_params(), layout, "vggish", "0").head == set()


@pytest.mark.parametrize("kind", ["model", "extractor"])
def test_validation_clips_are_neither_trained_on_nor_measured(layout: Layout, kind: str) -> None:
    def job() -> Job:
        if kind == "extractor":
            return building.extractor_job(tiny_params(), layout, "vggish", "0")
        return building.model_job(tiny_params(), layout, "logmel", "densenet", "0", None)

    first = job()
    validation = {f"c{i:02}" for i in range(0, 16, 4)}
    assert set(first.validation.clips) == validation
    assert len(first.sampler.examples.clips) == 12
    assert not validation & set(first.sampler.examples.clips)
    write_features(layout, offset_of=dict.fromkeys(validation, 50.0))
    assert (job().tagger.input.mean, job().tagger.input.std) == (
        first.tagger.input.mean,
        first.tagger.input.std,
    )


def test_options_that_a_network_refuses_are_named_by_their_key(layout: Layout) -> None:
    params = tiny_params(models={"logmel": {"densenet": {"network": {"no_such": 1}}}})
    with pytest.raises(UserError, match=r"params.yaml: models.logmel.densenet.network: .*no_such"):
        building.model_job(params, layout, "logmel", "densenet", "0", None)


STAGE = """
import sys
from pathlib import Path

from earmark.processes import set_up_process

set_up_process(threads=2)

import torch
from earmark.layout import Layout
from earmark.training import building, loop
from tests.training.conftest import Rows
from tests.training.test_run import tiny_params

threads = set()
step = loop.train_step
loop.train_step = lambda *args: threads.add(torch.get_num_threads()) or step(*args)
root = Path(sys.argv[1])
params = tiny_params(runtime={"threads": 2})
job = building.model_job(params, Layout(root), "logmel", "densenet", "0", None)
loop.fit(job, root / "checkpoint", Rows())
print(threads)
"""


@pytest.mark.slow
def test_a_training_has_the_threads_of_params_whatever_the_environment_says(
    layout: Layout,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STAGE, str(layout.root)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{2}\n", done.stderr


def linear_params(**model: Any) -> Params:
    linear = {"name": "linear", "n_inputs": 80, "pooling": "statistics"}
    entry = {"network": linear, "input": {"segment_seconds": "all"}, "training": {}}
    models = {"logmel": {"baseline": entry | {"prediction": {"aggregation": "mean"}}}}
    return tiny_params(models=models, model=model)


def test_a_network_that_is_fitted_at_once_is_kept_as_any_other(layout: Layout) -> None:
    params = linear_params(epoch_choice="inner_split")  # for which there is no column of folds
    fitted = run.train_model(params, layout, "logmel", "baseline", "0", None)
    description = read_json(layout.model("baseline", "0") / "model.json")
    assert description["kept"]["epochs_trained"] == description["kept"]["epoch"] == 1
    assert description["kept"]["epoch_choice"] == "last"
    assert description["input"]["lengths"] == [0]
    curve = pd.read_csv(layout.learning_curve("baseline", "0"))
    assert len(curve) == 1
    assert set(CURVE_COLUMNS) < set(curve)
    cpu = Device(name="cpu", precision="float32", channels_last=False)
    job = building.model_job(params, layout, "logmel", "baseline", "0", None)
    loaded = Tagger.load(layout.model("baseline", "0"), cpu)
    probabilities = validate(loaded, job.validation, cpu, job.recipe)
    np.testing.assert_array_equal(probabilities, fitted.validation_probabilities)
    assert fitted.kept["accuracy"] == 1.0


CBIR = {"name": "cbir", "width": 0.0625, "hidden": 16, "n_patches": 1, "branches": 1}


def cbir_params(**training: Any) -> Params:
    entry = {"network": CBIR, "input": {"segment_patches": 1}, "training": training}
    return tiny_params(
        models={"patches": {"cbir": entry | {"prediction": {"aggregation": "mean"}}}}
    )


def test_a_network_without_the_weights_of_its_paper_says_so_and_trains_what_they_would_be(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    run.train_model(cbir_params(), layout, "patches", "cbir", "0", None)
    description = read_json(layout.model("cbir", "0") / "model.json")
    assert description["weights_from"] == building.RANDOM
    assert description["random_start"] == "vggish weights (Chen & Gupta, section 1.3)"
    assert "cbir starts from random values" in caplog.text
    job = building.model_job(cbir_params(), layout, "patches", "cbir", "0", None)
    assert all(p.requires_grad for p in job.tagger.network.parameters())
    tracked = run._tracked_params(job, cbir_params())
    assert tracked["random_start"] == description["random_start"]


def test_published_weights_are_named_once_and_stay_as_they_are(layout: Layout) -> None:
    run.train_model(cbir_params(), layout, "patches", "cbir", "0", None)
    weights = layout.model("cbir", "0") / "weights.safetensors"
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    params = cbir_params()
    start = {"init_from": str(weights), "init_sha256": sha256}
    params = params.model_copy(update={"model": params.model.model_copy(update=start)})
    job = building.model_job(params, layout, "patches", "cbir", "0", None)
    assert job.metadata == {"weights_from": str(weights)}
    published = job.tagger.network.published_parameters()
    assert published
    assert not any(p.requires_grad for p in published.values())
    own = cbir_params(init_from="").model_copy(update={"model": params.model})
    assert "random_start" in building.model_job(own, layout, "patches", "cbir", "0", None).metadata


def test_the_shared_augmentation_is_done_where_the_feature_can_have_it(layout: Layout) -> None:
    shared = {"time_stretch": 0.2, "band_gain_db": 6.0, "mask_bands": 4}
    whole = {
        "network": {"name": "linear", "n_inputs": 80},
        "input": {"segment_seconds": "all"},
        "training": {},
        "prediction": {"aggregation": "mean"},
    }
    params = tiny_params(model=shared, finetune=shared, models={"logmel": {"whole": whole}})
    frames = building.model_job(params, layout, "logmel", "densenet", "0", None).recipe
    assert (frames.time_stretch, frames.band_gain_db, frames.mask_bands) == (0.2, 6.0, 4)
    clips = building.model_job(params, layout, "logmel", "whole", "0", None).recipe
    assert (clips.time_stretch, clips.band_gain_db, clips.mask_bands) == (0.0, 6.0, 4)
    patches = building.extractor_job(params, layout, "vggish", "0").recipe
    assert (patches.time_stretch, patches.band_gain_db, patches.mask_bands) == (0.0, 6.0, 4)


def test_an_entry_may_give_each_band_its_own_mean_and_deviation(layout: Layout) -> None:
    entry = {"models": {"logmel": {"densenet": {"input": {"standardisation": "column"}}}}}
    job = building.model_job(tiny_params(**entry), layout, "logmel", "densenet", "0", None)
    whole = building.model_job(tiny_params(), layout, "logmel", "densenet", "0", None)
    assert (len(job.tagger.input.mean), len(whole.tagger.input.mean)) == (80, 1)
    clips = np.concatenate([job.train.original(i) for i in range(len(job.train))])
    np.testing.assert_allclose(job.tagger.input.std, clips.astype(float).std(0), rtol=1e-4)
