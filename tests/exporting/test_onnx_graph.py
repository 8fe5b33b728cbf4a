"""ONNX graphs give the probabilities of torch, whatever the network, feature, length and batch."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from earmark.errors import UserError
from earmark.exporting.cropping import covering_crops
from earmark.exporting.front_ends import rows_of
from earmark.exporting.graph import Graph
from earmark.exporting.onnx_graph import export
from earmark.exporting.resampling import resampled
from earmark.features import build
from earmark.sound.samples import as_float, resample
from earmark.taggers.input import FusionInput
from tests.exporting.small_taggers import (
    LOGMEL,
    MFCC,
    RATE,
    TAGS,
    Trained,
    attention,
    baseline,
    compact,
    input_of,
    on_samples,
    sound,
    trained,
)
from tests.waveforms import noise


def session(model) -> onnxruntime.InferenceSession:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def assert_equal(one: Trained, folder: Path, lengths: list[int]) -> None:
    """Of each length a batch of two unlike clips.

    Within 1e-4: random networks make more of a float's rounding than trained ones (docs/onnx.md).
    """
    info = export(one.tagger, one.extractor, folder / "a.onnx", front_end="stft", details={})
    graph = session(info.path.read_bytes())
    for length in lengths:
        rate = info.metadata["sample_rate"]
        clips = [sound(length / rate, rate), noise(length)]
        batch = np.stack([as_float(clip) for clip in clips])
        found = graph.run(None, {"waveform": batch})[0]
        expected = np.stack([one.probabilities(clip) for clip in clips])
        assert np.abs(expected[0] - expected[1]).max() > 1e-2  # else nothing is compared
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow  # PyTorch takes seconds to trace a network of several layers
def test_a_network_on_frames_takes_the_mean_of_all_crops_of_all_lengths(tmp_path):
    assert_equal(compact([50, 80]), tmp_path, [79 * 160, 30_001])


@pytest.mark.slow
def test_a_network_on_samples_gives_the_probabilities_of_torch(tmp_path):
    assert_equal(on_samples(RATE), tmp_path, [5000, 22_222])


@pytest.mark.slow
def test_a_network_on_embeddings_brings_its_extractor(tmp_path):
    assert_equal(attention(2), tmp_path, [8000, 80_000])  # the first is repeated to 0.975 s


@pytest.mark.parametrize("pooling", ["mean", "mean_max", "statistics", "modulation"])
def test_a_linear_layer_on_a_whole_clip_gives_the_probabilities_of_torch(tmp_path, pooling):
    assert_equal(baseline(pooling), tmp_path, [3000, 40_000])  # 19 rows, and several windows


@pytest.mark.slow
def test_cepstra_and_several_tags_of_a_clip(tmp_path):
    mfcc = input_of("mfcc", MFCC, [40], silence=0.0, mean=[-5.0] * 20, std=[30.0] * 20)
    one = trained("compact_cnn", {"base_width": 4}, mfcc, activation="sigmoid")
    assert_equal(one, tmp_path, [10_000])


def test_a_clip_has_the_same_probabilities_alone_and_in_a_batch(tmp_path):
    one, clips = baseline("mean_max"), np.stack([as_float(noise(RATE)), as_float(sound(1.0))])
    info = export(one.tagger, None, tmp_path / "a.onnx", front_end="stft", details={})
    graph = session(info.path.read_bytes())
    together, alone = (graph.run(None, {"waveform": x})[0] for x in (clips, clips[1:]))
    np.testing.assert_allclose(together[1], alone[0], atol=1e-6)


@pytest.mark.slow
def test_the_file_describes_itself_and_names_no_path_of_this_machine(tmp_path):
    one, details = compact([50]), {"temperature": 0.5}
    info = export(one.tagger, None, tmp_path / "a.onnx", front_end="stft", details=details)
    content = info.path.read_bytes()
    about = session(content).get_modelmeta().custom_metadata_map["earmark"]
    metadata = json.loads(about)
    assert metadata == info.metadata
    assert metadata["tags"] == TAGS
    assert metadata["sample_rate"] == RATE
    assert metadata["segment_samples"] == 49 * 160
    assert metadata["aggregation"] == "mean"
    assert metadata["temperature"] == 0.5
    assert info.n_bytes == len(content)
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content


@pytest.mark.parametrize("padding", ["right", "tile", "random", "tile_gap"])
@pytest.mark.parametrize("n_rows", [1, 7, 10, 11, 20, 25])
def test_crops_are_those_that_cover_a_clip(padding, n_rows):
    input_ = input_of("logmel", LOGMEL, [10], padding=padding)
    graph = Graph()
    rows = graph.input("rows", np.float32, ["batch", "rows", 40])
    crops = covering_crops(graph, rows, input_, 10, row_shape=(40,))
    graph.output("crops", crops, np.float32, ["crops", 10, 40])
    x = np.random.default_rng(0).normal(size=(2, n_rows, 40)).astype(np.float32)
    found = session(graph.model({})).run(None, {"rows": x})[0]
    expected = [crop for clip in x for crop in input_.covering_segments(clip)]
    np.testing.assert_array_equal(found, np.stack(expected))


@pytest.mark.parametrize("to_hz", [16_000, 32_000, 22_050])
def test_resampling_is_that_of_soxr_to_the_ends(to_hz):
    for n_samples in (3, 50, 1001, 44_117):
        graph = Graph()
        waveform = graph.input("waveform", np.float32, ["batch", "samples"])
        result = resampled(graph, waveform, from_hz=44_100, to_hz=to_hz)
        graph.output("resampled", result, np.float32, ["batch", "samples at the new rate"])
        x = as_float(noise(n_samples))
        found = session(graph.model({})).run(None, {"waveform": x[np.newaxis]})[0][0]
        expected = resample(x, from_hz=44_100, to_hz=to_hz)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_samples_at_another_rate_are_rounded_as_they_are_stored():
    feature = build("waveform", {"target_hz": RATE}, sample_rate=44_100)
    graph = Graph()
    waveform = graph.input("waveform", np.float32, ["batch", "samples"])
    graph.output("rows", rows_of(graph, waveform, feature, "stft"), np.float32, ["batch", "rows"])
    x = np.sign(noise(44_100)).astype(np.float32)  # what comes of it is beyond full scale
    found = session(graph.model({})).run(None, {"waveform": x[np.newaxis]})[0][0]
    expected = feature(x).astype(np.float32)
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 0.01  # where a rounding decides
    assert found.min() == -32_768
    assert found.max() == 32_767


FEATURES = {"logmel": LOGMEL, "mfcc": MFCC, "patches": {}, "mn_logmel": {}}


@pytest.mark.parametrize("front_end", ["stft", "conv"])
@pytest.mark.parametrize("type_name", list(FEATURES))
def test_frames_are_those_of_the_feature(type_name, front_end):
    feature = build(type_name, FEATURES[type_name], sample_rate=RATE)
    graph = Graph()
    waveform = graph.input("waveform", np.float32, ["batch", "samples"])
    rows = rows_of(graph, waveform, feature, front_end)
    graph.output("rows", rows, np.float32, ["batch", "rows", *feature.row_shape])
    model = graph.model({})
    assert ("STFT" in {node.op_type for node in model.graph.node}) == (front_end == "stft")
    x = as_float(sound(2.5))
    found = session(model).run(None, {"waveform": x[np.newaxis]})[0][0]
    np.testing.assert_allclose(found, feature(x), atol=2e-3)  # dB, of bands 60 dB below the tone


def test_what_cannot_be_exported_says_so_in_one_line(tmp_path):
    ced = trained("compact_cnn", {"base_width": 4}, input_of("ced_logmel", {}, [100])).tagger
    with pytest.raises(UserError, match=r"CedLogMel cannot be exported to ONNX .*leave this model"):
        export(ced, None, tmp_path / "a.onnx", front_end="stft", details={})
    audio = on_samples(RATE).tagger.input
    both = FusionInput(**compact([50]).tagger.input.__dict__, audio=audio, hop_length=160)
    fusion = replace(compact([50]).tagger, input=both)
    with pytest.raises(UserError, match="reads two features at once"):
        export(fusion, None, tmp_path / "a.onnx", front_end="stft", details={})
    assert not list(tmp_path.iterdir())
