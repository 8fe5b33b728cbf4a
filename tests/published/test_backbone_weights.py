"""Published networks that learned AudioSet: what `convert` makes of their files, good and bad."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor

from earmark.errors import UserError
from earmark.features import build as build_feature
from earmark.networks import Network, build
from earmark.published.weights.conversion import Conversion, convert
from earmark.weights import load_weights
from tests.published.backbone_files import (
    State,
    ced_state,
    cnn14_state,
    mobilenet_state,
    yamnet_state,
)


def mn_state() -> State:
    return mobilenet_state(build("mobilenet", 1, {"width": 0.1}).state_dict(), n_hidden=128)


def saved(path: Path, state: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path, {"format": "pt"})
    else:
        torch.save(state, path)
    return path


def converted(source: Path, n_tags: int) -> tuple[Conversion, Network]:
    """The conversion, and the whole network with its weights."""
    out = source.with_name("out.safetensors")
    done = convert(source, out)
    network = build(done.network, n_tags, done.options)
    assert load_weights(network, out, done.sha256) == []
    return done, network.eval()


def refusal(source: Path) -> str:
    with pytest.raises(UserError) as refused:
        convert(source, source.with_name("refused.safetensors"))
    (line,) = refused.value.problems
    assert "\n" not in line
    return line


def chirp(rate: int) -> np.ndarray:
    seconds = np.arange(rate) / rate
    hiss = np.random.default_rng(0).uniform(-1, 1, rate)
    swept = 0.5 * np.sin(2 * np.pi * (200 * seconds + 1500 * seconds**2))
    return (swept + 0.01 * hiss).astype(np.float32)


# The expected values of CNN14 and YAMNet are those of the packages panns_inference 0.1.1 (its
# Cnn14 with its own ConvBlocks of fewer channels in it) and torch_vggish_yamnet 0.2.1 on the same
# weights and the same sound.


@pytest.mark.parametrize(
    ("rate", "window", "features", "logits"),
    [
        (
            32_000,
            1024,
            [34.320396, 50.776371, 14.347688, 25.591885, 5.568688, 28.337908],
            [-43.074757, 1.214764, -66.395782, 12.416021, 9.50616],
        ),
        (
            16_000,
            512,
            [30.864338, 45.416103, 12.70865, 23.220493, 7.655836, 23.179199],
            [-34.667805, 2.041109, -60.574917, 12.18118, 6.978486],
        ),
    ],
)
def test_cnn14_computes_what_panns_inference_does(
    tmp_path: Path, rate: int, window: int, features: list[float], logits: list[float]
) -> None:
    sampler = {"indexes": np.arange(3), "pointer": 2}  # as the 16 kHz file has one beside
    whole = {"iteration": 7, "model": cnn14_state(width=4, window=window), "sampler": sampler}
    done, network = converted(saved(tmp_path / "Cnn14.pth", whole), 5)
    assert (done.network, done.options) == ("cnn14", {"width": 1 / 16})
    assert done.feature == {"type": "cnn14", "target_hz": rate}
    front_end = build_feature("panns_logmel", {"target_hz": rate}, sample_rate=rate)
    with torch.inference_mode():
        found = network.forward_features(torch.from_numpy(front_end(chirp(rate)))[None])
        found_logits = network.forward_head(found)[0]
    found = found[found > 0]
    assert len(found) == 65
    np.testing.assert_allclose(found[:6], features, rtol=1e-4)
    np.testing.assert_allclose(found_logits, logits, rtol=1e-3, atol=1e-3)


def test_yamnet_computes_what_its_port_does(tmp_path: Path) -> None:
    done, network = converted(saved(tmp_path / "yamnet.pth", yamnet_state()), 521)
    assert (done.network, done.options, done.feature) == ("yamnet", {}, {"type": "yamnet"})
    rows = torch.from_numpy(np.random.default_rng(0).uniform(-6, 1, (1, 144, 64))).float()
    with torch.inference_mode():
        patches = network.features_over_time(rows)[0]
        logits = network.forward_head(patches)
    found = [patch[patch > 0][:4].tolist() for patch in patches]
    features = [
        [0.399194, 5.389303, 3.61318, 0.078153],
        [0.595934, 5.519048, 2.976195, 0.313262],
    ]
    np.testing.assert_allclose(found, features, rtol=1e-4)
    expected = [
        [-4.810825, -4.583487, -5.913013, 6.656373],
        [-4.827047, -4.956788, -5.520402, 6.77173],
    ]
    np.testing.assert_allclose(logits[:, :4], expected, rtol=1e-4)


def plain_ced(state: State, rows: Tensor, *, n_heads: int) -> Tensor:
    """The mean token of log-mel frames (N, 64), with PyTorch's own transformer layer."""
    own = {key.removeprefix("encoder."): value for key, value in state.items()}
    dims = len(own["norm.weight"])
    x = torch.nn.functional.batch_norm(
        rows,
        own["init_bn.running_mean"],
        own["init_bn.running_var"],
        own["init_bn.weight"],
        own["init_bn.bias"],
    )
    patches = x.T.unfold(0, 16, 16).unfold(1, 16, 16)  # (4, S, 16 bands, 16 frames)
    kernels = own["patch_embed.proj.weight"].flatten(1)
    tokens = patches.flatten(2) @ kernels.T + own["patch_embed.proj.bias"]
    times = own["time_pos_embed"][0, :, 0, : patches.shape[1]].T  # (S, D)
    frequencies = own["freq_pos_embed"][0, :, :, 0].T  # (4, D)
    tokens = (tokens + times[None] + frequencies[:, None]).flatten(0, 1)[None]
    for i in range(sum(key.endswith("norm1.weight") for key in own)):
        layer = torch.nn.TransformerEncoderLayer(
            dims,
            n_heads,
            4 * dims,
            activation="gelu",
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        ).eval()
        names = {
            "self_attn.in_proj_": "attn.qkv.",
            "self_attn.out_proj.": "attn.proj.",
            "linear1.": "mlp.fc1.",
            "linear2.": "mlp.fc2.",
            "norm1.": "norm1.",
            "norm2.": "norm2.",
        }
        layer.load_state_dict(
            {
                f"{theirs}{part}": own[f"blocks.{i}.{ours}{part}"]
                for theirs, ours in names.items()
                for part in ("weight", "bias")
            }
        )
        tokens = layer(tokens)
    last = torch.nn.functional.layer_norm(
        tokens, (dims,), own["norm.weight"], own["norm.bias"], 1e-6
    )
    return last[0].mean(dim=0)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "dims"), [("tiny", 192), ("mini", 256)])
