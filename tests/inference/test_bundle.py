"""An exported tagger: it answers as the workspace did, and no byte of it may be another one."""

import json
import shutil

import numpy as np
import pytest

import earmark
from earmark.errors import UserError
from earmark.inference.bundle import export
from earmark.inference.bundle_files import digest_of, open_bundle
from earmark.inference.workspace import ensemble_rules, load_ensemble
from earmark.records import read_json, write_json
from tests.inference.workspaces import RUNTIME, make_workspace, params_of, sound


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace and the bundle of it."""
    layout = make_workspace(tmp_path_factory.mktemp("workspace"))
    out = tmp_path_factory.mktemp("out") / "tagger"
    params = params_of(layout).model_copy(update={"runtime": RUNTIME})
    export(ensemble_rules(layout), params, layout, out)
    return layout, out, params


@pytest.fixture
def bundle(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made[1], tmp_path / "copy")


def test_the_bundle_answers_as_the_workspace_to_the_bit(made, bundle, tmp_path):
    layout, _, _ = made
    path = sound(tmp_path / "a.wav")
    ours, exported = load_ensemble(RUNTIME, layout), earmark.load(bundle)
    assert exported.tag(path) == ours.tag(path)
    a, b = ours.timeline(path), exported.timeline(path)
    np.testing.assert_array_equal(a.probabilities, b.probabilities)
    assert a.to_frame().equals(b.to_frame())
    assert exported.calibration() == ours.calibration()
    assert exported.calibration(exported.windows()).startswith("on segments of 80")


def test_it_says_what_it_is_and_where_it_is_from(bundle):
    content = read_json(bundle / "tagger.json")
    licences = content["corpus"]["licences"]
    assert {name: one["n_clips"] for name, one in licences.items()} == {"CC0 1.0": 2, "unknown": 4}
    assert not (bundle / "models" / "unused").exists()
    card = (bundle / "README.md").read_text()
    for part in ("bark, bell, cello, =cough", "map_at_3 out of fold: 0.800", "A program made them"):
        assert part in card
    assert content["rules"]["clip"]["calibration"] in card


FILES = ["models/first/0/weights.safetensors", "models/second/1/model.json", "README.md"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_changed_or_missing_file_is_refused_by_name(bundle, name, how):
    path = bundle / name
    if how == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: .*copy the whole bundle again"):
        earmark.load(bundle)


def test_a_changed_newer_or_absent_description_is_refused(bundle, tmp_path):
    content = json.loads((bundle / "tagger.json").read_text())
    content["rules"]["clip"]["temperature"] = 9.0
    write_json(bundle / "tagger.json", content)
    with pytest.raises(UserError, match=r"tagger\.json: not as it was written"):
        open_bundle(bundle)
    write_json(bundle / "tagger.json", content | {"format": 99})
    with pytest.raises(UserError, match="format 99, not 1; install a newer earmark"):
        open_bundle(bundle)
    for wrong in ("2", None, True):
        write_json(bundle / "tagger.json", content | {"format": wrong})
        with pytest.raises(UserError, match=f"format {wrong}, not 1; export it again"):
            open_bundle(bundle)
    less = {"format": 1, "files": {}}
    write_json(bundle / "tagger.json", less | {"digest": digest_of(less)})
    with pytest.raises(UserError, match=r"tagger\.json: not as it was written"):
        open_bundle(bundle)
    (bundle / "tagger.json").write_text('{"format"')
    with pytest.raises(UserError, match="cannot be read"):
        open_bundle(bundle)
    with pytest.raises(UserError, match="no tagger in it"):
        open_bundle(tmp_path)


def test_a_device_is_checked_when_a_bundle_is_loaded(bundle, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device 'gpu': is not known; give auto, cpu, cuda"):
        earmark.load(bundle, device="gpu")
    with pytest.raises(UserError, match="device 'cuda': is not available here"):
        earmark.load(bundle, device="cuda")


def test_a_bundle_that_was_trained_on_a_gpu_tags_without_one(made, tmp_path, monkeypatch):
    layout, _, params = made
    runtime = RUNTIME.model_copy(update={"device": "cuda"})
    out = tmp_path / "of_a_gpu"
    export(ensemble_rules(layout), params.model_copy(update={"runtime": runtime}), layout, out)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert earmark.load(out).tag(sound(tmp_path / "a.wav")).probabilities


def test_nothing_is_overwritten_but_a_bundle_on_request(made, bundle, tmp_path):
    layout, _, params = made
    rules = ensemble_rules(layout)
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is there and no bundle; nothing is overwritten"):
        export(rules, params, layout, other, overwrite=True)
    with pytest.raises(UserError, match="pass --overwrite"):
        export(rules, params, layout, bundle)
    export(rules, params, layout, bundle, overwrite=True)
    assert (other / "thesis.txt").read_text() == "years of work"


def test_a_damaged_network_is_not_exported(made, tmp_path):
    _, _, params = made
    layout = make_workspace(tmp_path / "other")
    path = layout.model("first", "1") / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    for message in ("damaged .not the weights that were written", "does not exist"):
        with pytest.raises(UserError, match=rf"first/1/weights\.safetensors: {message}"):
            export(ensemble_rules(layout), params, layout, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        path.unlink(missing_ok=True)


def test_a_network_of_the_workspaces_own_code_is_refused_before_anything_is_written(made, tmp_path):
    _, _, params = made
    layout = make_workspace(tmp_path / "other")
    path = layout.model("first", "1") / "model.json"
    description = read_json(path)
    name = "extensions.mine:Net"
    write_json(path, description | {"network": {**description["network"], "name": name}})
    with pytest.raises(UserError, match=r"extensions\.mine:Net: a network of this workspace"):
        export(ensemble_rules(layout), params, layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()
