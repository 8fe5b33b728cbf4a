"""What only code can judge in params.yaml is reported before any work, with the fix."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from earmark.__main__ import app
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.settings.validation import extension_problems, stage_problems
from tests.params.raw_params import (
    ATTENTION,
    DENSENET,
    SAMPLECNN,
    assert_one_problem,
    changed,
    problems_with,
    sound,
)
from tests.source_graph import ROOT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"features.logmel.n_mel": 80},
            ["params.yaml: features.logmel.n_mel: unknown option; did you mean n_mels?"],
        ),
        ({"features.patches.x": 1}, ["features.patches.x: unknown option; known here: none"]),
        ({"features.logmel.type": "logmell"}, ["features.logmel.type", "did you mean logmel?"]),
        ({"features.logmel.type": "zzz"}, ["features.logmel.type", "choose one of logmel, mfcc"]),
        ({"features.logmel.type": "mfcc"}, ["features.logmel.n_mfcc: missing; add it"]),
        ({"features.logmel.n_mels": 80.5}, ["features.logmel.n_mels: must be of type int", "80.5"]),
        ({"features.logmel.f_max_hz": 3e4}, ["features.logmel.f_max_hz: 30000.0;", "22050"]),
        ({"features.logmel.n_fft": 2047}, ["features.logmel.n_fft: 2047; it must be even"]),
        (
            {"features.wave16k.target_hz": 0},
            ["features.wave16k.target_hz: 0; it must be from 1,000"],
        ),
        ({"features.fusion": {"type": "patches"}}, ["features.fusion: is a name of earmark's"]),
        ({"features.mine": {"type": "embedding"}}, ["features.mine.type", "models.embedding"]),
        (
            {"features.patches": {"type": "waveform", "target_hz": 8000}},
            ["features.patches.type: waveform; set it to patches"],
        ),
        ({"augment.tempoo": {}}, ["augment", "'tempoo'", "tempo"]),
        ({"augment.tempo.factr": [1, 2]}, ["augment.tempo", "factr", "factor"]),
        ({"demo.synthetic.n_tags": 1}, ["demo.synthetic.n_tags: 1; it must be from 2 to"]),
        ({"demo.synthetic.n_tag": 14}, ["demo.synthetic", "'n_tag'"]),
        ({"demo.synthetic.background_snr_db": 5}, ["demo.synthetic.background_snr_db", "array"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_fault_is_one_line_with_key_and_fix(demo, changes, words):
    assert_one_problem(changed(demo, changes), *words)


def test_all_faults_are_reported_at_once(demo):
    changes = {"folds": [7], f"{DENSENET}.network.growth": 0, "augment.echo": {}, "extractors": {}}
    problems = problems_with(changed(demo, changes))
    keys = ["augment", "folds", ATTENTION, f"{DENSENET}.network.growth"]
    assert sorted(line.split(": ")[1] for line in problems) == keys


# Stages in dvc.yaml.


@pytest.fixture
def with_new_feature(demo, tmp_path):
    """Params with a feature that dvc.yaml has no stages for, and a repository with dvc.yaml."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    models = demo["models"]["logmel"]
    moved = {"features.logmel64": {**demo["features"]["logmel"], "n_mels": 64}}
    moved |= {"models.logmel64": models, "models.logmel": {}}
    return sound(changed(demo, moved)), Layout(tmp_path)


def test_the_shipped_stages_are_complete(demo):
    assert stage_problems(sound(demo), Layout(ROOT)) == []


def test_a_feature_without_stages_is_refused_with_lines_that_make_it_pass(with_new_feature):
    params, layout = with_new_feature
    (problem,) = stage_problems(params, layout)
    first, _, lines = problem.partition("\n")
    assert first.startswith("params.yaml: models.logmel64: dvc.yaml has no stages for it; add")
    path = layout.root / "dvc.yaml"
    before, rest = path.read_text().split("\n  train_mfcc:")
    path.write_text(f"{before}\n{lines}\n\n  train_mfcc:{rest}")
    assert stage_problems(params, layout) == []
    stages = YAML(typ="safe", pure=True).load(path.read_text())["stages"]
    for stage in ("train", "predict"):
        shipped = repr(stages[f"{stage}_mfcc"]).replace("mfcc", "logmel64")
        assert repr(stages[f"{stage}_logmel64"]) == shipped