def test_ced_computes_what_plain_transformer_layers_do(
    tmp_path: Path, size: str, dims: int
) -> None:
    state = ced_state(dims=dims)
    done, network = converted(saved(tmp_path / "model.safetensors", state), 5)
    assert done.form == "safetensors file"
    assert done.options == ({} if size == "tiny" else {"size": size})
    assert done.feature == {"type": "ced", "size": size}
    rows = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (90, 64))).float()
    with torch.inference_mode():
        features = network.forward_features(rows[None])
        logits = network.forward_head(features)[0]
        expected = plain_ced(state, rows, n_heads=dims // 64)
    torch.testing.assert_close(features[0], expected, rtol=1e-4, atol=1e-4)
    normalised = torch.nn.functional.layer_norm(
        expected, (dims,), state["outputlayer.0.weight"], state["outputlayer.0.bias"]
    )
    weight, bias = state["outputlayer.1.weight"], state["outputlayer.1.bias"]
    torch.testing.assert_close(logits, weight @ normalised + bias, rtol=1e-3, atol=1e-3)


def test_a_mobilenet_keeps_its_features_and_its_head(tmp_path: Path) -> None:
    state = mn_state()
    done, _ = converted(saved(tmp_path / "mn01_as_mAP_298.pt", state), 5)
    assert (done.network, done.options) == ("mobilenet", {"width": 0.1})
    assert done.feature == {"type": "mn", "width": 0.1}
    tensors = load_file(tmp_path / "out.safetensors")
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(tensors) == len(kept)
    for key, values in kept.items():
        ours = key.replace("classifier.2", "head.0").replace("classifier.5", "head.3")
        np.testing.assert_array_equal(tensors[ours], values.numpy())


def test_the_last_lines_say_where_params_yaml_names_the_file(tmp_path: Path) -> None:
    source = saved(tmp_path / "mn01_as_mAP_298.pt", mn_state())
    out = tmp_path / "mn01_as.safetensors"
    done = convert(source, out)
    assert done.lines(source, out)[2:] == [
        "frozen: params.yaml, features.<name>: "
        f"{{type: mn, width: 0.1, weights: {out}, weights_sha256: {done.sha256}}}",
        "to train it further: a model of a feature of type mn_logmel, network: "
        f"{{name: mobilenet, width: 0.1}}, init_from: {out}, init_sha256: {done.sha256}",
    ]
    options = {"width": 0.1, "weights": str(out), "weights_sha256": done.sha256}
    rows = build_feature("mn", options, sample_rate=32_000)(chirp(32_000))
    assert rows.shape == (4, 96)


# What is refused

STATES = {
    "mn.pt": mn_state,
    "ced.safetensors": ced_state,
    "cnn14.pth": lambda: cnn14_state(width=4),
    "yamnet.pth": lambda: yamnet_state(width=4),
}
EVERY = pytest.mark.parametrize("name", STATES)


@EVERY
def test_a_tensor_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    state = STATES[name]()
    key = next(key for key in state if key.endswith("running_mean"))
    del state[key]
    line = refusal(saved(tmp_path / name, state))
    assert "running_mean is missing, where" in line


@EVERY
def test_a_tensor_of_another_shape_is_named(tmp_path: Path, name: str) -> None:
    state = STATES[name]()
    key = next(key for key in state if key.endswith("running_var"))
    state[key] = state[key][1:].clone()
    assert "running_var is (" in refusal(saved(tmp_path / name, state))


@EVERY
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, name: str) -> None:
    state = STATES[name]()
    state[list(state)[-1]][0] = torch.nan  # of the head
    assert "holds NaN or infinity" in refusal(saved(tmp_path / name, state))


