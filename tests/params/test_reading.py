"""Each fault of params.yaml ends in one line that names the key and the fix."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import KINDS, Params
from earmark.params.reading import load_params, parse_params, read_yaml
from earmark.settings.profiles import available, overlay
from earmark.settings.validation import option_problems, weight_problems
from tests.source_graph import ROOT

DENSENET = "models.logmel.densenet_logmel"
ATTENTION = "models.embedding.attention.training"
MISSING = object()

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    return profile("demo")


def profile(name: str) -> dict[str, Any]:
    raw = read_yaml(ROOT / "profiles" / "base.yaml")
    overlay(raw, read_yaml(ROOT / "profiles" / f"{name}.yaml") or {})
    raw["corpus"]["root"] = raw["corpus"]["root"] or "recordings"  # given by --root
    return raw


def changed(raw: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    raw = copy.deepcopy(raw)
    for place, value in changes.items():
        *parents, last = place.split(".")
        section = raw
        for key in parents:
            section = section[key]
        if value is MISSING:
            del section[last]
        else:
            section[last] = value
    return raw


def problems_with(raw: Any) -> list[str]:
    params, problems = parse_params(raw, "params.yaml")
    return problems + (option_problems(params) if params else [])


@pytest.mark.parametrize("name", available(Layout(ROOT)))
def test_a_shipped_profile_loads(name):
    raw = profile(name)
    if not any(raw["models"].values()):
        pytest.fail(f"profile {name} has no model")
    assert problems_with(raw) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.mixup_alfa": 0.1}, ["model.mixup_alfa", "did you mean mixup_alpha?"]),
        ({"modle": {}}, ["modle: unknown key", "did you mean model?"]),
        ({f"{DENSENET}.segment_second": 2.0}, ["segment_second:", "did you mean segment_seconds?"]),
        ({"models.logmell": {}}, ["models.logmell", "did you mean logmel?"]),
        ({"extractors.vggish.trainin": {}}, ["extractors.vggish.trainin", "mean training?"]),
        ({"extractors.vggish.training": {"epoch": 3}}, ["vggish.training.epoch", "epochs?"]),
        ({f"{DENSENET}.frozen": ["stem"]}, [f"{DENSENET}.frozen", "'stem'", "features.0"]),
        ({f"{DENSENET}.init_from": "w.safetensors"}, [DENSENET, "init_sha256", "64 hex digits"]),
        ({f"{DENSENET}.fill": "edge"}, [f"{DENSENET}.fill", "'end', 'random', 'repeat'"]),
        ({f"{DENSENET}.lengths": [1.0, 0.05]}, [f"{DENSENET}.segment_seconds", "16 frames"]),
        ({"models.wave16k.samplecnn.lengths": [1.0, 2.0]}, ["samplecnn.segment_samples", "19683"]),
        ({"models.wave16k.samplecnn.training": {"mask_frames": 9}}, ["samplecnn", "mask_frames"]),
        ({ATTENTION: {"mixup_at": "waveform"}}, ["models.embedding.attention", "set features"]),
        ({"class_mixing.same_class.q": [1.0]}, ["class_mixing.same_class.q", "at least 2"]),
        ({"features.logmel.n_mel": 80}, ["features.logmel.n_mel:", "did you mean n_mels?"]),
        ({"features.patches.x": 1}, ["features.patches.x", "known here: none"]),
        ({"model.mixup_alpha": "0.1"}, ["model.mixup_alpha", "valid number", "'0.1'"]),
        ({"model.mixup_alpha": True}, ["model.mixup_alpha", "valid number", "True"]),
        ({"model.mixup_alpha": -0.1}, ["model.mixup_alpha", "equal to 0", "-0.1"]),
        ({"model.mixup_alpha": float("nan")}, ["model.mixup_alpha", "finite"]),
        ({"model.l2": float("inf")}, ["model.l2", "finite"]),
        ({"model.mixup_alpha": MISSING}, ["model.mixup_alpha: missing; add it"]),
        ({"model.epochs": 2.5}, ["model.epochs", "valid integer", "2.5"]),
        ({"model.max_lr": 1e-9}, ["model: max_lr is below base"]),
        ({"seed": "one"}, ["seed", "valid integer", "'one'"]),
        ({"runtime": None}, ["runtime", "None"]),
        ({"corpus.root": ""}, ["corpus.root", "at least 1 character"]),
        ({"folds": [0, 1, 3]}, ["folds: '3'", "0, 1, 2", "raise cv.k"]),
        ({"folds": ["first"]}, ["folds: 'first'", "stratified", "0, 1, 2"]),
        ({"folds": [0, 1, 1]}, ["folds: [0, 1, 1]", "twice", "name each once"]),
        ({"folds": []}, ["folds", "at least 1"]),
        ({"folds": [0.5]}, ["folds.0", "0.5"]),
        ({"cv.scheme": "first_last", "folds": [0]}, ["folds: '0'", "first, last"]),
        ({f"{DENSENET}.network.name": "densent"}, [f"{DENSENET}.network.name", "densenet"]),
        ({f"{DENSENET}.network.name": "samplecnn"}, [f"{DENSENET}.network.name", "not logmel"]),
        ({f"{DENSENET}.network.growht": 8}, [f"{DENSENET}.network:", "'growht'", "growth"]),
        ({f"{DENSENET}.network.growth": "8"}, [f"{DENSENET}.network:", "growth", "int", "'8'"]),
        ({f"{DENSENET}.network.growth": 0}, [f"{DENSENET}.network.growth", "at least 1"]),
        ({f"{DENSENET}.network.growth": -1}, [f"{DENSENET}.network.growth", "at least 1"]),
        ({f"{DENSENET}.network": MISSING}, [f"{DENSENET}.network: missing"]),
        ({f"{DENSENET}.rule": "recrp"}, [f"{DENSENET}.rule", "'confident_crop' or 'mean'"]),
        ({f"{DENSENET}.training": {"epoch": 3}}, [f"{DENSENET}.training.epoch", "epochs?"]),
        ({f"{DENSENET}.training": {"epochs": "x"}}, [f"{DENSENET}.training.epochs", "integer"]),
        ({"models.wave16k.samplecnn.segment_samples": 9}, ["segment_samples: ", "19683", "fit"]),
        ({"models.logmel.Dense-Net": {}}, ["models.logmel.Dense-Net", "a-z"]),
        ({"models": {kind: {} for kind in KINDS}}, ["models:", "the roster is empty; name"]),
        ({"extractors": {}}, ["models.embedding.attention", "no extractor", "add one"]),
        ({"extractors.vggish.network.name": "densenet"}, ["vggish.network.name", "use vggish"]),
        ({"extractors.vggish.weights": "w.safetensors"}, ["extractors.vggish", "64 hex digits"]),
        ({"ensemble.weights": "learn"}, ["ensemble.weights", "'learned' or 'equal'", "'learn'"]),
        ({"ensemble.weights": {"densenet_logmel": 1.0}}, ["no weight for attention-vggish, samp"]),
        ({"features.logmel": MISSING}, ["features.logmel: missing", DENSENET, "add it"]),
        ({"features.logmel.f_max_hz": 3e4}, ["features.logmel", "f_max_hz 30000.0", "22050"]),
        ({"features.logmel.n_fft": 2047}, ["features.logmel", "even n_fft", "2047"]),
        ({"augment.tempoo": {}}, ["augment", "'tempoo'", "tempo"]),
        ({"augment.tempo.factr": [1, 2]}, ["augment.tempo", "factr", "factor"]),
        ({"demo.synthetic.n_tags": 1}, ["demo.synthetic", "n_tags from 2"]),
        ({"demo.synthetic.n_tag": 14}, ["demo.synthetic", "'n_tag'"]),
        ({"demo.synthetic.background_snr_db": 5}, ["demo.synthetic.background_snr_db", "tuple"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_fault_is_one_line_with_key_and_mend(demo, changes, said):
    problems = problems_with(changed(demo, changes))
    problems = [line for line in problems if "Dense-Net." not in line]  # the entry was left empty
    assert len(problems) == 1, problems
    assert problems[0].startswith("params.yaml: ")
    assert "\n" not in problems[0]
    assert [words for words in said if words not in problems[0]] == [], problems[0]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"samplecn": 1.0}, ["ensemble.weights.samplecn: no such member", "samplecnn"]),
        ({"samplecnn": -1.0}, ["ensemble.weights.samplecnn", "equal to 0", "-1.0"]),
        ({"samplecnn": float("nan")}, ["ensemble.weights.samplecnn", "finite"]),
        ({"densenet_logmel": 0.0, "samplecnn": 0.0}, ["ensemble.weights: all are 0", "give"]),
    ],
)
def test_a_bad_weight_of_the_ensemble_is_named(demo, weights, said):
    good = {"densenet_logmel": 1.0, "samplecnn": 2, "attention-vggish": 0.0}
    assert problems_with(changed(demo, {"ensemble.weights": good})) == []
    (problem,) = problems_with(changed(demo, {"ensemble.weights": {**good, **weights}}))
    assert [words for words in said if words not in problem] == [], problem


def test_a_model_may_not_have_the_name_of_another_or_of_an_extractor(demo):
    entry = demo["models"]["wave16k"]["samplecnn"]
    twice = problems_with(changed(demo, {"models.wave16k.densenet_logmel": entry}))
    assert [line.split(": ")[1] for line in twice] == [DENSENET, "models.wave16k.densenet_logmel"]
    (problem,) = problems_with(changed(demo, {"models.wave16k.vggish": entry}))
    assert problem.startswith("params.yaml: models.wave16k.vggish: the name is taken")


def test_all_faults_are_reported_at_once(demo):
    form = {"model.mixup_alfa": 1, "model.epochs": 0, "trim.top_db": None, "cv": MISSING}
    problems = problems_with(changed(demo, form))
    places = ["cv", "model.epochs", "model.mixup_alfa", "trim.top_db"]
    assert sorted(line.split(": ")[1] for line in problems) == places
    meaning = {"folds": [7], f"{DENSENET}.network.growth": 0, "augment.echo": {}, "extractors": {}}
    places = ["augment", "folds", "models.embedding.attention", f"{DENSENET}.network.growth"]
    problems = problems_with(changed(demo, meaning))
    assert sorted(line.split(": ")[1] for line in problems) == places


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_what_is_no_mapping_says_how_to_begin(raw):
    assert parse_params(raw, "params.yaml")[0] is None
    (problem,) = problems_with(raw)
    assert "profile use demo" in problem


def test_a_missing_file_says_where_to_run_it(tmp_path):
    with pytest.raises(UserError, match="not there; run earmark from the folder of dvc"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "content",
    [b"a: [1\n", b"a: 1\na: 2\n", b"a:\tb\n", b"a: \xff\n", b"a: 1\n---\nb: 1\n", b"a: *b\n"],
)
def test_broken_yaml_is_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not valid YAML") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_or_changed_are_refused_by_extractor(demo, tmp_path):
    fields = {"extractors.vggish.weights": "w.safetensors"}
    fields["extractors.vggish.weights_sha256"] = "0" * 64
    params, problems = parse_params(changed(demo, fields), "params.yaml")
    assert isinstance(params, Params)
    assert problems == []
    (missing,) = weight_problems(params, Layout(tmp_path))
    (tmp_path / "w.safetensors").write_bytes(b"other")
    (other,) = weight_problems(params, Layout(tmp_path))
    for line in (missing, other):
        assert line.startswith("params.yaml: extractors.vggish: ")
        assert "w.safetensors" in line


def test_a_models_own_training_values_are_laid_over_the_shared_ones(demo):
    raw = changed(demo, {f"{DENSENET}.training": {"epochs": 3}})
    params, _ = parse_params(raw, "params.yaml")
    assert params is not None
    recipe = params.recipe(params.entry("logmel", "densenet_logmel"))
    assert recipe == params.model.model_copy(update={"epochs": 3})


def test_an_embedding_model_is_one_member_an_extractor(demo):
    vggish = demo["extractors"]["vggish"]
    params, _ = parse_params(changed(demo, {"extractors.other": vggish}), "params.yaml")
    assert params is not None
    assert params.members() == {
        "attention-other": "embedding",
        "attention-vggish": "embedding",
        "densenet_logmel": "logmel",
        "samplecnn": "wave16k",
    }


def validate(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "DVC_ROOT"}
    return subprocess.run(
        [sys.executable, "-m", "earmark", "validate", *args],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_validate_reports_faults_of_params_and_corpus_together(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("growth: 8", "growht: 8")
    (tmp_path / "params.yaml").write_text(text.replace("root: data/demo", "root: nowhere"))
    done = validate(tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert any(line.startswith(f"params.yaml: {DENSENET}.network") for line in lines)
    assert any(line.startswith("corpus.root: ") for line in lines)
    assert len(lines) == 2


def test_validate_without_params_ends_in_one_line(tmp_path):
    done = validate(tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "profile use demo" in done.stderr


def test_validate_passes_what_is_sound_before_the_demo_corpus_is_made(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    done = validate(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sound" in done.stdout


def test_a_joint_model_needs_its_two_backbones_and_their_features(demo):
    raw = changed(demo, {"models.fusion": {"comb": {"aggregation": "mean"}}})
    assert problems_with(raw) == [
        "params.yaml: features.wave44k: missing, but models.fusion.comb reads it; add it",
        "params.yaml: models.fusion.comb: it joins models.wave44k.comb_audio, which is not there; "
        "add it",
        "params.yaml: models.fusion.comb: it joins models.logmel.comb_spec, which is not there; "
        "add it",
    ]


def test_a_learning_rate_without_cycles_may_be_above_the_peak_of_cycles(demo):
    raw = changed(demo, {"model.schedule": "constant", "model.base_lr": 0.1})
    assert problems_with(raw) == []


def test_every_length_of_a_model_is_counted_in_rows(demo):
    raw = changed(demo, {f"{DENSENET}.lengths": [1.0, 0.5, 1.5]})
    params = Params.model_validate(raw)
    entry = params.entry("logmel", "densenet_logmel")
    assert params.rows_read("logmel", entry) == [173, 87, 259]


def test_a_joint_model_cuts_both_features_at_one_moment(demo):
    changes = {
        "models.fusion": {"comb": {"aggregation": "mean"}},
        "features.wave44k": {"target_hz": 22050},
    }
    assert any(
        "features.wave44k.target_hz: 22050" in line
        for line in problems_with(changed(demo, changes))
    )