@pytest.mark.parametrize("group", ["embedding", "fusion"])
def test_a_group_of_no_feature_is_offered_no_lines_of_one(demo, tmp_path, group):
    text = (ROOT / "dvc.yaml").read_text().replace(f"  train_{group}:", f"  other_{group}:")
    (tmp_path / "dvc.yaml").write_text(text)
    params = sound(demo)
    params.models.setdefault(group, params.models["logmel"])
    params.models[group].update(params.models[group] or params.models["logmel"])
    (problem,) = stage_problems(params, Layout(tmp_path))
    assert problem.endswith(f"take train_{group} and predict_{group} from the dvc.yaml in git")


def test_stages_whose_models_have_no_section_are_named(demo):
    raw = changed(demo, {})
    del raw["models"]["mfcc"]
    (problem,) = stage_problems(sound(raw), Layout(ROOT))
    assert problem == (
        "params.yaml: models.mfcc: missing, but dvc.yaml has its stages; add `mfcc: {}`"
    )


def test_a_folder_without_a_pipeline_is_not_asked_for_stages(demo, tmp_path):
    assert stage_problems(sound(demo), Layout(tmp_path)) == []


# The command.


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


@pytest.mark.slow
def test_validate_reports_faults_of_params_and_corpus_together(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("width: 0.25", "widht: 0.25", 1)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    (tmp_path / "params.yaml").write_text(text.replace("root: data/demo", "root: nowhere"))
    done = validate(tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert any(line.startswith(f"params.yaml: {SAMPLECNN}.network") for line in lines)
    assert any(line.startswith("corpus.root: ") for line in lines)
    assert len(lines) == 2


def test_validate_without_params_ends_in_one_line(tmp_path):
    done = validate(tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "profile use demo" in done.stderr


def test_a_profile_whose_network_does_not_fit_is_written_and_its_fault_named(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    demo = tmp_path / "profiles" / "demo.yaml"
    demo.write_text(demo.read_text().replace("n_samples: 19683", "n_samples: 19684"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["profile", "use", "demo"])
    assert isinstance(done.exception, UserError)
    assert any(line.startswith(f"params.yaml: {SAMPLECNN}") for line in done.exception.problems)
    assert (tmp_path / "params.yaml").exists()


def test_validate_of_old_params_names_the_new_keys_without_a_traceback(tmp_path):
    old = (ROOT / "tests" / "params" / "old_params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(old)
    done = validate(tmp_path, "--params-only")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "params.yaml: mix: unknown key; it is now called class_mixing" in done.stderr


@pytest.mark.slow
def test_validate_passes_what_is_sound_before_the_demo_corpus_is_made(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    done = validate(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sound" in done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine", "there is no folder mine; make it"),
        (".", "'.' is no folder name here"),
        ("earmark", "'earmark' is no folder name here"),
        ("../x", "'../x' is no folder name here"),
    ],
)
def test_extensions_must_be_a_folder_beside_earmark(demo, tmp_path, name, words):
    (tmp_path / "dvc.yaml").touch()
    (problem,) = extension_problems(sound(changed(demo, {"extensions": name})), Layout(tmp_path))
    assert problem.startswith("params.yaml: extensions: ")
    assert words in problem
    (tmp_path / "extensions").mkdir()
    assert extension_problems(sound(demo), Layout(tmp_path)) == []


def test_a_misspelt_group_is_told_the_feature(demo):
    params = sound(changed(demo, {"models.logmell": {}}))
    (problem,) = stage_problems(params, Layout(ROOT))
    assert problem.endswith(
        "models.logmell: there is no feature of that name; did you mean logmel?"
    )
