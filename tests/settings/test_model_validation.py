"""Models that cannot be built, or cannot read the segments of their feature, are refused."""

from pathlib import Path

import pytest
import torch

from earmark.layout import Layout
from earmark.params.reading import parse_params
from earmark.settings.model_validation import weight_problems, weight_warnings
from earmark.weights import save_tensors
from tests.params.raw_params import (
    ATTENTION,
    DENSENET,
    MISSING,
    SAMPLECNN,
    assert_one_problem,
    changed,
    problems_with,
    profile,
    sound,
)

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{DENSENET}.network.name": "densent"}, [f"{DENSENET}.network.name", "densenet"]),
        (
            {f"{DENSENET}.network.name": "samplecnn"},
            [f"{DENSENET}.network.name: samplecnn does not read logmel", "type waveform"],
        ),
        ({f"{DENSENET}.network.growht": 8}, [f"{DENSENET}.network:", "'growht'", "growth"]),
        ({f"{DENSENET}.network.growth": "8"}, [f"{DENSENET}.network:", "growth", "int", "'8'"]),
        ({f"{DENSENET}.network.growth": 0}, [f"{DENSENET}.network.growth", "0; it must be from 1"]),
        ({f"{DENSENET}.network.growth": -1}, [f"{DENSENET}.network.growth", "from 1"]),
        ({"extractors.vggish.network.name": "densenet"}, ["vggish.network.name", "use vggish"]),
        ({f"{DENSENET}.training.frozen": ["stem"]}, ["training.frozen", "'stem'", "features.0"]),
        (
            {f"{DENSENET}.training.mixup_at": "waveform", "features.logmel.type": "mfcc"}
            | {"features.logmel.n_mfcc": 40},
            [f"{DENSENET}.training.mixup_at: mfcc cannot be augmented so", "set it to features"],
        ),
        ({f"{ATTENTION}.training.mixup_at": "waveform"}, [f"{ATTENTION}.training.mixup_at"]),
        (
            {f"{SAMPLECNN}.training.mask_frames": 9},
            [f"{SAMPLECNN}.training.mask_frames: waveform cannot be augmented so; set it to 0"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_misfit_is_one_line_with_key_and_fix(demo, changes, words):
    assert_one_problem(changed(demo, changes), *words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {f"{DENSENET}.input": {"segment_samples": 88200}},
            [f"{DENSENET}.input.segment_samples", "logmel needs segment_seconds; give that"],
        ),
        (
            {f"{SAMPLECNN}.input.segment_seconds": 1.0},
            [f"{SAMPLECNN}.input.segment_seconds", "waveform needs segment_samples; give that"],
        ),
        (
            {f"{ATTENTION}.input": {"segment_seconds": 2.0}},
            [f"{ATTENTION}.input.segment_seconds", "embedding needs segment_patches; give that"],
        ),
        ({f"{DENSENET}.input": {}}, [f"{DENSENET}.input.segment_seconds: missing; add it"]),
        (
            {f"{SAMPLECNN}.input.segment_samples": 9},
            [f"{SAMPLECNN}.input.segment_samples: ", "19683", "make the segment fit"],
        ),
        (
            {f"{DENSENET}.input.lengths": [1.0, 0.05]},
            [f"{DENSENET}.input.segment_seconds", "16 frames"],
        ),
        (
            {f"{ATTENTION}.input.segment_patches": "all"},
            [f"{ATTENTION}.input.segment_patches: multilevel_attention reads no whole clips"],
        ),
        (
            {f"{ATTENTION}.network": {"name": "lstm"}}
            | {f"{ATTENTION}.input": {"segment_patches": "all", "lengths": [1.0]}},
            [f"{ATTENTION}.input.lengths: there is one length"],
        ),
        (
            {f"{SAMPLECNN}.input.lengths": [1.0, 2.0]},
            [f"{SAMPLECNN}.input.segment_samples", "19683"],
        ),
        (
            {"extractors.vggish.network.embedding_dim": 64},
            [f"{ATTENTION}.network.n_inputs (extractor vggish): 128; set it to 64"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_segment_that_the_network_cannot_read_is_refused(demo, changes, words):
    assert_one_problem(changed(demo, changes), *words)


def test_unsound_training_values_are_reported_once_and_the_model_is_still_checked(demo):
    changes = {f"{DENSENET}.training": {"epochs": "x"}, f"{DENSENET}.network.growth": 0}
    problems = problems_with(changed(demo, changes))
    keys = [f"{DENSENET}.training.epochs", f"{DENSENET}.network.growth"]
    assert [line.split(": ")[1] for line in problems] == keys


def test_weights_that_are_missing_or_changed_are_refused_by_key(demo, tmp_path):
    given = {"weights": "w.safetensors", "weights_sha256": "0" * 64}
    start = {"init_from": "w.safetensors", "init_sha256": "0" * 64}
    raw = changed(demo, {f"extractors.vggish.{key}": value for key, value in given.items()})
    params = sound(changed(raw, {f"{DENSENET}.training": start}))
    keys = [
        f"{DENSENET}.training.init_from: ",
        "extractors.vggish.weights: ",
    ]
    for content in (None, b"other"):
        if content:
            (tmp_path / "w.safetensors").write_bytes(content)
        lines = weight_problems(params, Layout(tmp_path))
        assert len(lines) == len(keys)
        for line, key in zip(lines, keys, strict=True):
            assert line.startswith(f"params.yaml: {key}")
            assert "w.safetensors" in line


def test_a_file_without_a_sha256_is_told_only_if_it_is_no_weights(demo, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"other")
    raw = changed(demo, {f"{DENSENET}.training": {"init_from": "w.safetensors"}})
    params, problems = parse_params(raw, "params.yaml")
    assert params is not None
    assert len(problems) == 1
    (line,) = weight_problems(params, Layout(tmp_path))
    assert "no safetensors file" in line
    save_tensors(tmp_path / "w.safetensors", {"a": torch.zeros(1)})
    assert weight_problems(params, Layout(tmp_path)) == []


LINEAR = {"name": "linear", "n_inputs": 80, "pooling": "statistics"}


def test_a_linear_network_reads_whole_clips_of_frames_and_of_embeddings(demo):
    changes = {
        f"{DENSENET}.network": LINEAR,
        f"{DENSENET}.input": {"segment_seconds": "all"},
        f"{ATTENTION}.network": {"name": "linear"},
        f"{ATTENTION}.input": {"segment_patches": "all"},
    }
    assert problems_with(changed(demo, changes)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {f"{DENSENET}.input": {"segment_seconds": "all"}},
            [f"{DENSENET}.input.segment_seconds: densenet reads no whole clips; give a number"],
        ),
        (
            {f"{DENSENET}.network": LINEAR | {"n_inputs": 64}},
            [f"{DENSENET}.network.n_inputs: 64; set it to 80, the values of a row of logmel"],
        ),
        (
            {f"{DENSENET}.network": LINEAR}
            | {f"{DENSENET}.input": {"segment_seconds": "all", "lengths": [1.0]}},
            [f"{DENSENET}.input.lengths: there is one length"],
        ),
        (
            {f"{ATTENTION}.network": LINEAR | {"n_inputs": 128}},
            [f"{ATTENTION}.network.pooling: statistics are of spectra", "set it to mean or mean_"],
        ),
        ({f"{DENSENET}.input.segment_seconds": "some"}, [f"{DENSENET}.input.segment_seconds"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_linear_network_that_does_not_fit_is_one_line(demo, changes, words):
    assert_one_problem(changed(demo, changes), *words)


def test_an_lstm_reads_whole_clips(demo):
    changes = {
        f"{ATTENTION}.network": {"name": "lstm"},
        f"{ATTENTION}.input": {"segment_patches": "all"},
    }
    assert problems_with(changed(demo, changes)) == []


def test_fixed_weights_that_are_trained_are_warned_of_and_named_once():
    chen = profile("chen2018")
    given = {"model.init_from": "w.safetensors", "model.init_sha256": "0" * 64}
    trained = {"models.patches.cbir_3.network.frozen": False}
    assert weight_warnings(sound(changed(chen, trained))) == []
    assert weight_warnings(sound(changed(chen, given))) == []
    (warning,) = weight_warnings(sound(changed(chen, given | trained)))
    assert "models.patches.cbir_3: the layers from vggish are trained" in warning
    assert "Chen & Gupta, section 1.3" in warning
    lines = weight_problems(sound(changed(chen, given)), Layout(Path("nowhere")))
    assert len(lines) == 4, "all four start from it"


def test_a_missing_network_is_asked_for(demo):
    assert_one_problem(changed(demo, {f"{DENSENET}.network": MISSING}), "network: missing")


OWN_NETWORK = """
from torch import nn
from earmark.networks import Network


class Own(Network):
    feature_types = frozenset({"logmel"})

    def __init__(self, n_tags, *, units=4):
        super().__init__()
        self.head = nn.Linear(80, n_tags)

    def forward_features(self, x):
        return x.mean(1)  # (B, M)
"""


@pytest.mark.parametrize(("extensions", "problems"), [("mine", 0), ("extensions", 1)])
def test_a_network_of_ones_own_must_be_in_the_folder_that_is_tracked(
    demo, tmp_path, monkeypatch, extensions, problems
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.py").write_text(OWN_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    network = {"name": "mine.net:Own", "units": 2}
    raw = changed(demo, {f"{DENSENET}.network": network, "extensions": extensions})
    found = problems_with(raw)
    assert len(found) == problems
    assert all("changes in mine/ would not be tracked; set extensions: mine" in f for f in found)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("def (", ["net.py, line 15: invalid syntax; correct it"]),
        ("import nowhere_to_be_found", ["No module named", "nowhere_to_be_found"]),
        ("Own.forward_head = lambda self, x: self.lost(x)", ["AttributeError", "lost"]),
    ],
)
def test_a_fault_in_a_network_of_ones_own_is_one_line(demo, tmp_path, monkeypatch, fault, words):
    package = f"own{abs(hash(fault))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "net.py").write_text(f"{OWN_NETWORK}{fault}\n")
    monkeypatch.syspath_prepend(tmp_path)
    network = {"name": f"{package}.net:Own"}
    raw = changed(demo, {f"{DENSENET}.network": network, "extensions": package})
    assert_one_problem(raw, f"{DENSENET}.", *words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": {"name": "densent"}}, [".network.name", "densenet"]),
        ({"network": {"name": "samplecnn"}}, [".network.name: samplecnn does not read logmel"]),
        ({"input": {"segment_samples": 88200}}, [".input.segment_samples", "needs segment_sec"]),
        ({"training": {"frozen": ["stem"]}}, [".training.frozen", "features.0"]),
        (
            {"network": {"name": "linear", "n_inputs": 80, "pooling": "statistics"}},
            [".network.name: linear is fitted at once; take one", "compact_cnn"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_student_is_checked_as_any_model_is(demo, changes, words):
    entry = {
        **demo["models"]["logmel"]["densenet_logmel"],
        "teacher_weight": 0.7,
        "made_clips": 0,
        **changes,
    }
    raw = changed(demo, {"student": {"logmel": entry}})
    assert_one_problem(raw, f"student.logmel{words[0]}", *words[1:])
