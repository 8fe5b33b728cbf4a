"""What each embedder makes of a segment is what its network makes of that part alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from earmark.checksums import sha256_of
from earmark.errors import UserError, WrongUse
from earmark.features import build
from earmark.inference.bundle import load
from earmark.inference.bundle_files import open_bundle
from earmark.inference.embedders import mean_embedding, of_tagger, of_weights
from earmark.networks import build as build_network
from earmark.sound.decoding import decode
from earmark.sound.samples import as_float
from earmark.sound.trimming import peak_normalise
from earmark.sound.unusable import UnusableAudio
from earmark.weights import save_tensors
from tests.inference.workspaces import sound
from tests.networks.small_networks import settle

# Network, its options, its type of feature with options, and the rate that it reads.
BACKBONES: dict[str, tuple[str, dict[str, Any], dict[str, Any], int]] = {
    "mn": ("mobilenet", {"width": 0.1}, {"type": "mn", "width": 0.1}, 32_000),
    "ced": ("ced", {"size": "tiny"}, {"type": "ced", "size": "tiny"}, 16_000),
    "yamnet": ("yamnet", {}, {"type": "yamnet"}, 16_000),
}


def save(folder: Path, name: str) -> Path:
    network_name, options, feature, _ = BACKBONES[name]
    torch.manual_seed(0)
    network = build_network(network_name, 4, options)
    front_end = build(f"{name}_logmel", {}, sample_rate=16_000)
    noise = np.random.default_rng(0).normal(0, 0.2, (4, 32_000)).astype(np.float32)
    settle(network, torch.from_numpy(np.stack([front_end(one) for one in noise])))
    noted = {"network": {"name": network_name, **options}, "feature": feature}
    save_tensors(folder / f"{name}.st", network.state_dict(), {"earmark": json.dumps(noted)})
    return folder / f"{name}.st"


def whole(embedder, path, **part):
    blocks = list(embedder.embed(path, **part))
    return tuple(np.concatenate(column) for column in zip(*blocks, strict=True))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_segment_is_the_mean_over_time_of_what_the_backbone_makes_of_it(name, tmp_path):
    weights, (_, _, feature, rate) = save(tmp_path, name), BACKBONES[name]
    path = sound(tmp_path / "a.wav", seconds=7.0, rate=44_100)
    values, starts, ends = whole(of_weights(weights, tmp_path, window=2.0, hop=1.5), path)
    assert starts.tolist() == [0, 1.5, 3, 4.5, 5]
    assert ends.tolist() == [2, 3.5, 5, 6.5, 7]
    options = {key: value for key, value in feature.items() if key != "type"}
    pinned = {"weights": str(weights), "weights_sha256": sha256_of(weights)}
    backbone = build(feature["type"], options | pinned, sample_rate=rate)
    waveform = as_float(np.asarray(decode(path, sample_rate=rate).waveform))
    for value, start, end in zip(values, starts, ends, strict=True):
        rows = backbone(waveform[round(start * rate) : round(end * rate)])
        np.testing.assert_allclose(value, rows.mean(axis=0), rtol=1e-3, atol=1e-4)
    assert np.ptp(values, axis=0).max() > 1e-2, "segments differ"


def test_many_segments_go_through_in_pieces(tmp_path):
    path = sound(tmp_path / "a.wav", seconds=45.0)
    embedder = of_weights(save(tmp_path, "mn"), tmp_path, window=3.0)
    lengths = [len(values) for values, _, _ in embedder.embed(path)]
    assert (sum(lengths), max(lengths)) == (15, 6)
    mean = whole(embedder, path)[0].mean(axis=0)
    np.testing.assert_allclose(mean_embedding(embedder, path), mean, rtol=1e-5, atol=1e-6)


def test_a_part_is_embedded_alone_and_keeps_its_times(tmp_path):
    embedder = of_weights(save(tmp_path, "mn"), tmp_path, window=1.0)
    path = sound(tmp_path / "a.wav", seconds=5.0, rate=32_000)
    every, part = whole(embedder, path), whole(embedder, path, start=2.0, end=4.0)
    assert (part[1].tolist(), part[2].tolist()) == ([2, 3], [3, 4])
    np.testing.assert_allclose(part[0], every[0][2:4], rtol=1e-4, atol=1e-6)
    with pytest.raises(UnusableAudio, match=r"has only 5\.00 s; correct --start"):
        whole(embedder, path, start=5.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0.0}, "--window 0.0: give a positive"),
        ({"hop": -1.0}, "--hop"),
        ({"window": 16.0}, "at most 15 s"),
        ({"activation": "relu"}, "--activation: is for VGGish"),
        ({"pca": Path("p")}, "--pca: is for VGGish"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, tmp_path):
    with pytest.raises(WrongUse, match=message):
        of_weights(save(tmp_path, "mn"), tmp_path, **options)


def test_a_taggers_segments_are_those_of_its_own_embed(exported, tmp_path):
    tagger = load(open_bundle(exported))
    path = sound(tmp_path / "a.wav", seconds=2.0)
    for member in ("", "second"):
        embedder = of_tagger(tagger, member=member, window=None, hop=None)
        values, starts, ends = whole(embedder, path)
        expected = tagger.embed(path, member=member)
        np.testing.assert_allclose(values, expected.values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose([starts, ends], [expected.starts, expected.ends])
        assert embedder.identity["member"] == (member or "first")
        assert embedder.identity["dims"] == values.shape[1]
    with pytest.raises(UserError, match="third gives no embeddings"):
        of_tagger(tagger, member="third", window=None, hop=None)


def test_a_taggers_segment_is_the_mean_of_its_crops(exported, tmp_path):
    tagger = load(open_bundle(exported))
    path = sound(tmp_path / "a.wav", seconds=2.0, rate=tagger.sample_rate)
    values, starts, _ = whole(of_tagger(tagger, window=0.5, hop=0.5), path)
    assert starts.tolist() == [0, 0.5, 1, 1.5]
    waveform = np.asarray(decode(path, sample_rate=tagger.sample_rate).waveform)
    network = tagger.embedding_network().tagger
    for value, start in zip(values, (starts * tagger.sample_rate).astype(int), strict=True):
        part = peak_normalise(waveform[start : start + tagger.sample_rate // 2])
        crops = network.input.covering_segments(part)
        assert len(crops) == 4
        expected = network.embeddings(network.input.stack(crops), tagger.device, batch_size=1)
        np.testing.assert_allclose(value, expected.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_a_recording_shorter_than_a_window_is_one_segment(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(800, 0.1) * np.tile([1, -1], 400), 16_000)
    for name in BACKBONES:
        _, starts, ends = whole(of_weights(save(tmp_path, name), tmp_path), tmp_path / "a.wav")
        assert (starts.tolist(), ends.tolist()) == ([0], [0.05])