@EVERY
def test_a_network_without_its_head_is_refused(tmp_path: Path, name: str) -> None:
    heads = ("classifier", "outputlayer", "fc_audioset")
    state = {key: value for key, value in STATES[name]().items() if not key.startswith(heads)}
    line = refusal(saved(tmp_path / name, state))
    assert (
        "it has no layer for AudioSet's classes" in line or "no array 'classifier.2.bias'" in line
    )


@EVERY
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, name: str, share: float) -> None:
    source = saved(tmp_path / name, STATES[name]())
    content = source.read_bytes()
    source.write_bytes(content[: int(len(content) * share)])
    assert "convert takes" in refusal(source)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: ced_state(dims=128, n_blocks=1), "has 128 dims; CED's sizes are tiny 192, mini"),
        (lambda: ced_state(n_blocks=2), "it has 2 blocks, where CED has 12"),
        (lambda: cnn14_state(width=1, window=256), "its window has 256 samples; CNN14's have 1024"),
        (
            lambda: {k: v for k, v in cnn14_state(width=1).items() if "block6" not in k},
            "it is a PANN of fewer than six blocks",
        ),
    ],
)
def test_a_network_of_another_kind_is_refused(tmp_path: Path, state: Any, message: str) -> None:
    assert message in refusal(saved(tmp_path / "it.pth", state()))


def test_what_is_converted_already_is_refused(tmp_path: Path) -> None:
    source = saved(tmp_path / "yamnet.pth", yamnet_state(width=4))
    out = tmp_path / "yamnet.safetensors"
    convert(source, out)
    assert "it is converted already; name it in params.yaml" in refusal(out)


def test_keras_weights_name_the_file_to_take(tmp_path: Path) -> None:
    source = tmp_path / "yamnet.h5"
    source.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "HDF5, which is not read here; of YAMNet take yamnet.pth" in refusal(source)


def test_a_page_of_the_hub_is_no_weight_file(tmp_path: Path) -> None:
    source = tmp_path / "model.safetensors"
    source.write_text("<!DOCTYPE html><html></html>")
    assert "not a weight file that earmark knows" in refusal(source)
