"""TensorFlow checkpoints, written here byte by byte, read as our VGGish's weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from earmark.errors import UserError
from earmark.networks import Network, build
from earmark.published.weights import checksums
from earmark.published.weights.conversion import convert
from earmark.weights import load_weights
from tests.published.weight_files import (
    VGGISH_CONVOLUTIONS,
    Arrays,
    checkpoint_v1,
    checkpoint_v2,
    crc32c,
    field,
    table,
    vggish_variables,
)


@pytest.fixture
def variables() -> Arrays:
    return vggish_variables(np.random.default_rng(3)) | {"global_step": np.array([7])}


def converted(source: Path) -> tuple[Network, dict[str, np.ndarray]]:
    """A network with the weights of a source, loaded as a stage does, and the tensors."""
    out = source.with_name("out.safetensors")
    done = convert(source, out)
    assert done.network == "vggish"
    options = done.options | {"embedding_activation": "none"}
    network = build("vggish", 3, options).eval()
    fresh = load_weights(network, out, done.sha256)
    assert [name for name in fresh if not name.startswith("head.")] == []
    return network, load_file(out)


def tensorflow_embedding(variables: Arrays, patch: np.ndarray) -> np.ndarray:
    """One embedding in TensorFlow's layouts: maps (T, F, C), kernels (T, F, in, out)."""
    x = patch[:, :, None].astype(np.float64)
    for name in VGGISH_CONVOLUTIONS:
        kernel = variables[f"vggish/{name}/weights"].astype(np.float64)
        n_frames, n_mels = x.shape[:2]
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        x = variables[f"vggish/{name}/biases"] + sum(
            padded[t : t + n_frames, f : f + n_mels] @ kernel[t, f]
            for t in range(3)
            for f in range(3)
        )
        x = np.maximum(x, 0)
        if not name.endswith("_1"):
            x = x.reshape(n_frames // 2, 2, n_mels // 2, 2, -1).max((1, 3))
    x = x.reshape(-1)  # (T, F, C) row by row
    for name in ("fc1/fc1_1", "fc1/fc1_2"):
        x = np.maximum(dense(variables, name, x), 0)
    return dense(variables, "fc2", x)


def dense(variables: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    return x @ variables[f"vggish/{name}/weights"] + variables[f"vggish/{name}/biases"]


def swapped(variables: Arrays) -> Arrays:
    """The same with kernel height and width swapped, as an early port had them."""
    return {k: v.swapaxes(0, 1) if v.ndim == 4 else v for k, v in variables.items()}


def test_a_v1_checkpoint_gives_the_embedding_that_tensorflow_computes(
    tmp_path: Path, variables: Arrays
) -> None:
    source = tmp_path / "vggish_model.ckpt"
    source.write_bytes(checkpoint_v1(variables))
    network, _ = converted(source)
    patch = np.random.default_rng(4).normal(size=(96, 64)).astype("f4")
    with torch.inference_mode():
        found = network.forward_features(torch.from_numpy(patch)[None])[0].numpy()
    expected = tensorflow_embedding(variables, patch)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # and it would be noticed if time and frequency were swapped in the kernels
    assert np.abs(tensorflow_embedding(swapped(variables), patch) - expected).max() > 0.01


def test_kernels_are_turned_and_dense_matrices_transposed(
    tmp_path: Path, variables: Arrays
) -> None:
    source = tmp_path / "vggish_model.ckpt"
    source.write_bytes(checkpoint_v1(variables))
    _, tensors = converted(source)
    kernel = variables["vggish/conv4/conv4_1/weights"]
    for t, f, read, made in np.ndindex(kernel.shape):
        assert tensors["features.11.weight"][made, read, t, f] == kernel[t, f, read, made]
    np.testing.assert_array_equal(
        tensors["embeddings.2.weight"], variables["vggish/fc1/fc1_2/weights"].T
    )
    assert len(tensors) == 18  # the step counter is passed over


def test_a_v2_checkpoint_has_the_same_weights(tmp_path: Path, variables: Arrays) -> None:
    (tmp_path / "one.ckpt").write_bytes(checkpoint_v1(variables))
    index, values = checkpoint_v2(variables)
    (tmp_path / "two.ckpt.index").write_bytes(index)
    (tmp_path / "two.ckpt.data-00000-of-00001").write_bytes(values)
    _, one = converted(tmp_path / "one.ckpt")
    _, two = converted(tmp_path / "two.ckpt.index")
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def refusal(source: Path) -> str:
    """What convert says of a source that it must refuse, writing nothing."""
    out = source.with_name("refused.safetensors")
    with pytest.raises(UserError) as refused:
        convert(source, out)
    assert not out.exists()
    (line,) = refused.value.problems
    assert line.startswith(f"{source}: ")
    assert "convert takes VGGish as vggish_model.ckpt" in line
    assert "\n" not in line
    return line


def test_v2_values_that_were_changed_or_are_not_there_are_refused(
    tmp_path: Path, variables: Arrays
) -> None:
    index, values = checkpoint_v2(variables)
    source, beside = tmp_path / "m.index", tmp_path / "m.data-00000-of-00001"
    source.write_bytes(index)
    assert "m.data-00000-of-00001, are not beside it" in refusal(source)
    beside.write_bytes(values[:-1] + bytes([values[-1] ^ 1]))
    assert "the values of vggish/fc2/weights fail their checksum" in refusal(source)
    beside.write_bytes(values[: len(values) // 2])
    assert "fail their checksum" in refusal(source)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_checkpoint_that_was_cut_short_is_refused(
    tmp_path: Path, variables: Arrays, share: float
) -> None:
    content = checkpoint_v1(variables)
    source = tmp_path / "cut.ckpt"
    source.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refusal(source)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.97])
def test_one_wrong_bit_fails_a_checksum(tmp_path: Path, variables: Arrays, share: float) -> None:
    content = bytearray(checkpoint_v1(variables))
    content[int(len(content) * share)] ^= 4
    source = tmp_path / "flipped.ckpt"
    source.write_bytes(content)
    assert "fails its checksum" in refusal(source)


def test_compressed_blocks_are_refused(tmp_path: Path, variables: Arrays) -> None:
    source = tmp_path / "snappy.ckpt"
    source.write_bytes(checkpoint_v1(variables, compression=1))
    assert "compressed" in refusal(source)


def test_a_variable_in_slices_is_refused_by_name(tmp_path: Path, variables: Arrays) -> None:
    source = tmp_path / "slices.ckpt"
    source.write_bytes(checkpoint_v1(variables, extent=field(2, 1)))
    assert "vggish/conv1/biases was saved in slices" in refusal(source)


def test_a_missing_variable_is_named_with_those_that_are_there(
    tmp_path: Path, variables: Arrays
) -> None:
    del variables["vggish/fc2/weights"]
    source = tmp_path / "other.ckpt"
    source.write_bytes(checkpoint_v1(variables))
    assert "no array 'vggish/fc2/weights'; it has vggish/conv1/biases" in refusal(source)


def test_weights_of_another_shape_name_the_first_that_does_not_fit(
    tmp_path: Path, variables: Arrays
) -> None:
    variables["vggish/fc1/fc1_2/weights"] = np.zeros((64, 63), "f4")
    source = tmp_path / "other.ckpt"
    source.write_bytes(checkpoint_v1(variables))
    assert "embeddings.2.weight is (63, 64), where vggish has (64, 64)" in refusal(source)


def test_weights_with_nan_are_refused(tmp_path: Path, variables: Arrays) -> None:
    variables["vggish/conv2/biases"][1] = np.nan
    source = tmp_path / "nan.ckpt"
    source.write_bytes(checkpoint_v1(variables))
    assert "features.3.bias holds NaN" in refusal(source)


def test_a_table_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "level.db"
    source.write_bytes(table({b"key": b"value"}))
    assert "no checkpoint" in refusal(source)


def test_crc32c_has_the_published_values() -> None:
    assert checksums.crc32c(memoryview(b"123456789")) == 0xE3069283
    assert checksums.crc32c(memoryview(bytes(32))) == 0x8A9136AA  # RFC 3720, B.4
    assert checksums.crc32c(memoryview(b"\xff" * 32)) == 0x62A8AB43


@pytest.mark.parametrize("n_bytes", [0, 1, 3, 255, 257, 2**20 - 1, 2**20, 2**20 + 3])
def test_crc32c_in_lanes_is_that_byte_by_byte(n_bytes: int) -> None:
    data = np.random.default_rng(n_bytes).bytes(n_bytes)
    assert checksums.crc32c(memoryview(data)) == crc32c(data)
