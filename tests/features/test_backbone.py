"""Frozen networks as features: rows over time, windows of long recordings, and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from earmark.checksums import sha256_of
from earmark.errors import UserError
from earmark.features import FEATURE_TYPES, build, find
from earmark.features.backbone import Backbone
from earmark.features.extraction import extract
from earmark.networks import build as build_network
from earmark.seeding import rng_for
from earmark.sound.samples import as_float
from earmark.weights import save_tensors
from tests.networks.small_networks import settle

# The options of each, rows of a second and a half, and dims. CNN14 has 80 million parameters, and
# is tested by itself.
SMALL: dict[str, tuple[dict[str, Any], int, int]] = {
    "mn": ({"width": 0.1}, 5, 96),
    "ced": ({"size": "tiny"}, 9, 192),
    "yamnet": ({}, 3, 1024),
}
EVERY = pytest.mark.parametrize("type_", SMALL)
RATE = 16_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """The weights of each, and their sha256."""
    folder, made = tmp_path_factory.mktemp("weights"), {}
    for type_, (options, _, _) in SMALL.items():
        class_ = find(type_)
        assert issubclass(class_, Backbone)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = class_.network(7, **options)
            front_end = build(f"{type_}_logmel", {}, sample_rate=RATE)
            heard = np.stack([front_end(as_float(noise(2, seed=i))) for i in range(4)])
            settle(network, torch.from_numpy(heard))
        path = folder / f"{type_}.safetensors"
        save_tensors(path, network.state_dict())
        made[type_] = (str(path), sha256_of(path))
    return made


def made(type_: str, files: dict[str, tuple[str, str]], **changes: Any) -> Backbone:
    weights, sha256 = files[type_]
    options = SMALL[type_][0] | {"weights": weights, "weights_sha256": sha256} | changes
    feature = build(type_, options, sample_rate=RATE)
    assert isinstance(feature, Backbone)
    return feature


def noise(seconds: float, *, seed: int = 0) -> np.ndarray:
    values = rng_for(seed, "backbone").standard_normal(round(seconds * RATE))
    return (3000 * values).clip(-32_768, 32_767).astype(np.int16)


def test_every_backbone_is_tested() -> None:
    backbones = {type_ for type_ in FEATURE_TYPES if issubclass(find(type_), Backbone)}
    assert backbones == {*SMALL, "cnn14"}


@EVERY
def test_rows_are_what_the_network_makes_of_the_front_end(
    type_: str, files: dict[str, tuple[str, str]]
) -> None:
    feature, waveform = made(type_, files), as_float(noise(1.5))
    _, n_rows, dims = SMALL[type_]
    rows = feature(waveform)
    assert rows.shape == (n_rows, dims)
    assert feature.row_shape == feature.silence.shape == (dims,)
    assert rows.dtype == np.float32
    assert rows.std(axis=0).mean() > 0.01
    network = feature.network(7, **feature.network_options)
    network.load_state_dict(load_file(files[type_][0]))
    heard = torch.from_numpy(feature.front_end(waveform))[None]
    with torch.inference_mode():
        expected = network.eval().forward_features(heard)[0].numpy()
    np.testing.assert_allclose(rows.mean(axis=0), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize(("seconds", "n_windows"), [(14.9, 1), (15.1, 2), (31.0, 3)])
def test_a_long_recording_is_embedded_in_equal_windows(
    type_: str, files: dict[str, tuple[str, str]], seconds: float, n_windows: int
) -> None:
    feature, waveform = made(type_, files), noise(seconds)
    windows = np.array_split(waveform, n_windows)
    assert {len(window) for window in windows} <= {len(windows[0]), len(windows[0]) - 1}
    blocks = list(feature.blocks(waveform))
    assert len(blocks) == n_windows
    ends = np.linspace(0, len(waveform), n_windows + 1).round().astype(int)
    for i, block in enumerate(blocks):
        alone = feature(as_float(waveform[ends[i] : ends[i + 1]]))
        np.testing.assert_array_equal(block, alone)
    np.testing.assert_array_equal(
        extract(waveform, feature), np.concatenate(blocks).astype(np.float16)
    )


@EVERY
def test_the_shortest_clip_has_a_row(type_: str, files: dict[str, tuple[str, str]]) -> None:
    rows = made(type_, files)(as_float(noise(0.002)))
    assert len(rows) >= 1
    assert np.isfinite(rows).all()


@EVERY
def test_networks_that_read_embeddings_read_it(type_: str) -> None:
    assert find(type_).kind == "embedding"


def test_other_weights_than_the_pinned_ones_are_refused(
    files: dict[str, tuple[str, str]],
) -> None:
    with pytest.raises(UserError, match="sha256 is"):
        made("mn", files, weights_sha256="0" * 64)(as_float(noise(1)))
    with pytest.raises(UserError, match="does not fit the network"):
        made("mn", files, width=0.4)(as_float(noise(1)))


def test_another_size_of_ced_is_refused_by_name(files: dict[str, tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"^size: 'huge'; choose one of tiny, mini, small, base"):
        made("ced", files, size="huge")


@pytest.mark.slow
def test_cnn14_makes_one_row_of_each_window(tmp_path: Path) -> None:
    path = tmp_path / "cnn14.safetensors"
    save_tensors(path, build_network("cnn14", 7, {}).state_dict())
    options = {"target_hz": 16_000, "weights": str(path), "weights_sha256": sha256_of(path)}
    feature = build("cnn14", options, sample_rate=RATE)
    assert [block.shape for block in feature.blocks(noise(16))] == [(1, 2048), (1, 2048)]
