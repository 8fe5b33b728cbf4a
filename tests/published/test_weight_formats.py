"""The other formats of published weights: PyTorch, numpy and Torch7, good ones and hostile ones."""

import hashlib
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from typer.testing import CliRunner

from earmark.__main__ import app
from earmark.errors import UserError
from earmark.networks import build
from earmark.published.weights import known
from earmark.published.weights.conversion import Conversion, convert
from earmark.published.weights.torch7_archives import read_archive
from earmark.weights import load_weights
from tests.published.weight_files import (
    FUNCTION,
    SOUNDNET_KERNELS,
    Arrays,
    Lua,
    Torch7Writer,
    View,
    python2_npy,
    soundnet_layers,
    soundnet_t7,
)


def converted(source: Path) -> tuple[Conversion, Arrays]:
    out = source.with_suffix(".safetensors")
    return convert(source, out), load_file(out)


def refusal(source: Path, **options: str) -> str:
    """What convert says of a source that it must refuse, writing nothing."""
    out = source.with_name("refused.safetensors")
    with pytest.raises(UserError) as refused:
        convert(source, out, **options)
    assert not out.exists()
    (line,) = refused.value.problems
    assert line.startswith(f"{source}: ")
    assert "\n" not in line
    return line


# VGGish in PyTorch


@pytest.fixture
def backbone() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state = build("vggish", 1, {"width": 1 / 64}).state_dict()
    return {key: value for key, value in state.items() if not key.startswith("head.")}


@pytest.mark.parametrize("in_zip", [False, True])
@pytest.mark.parametrize("author", ["torchvggish", "torchaudio"])
def test_a_pytorch_file_keeps_its_tensors(
    tmp_path: Path, backbone: dict[str, torch.Tensor], author: str, in_zip: bool
) -> None:
    state: dict[str, Any] = {"pproc.pca_means": torch.zeros(128)}  # of the whole module; left out
    for key, value in backbone.items():
        half, rest = key.split(".", 1)
        theirs = {"features": "features_network", "embeddings": "embedding_network"}[half]
        state[f"{theirs}.{rest}" if author == "torchaudio" else key] = value
    source = tmp_path / "vggish.pth"
    torch.save(state, source, _use_new_zipfile_serialization=in_zip)
    done, tensors = converted(source)
    assert (done.form, done.network, done.options) == ("PyTorch file", "vggish", {"width": 1 / 64})
    assert (done.n_tensors, done.n_values) == (18, sum(v.numel() for v in backbone.values()))
    assert tensors.keys() == backbone.keys()
    for key, value in backbone.items():
        np.testing.assert_array_equal(tensors[key], value.numpy())


def test_the_output_says_where_it_is_from_and_its_bytes_never_change(
    tmp_path: Path, backbone: dict[str, torch.Tensor]
) -> None:
    source = tmp_path / "vggish.pth"
    torch.save(backbone, source)
    first, second = (convert(source, tmp_path / f"{i}.safetensors") for i in range(2))
    written = [(tmp_path / f"{i}.safetensors").read_bytes() for i in range(2)]
    assert written[0] == written[1]
    assert first.sha256 == second.sha256 == hashlib.sha256(written[0]).hexdigest()
    with safe_open(tmp_path / "0.safetensors", "np") as file:
        metadata = file.metadata()
    assert list(metadata) == ["earmark"]  # safetensors shuffles several entries
    about = json.loads(metadata["earmark"])
    assert about["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert about["network"] == {"name": "vggish", "width": 1 / 64}
    assert "before any activation" in about["note"]


# Checksums


def test_the_known_files_are_those_with_published_checksums() -> None:
    names = {file.name: file.sha256 for file in known.KNOWN}
    assert names.keys() == {
        "vggish_model.ckpt",
        "vggish_pca_params.npz",
        "vggish-10086976.pth",
        "vggish_pca_params-970ea276.pth",
        "vggish-cbfe8f1c.pth",
        "mn04_as_mAP_432.pt",
        "mn10_as_mAP_471.pt",
        *(f"mispeech-ced-{size}.safetensors" for size in ("tiny", "mini", "small", "base")),
        "Cnn14_mAP=0.431.pth",
        "Cnn14_16k_mAP=0.438.pth",
    }
    for name, sha256 in names.items():
        assert len(sha256) == (8 if sha256 in name else 64), name
    assert names["vggish-10086976.pth"].startswith("10086976")
    whole = names["vggish_model.ckpt"]
    assert getattr(known.find(whole), "name", "") == "vggish_model.ckpt"
    assert known.find(whole[:-1] + "0") is None
    pca = known.find("970ea276" + 56 * "0")
    assert getattr(pca, "name", "") == "vggish_pca_params-970ea276.pth"


def test_a_file_is_called_published_only_by_its_checksum(
    tmp_path: Path, backbone: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "vggish-10086976.pth", tmp_path / "v.safetensors"
    torch.save(backbone, source)
    lines = convert(source, out).lines(source, out)
    assert "no published file whose checksum earmark knows" in lines[0]
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    monkeypatch.setattr(known, "KNOWN", (known.Known("it.pth", sha256),))
    done = convert(source, out)
    assert done.lines(source, out) == [
        f"read {source}: PyTorch file, sha256 {sha256}: the published it.pth",
        f"wrote {out}: vggish, width: 0.015625, 18 tensors, {done.n_values:,} values, "
        f"sha256 {done.sha256}",
        "params.yaml, extractors.<name>: network: {name: vggish, width: 0.015625}, "
        f"weights: {out}, weights_sha256: {done.sha256}",
    ]


def test_a_flawed_published_file_is_refused(
    tmp_path: Path, backbone: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "old.pth"
    torch.save(backbone, source)
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    published = known.find("cbfe8f1c" + 56 * "0")
    assert published is not None
    flaw = published.flaw
    assert "swapped" in flaw
    monkeypatch.setattr(known, "KNOWN", (known.Known("old.pth", sha256[:8], flaw),))
    assert "this is old.pth, which must not be used" in refusal(source)


def test_another_checksum_than_the_given_one_is_refused(
    tmp_path: Path, backbone: dict[str, torch.Tensor]
) -> None:
    source = tmp_path / "vggish.pth"
    torch.save(backbone, source)
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    assert f"sha256 is {sha256}, not {'0' * 64}" in refusal(source, sha256="0" * 64)
    convert(source, tmp_path / "out.safetensors", sha256=sha256.upper())


# The post-processor


@pytest.mark.parametrize("form", ["npz", "numpy 1", "numpy 2", "tensors"])
def test_the_post_processor_keeps_its_arrays(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(2)
    arrays = {"pca_eigen_vectors": rng.normal(size=(128, 128)), "pca_means": rng.normal(size=128)}
    source = tmp_path / "pca"
    if form == "npz":
        with source.open("wb") as file:
            columns = {k: v[:, None] if v.ndim == 1 else v for k, v in arrays.items()}
            np.savez(file, allow_pickle=False, **columns)
    else:
        kept = {k: torch.from_numpy(v) if form == "tensors" else v for k, v in arrays.items()}
        torch.save(kept, source, _use_new_zipfile_serialization=False)
    if form == "numpy 1":  # as the published file names the module
        content = source.read_bytes()
        assert b"numpy._core.multiarray" in content
        source.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    done, found = converted(source)
    assert done.network == "pca"
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)


def test_arrays_by_columns_and_of_the_other_byte_order_are_read_as_they_are(
    tmp_path: Path,
) -> None:
    vectors = np.asfortranarray(np.random.default_rng(3).normal(size=(4, 4)).astype(">f4"))
    source = tmp_path / "pca.pth"
    torch.save({"pca_eigen_vectors": vectors, "pca_means": np.ones(4)}, source)
    _, found = converted(source)
    np.testing.assert_array_equal(found["pca_eigen_vectors"], vectors)


def test_means_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "pca.npz"
    np.savez(source, pca_eigen_vectors=np.zeros((128, 127)), pca_means=np.zeros(128))
    assert "(128, 127) do not fit 128 means" in refusal(source)


# SoundNet


@pytest.fixture
def layers() -> dict[str, Arrays]:
    return soundnet_layers(np.random.default_rng(5))


def soundnet_pth(layers: dict[str, Arrays]) -> dict[str, torch.Tensor]:
    """As smallflyingpig/SoundNet_Pytorch converted them."""
    state = {}
    for name, layer in layers.items():
        state[f"{name}.0.weight"] = torch.from_numpy(layer["weights"]).permute(3, 2, 0, 1)
        state[f"{name}.0.bias"] = torch.from_numpy(layer["biases"])
        if "gamma" in layer:
            names = {"gamma": "weight", "beta": "bias", "mean": "running_mean"}
            for theirs, ours in (names | {"var": "running_var"}).items():
                state[f"{name}.1.{ours}"] = torch.from_numpy(layer[theirs])
            state[f"{name}.1.num_batches_tracked"] = torch.tensor(100.0)
    return state


def write_soundnet(path: Path, form: str, layers: dict[str, Arrays]) -> Path:
    if form == "t7":
        path.write_bytes(soundnet_t7(layers))
    elif form == "python 2 npy":
        path.write_bytes(python2_npy(layers))
    elif form == "python 3 npy":
        with path.open("wb") as file:
            np.save(file, np.array(layers), allow_pickle=True)
    else:
        torch.save(soundnet_pth(layers), path, _use_new_zipfile_serialization=False)
    return path


def tensorflow_soundnet(layers: dict[str, Arrays], waveform: np.ndarray) -> np.ndarray:
    """conv7's map (steps, channels), computed with kernels (taps, 1, in, out)."""
    x = 256 * waveform[:, None].astype(np.float64)  # (T, 1)
    pools = (8, 8, 1, 1, 4, 1, 1)
    for taps, pool, layer in zip(SOUNDNET_KERNELS, pools, layers.values(), strict=False):
        padded = np.pad(x, ((taps // 2, taps // 2), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=0)[::2]
        x = np.einsum("sik,kio->so", windows, layer["weights"][:, 0]) + layer["biases"]
        x = (x - layer["mean"]) / np.sqrt(layer["var"] + 1e-5) * layer["gamma"] + layer["beta"]
        x = np.maximum(x, 0)
        x = x[: len(x) // pool * pool].reshape(-1, pool, x.shape[1]).max(1)
    return x


@pytest.mark.parametrize("form", ["t7", "python 2 npy", "python 3 npy", "pth"])
def test_every_form_of_soundnet_computes_what_its_kernels_say(
    tmp_path: Path, layers: dict[str, Arrays], form: str
) -> None:
    source = write_soundnet(tmp_path / "sound8", form, layers)
    done, tensors = converted(source)
    assert (done.network, done.options) == ("soundnet", {"width": 1 / 16})
    assert not any(name.startswith("conv8") for name in tensors)
    network = build("soundnet", 3, done.options | {"head": "max"}).eval()
    fresh = load_weights(network, source.with_suffix(".safetensors"), done.sha256)
    assert {name.split(".")[-1] for name in fresh} == {"weight", "bias"}
    waveform = np.random.default_rng(6).uniform(-0.01, 0.01, 9000).astype("f4")
    with torch.inference_mode():
        found = network.forward_features(torch.from_numpy(waveform)[None])[0].numpy().T
    expected = tensorflow_soundnet(layers, waveform)
    assert expected.max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", ["t7", "python 2 npy", "python 3 npy", "pth"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_refused(
    tmp_path: Path, layers: dict[str, Arrays], form: str, share: float
) -> None:
    source = write_soundnet(tmp_path / "sound8", form, layers)
    content = source.read_bytes()
    source.write_bytes(content[: int(len(content) * share)])
    line = refusal(source)
    assert "convert takes" in line


def test_the_five_layer_soundnet_is_refused(tmp_path: Path, layers: dict[str, Arrays]) -> None:
    del layers["conv6"], layers["conv7"]
    source = write_soundnet(tmp_path / "soundnet5_final.t7", "t7", layers)
    assert "not the eight-layer SoundNet" in refusal(source)


# Torch7 archives


def archive(value: Any) -> Any:
    return read_archive(memoryview(Torch7Writer().write(value)))


def test_a_torch7_archive_gives_back_what_was_written() -> None:
    storage = np.arange(24, dtype="f4")
    shared = {"x": 1.5}
    value = {
        1: "text",
        2: True,
        3: None,
        "function": FUNCTION,
        "shared": {1: shared, 2: shared},
        "view": View(storage, 4, (2, 3)),
        "whole": View(storage, 0, (24,)),
        "cleared": View(np.zeros(0, "f4"), 0, ()),
    }
    found = archive(Lua("nn.Thing", inside=value)).fields["inside"]
    assert (found[1], found[2], found[3], found["function"]) == ("text", True, None, None)
    assert found["shared"][1] == shared
    assert found["shared"][1] is found["shared"][2]
    np.testing.assert_array_equal(found["view"], [[4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(found["whole"], storage)
    assert found["cleared"].size == 0


@pytest.mark.parametrize(
    ("offset", "shape"), [(20, (2, 3)), (-1, (3,)), (0, (25,)), (24, (1,)), (0, (-1,))]
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(
    offset: int, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="storage"):
        archive({"view": View(np.arange(24, dtype="f4"), offset, shape)})


def test_a_tensor_may_not_stand_in_for_a_storage() -> None:
    repeated = View(np.zeros(1, "f4"), 0, (1 << 40,))
    repeated.strides = [0]  # far longer than the memory behind it
    with pytest.raises(ValueError, match="does not fit its storage"):
        archive({"view": View(repeated, 1 << 30, (1,))})


def test_a_torch7_archive_of_endless_depth_is_refused() -> None:
    table_of_one = struct.pack("<iiii", 1, 0, 0, 0)
    tables = b"".join(
        struct.pack("<iii", 3, number, 1) + struct.pack("<id", 1, 1.0) for number in range(1, 9999)
    )
    with pytest.raises(ValueError, match="nested too deeply"):
        read_archive(memoryview(tables + table_of_one))


# Hostile and foreign files


class Hostile:
    """Makes a file when it is unpickled by a loader that runs what a pickle says."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("form", ["npy", "legacy pth", "zip pth"])
def test_a_hostile_pickle_is_refused_and_never_runs(tmp_path: Path, form: str) -> None:
    mark, source = tmp_path / "ran", tmp_path / "hostile"
    value = {"conv1": Hostile(mark)}
    if form == "npy":
        with source.open("wb") as file:
            np.save(file, np.array(value), allow_pickle=True)
    else:
        torch.save(value, source, _use_new_zipfile_serialization=form == "zip pth")
    line = refusal(source)
    assert not mark.exists()
    assert "it wants to run posix.mkdir" in line
    pickle.loads(pickle.dumps(Hostile(mark)))
    assert mark.exists()  # else the test would prove nothing


def test_an_array_that_calls_its_numbers_pointers_stays_numbers(
    tmp_path: Path, layers: dict[str, Arrays]
) -> None:
    source = tmp_path / "sound8.npy"
    source.write_bytes(python2_npy(layers, flags=b"?"))
    _, tensors = converted(source)
    np.testing.assert_array_equal(tensors["conv3.1.bias"], layers["conv3"]["beta"])


def foreign_files() -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": b"# earmark\n",
        "wav": b"RIFF\x24\0\0\0WAVEfmt ",
        "mp4": b"\0\0\0\x18ftypmp42" + bytes(40),
        "zeros": bytes(64),
        "keras": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "zip": b"PK\x03\x04" + bytes(64),
        "array": b"\x93NUMPY\1\0",
        "torch7": struct.pack("<iii", 3, 1, 1 << 30),
        "magic": bytes(40) + (0xDB4775248B80FB57).to_bytes(8, "little"),
    }


@pytest.mark.parametrize("kind", foreign_files())
def test_a_foreign_file_is_refused_with_what_is_accepted(tmp_path: Path, kind: str) -> None:
    source = tmp_path / kind
    source.write_bytes(foreign_files()[kind])
    line = refusal(source)
    assert "convert takes VGGish as vggish_model.ckpt or vggish-10086976.pth" in line
    assert "soundnet8_final.t7, sound8.npy or sound8.pth" in line


def test_files_that_hold_something_else_say_what(tmp_path: Path) -> None:
    source = tmp_path / "file"
    torch.save([1, 2], source)
    assert "it holds a list, not a dictionary of tensors" in refusal(source)
    torch.save({"fc.weight": torch.zeros(2)}, source)
    assert "no array 'features.0.weight'; it has fc.weight" in refusal(source)
    with source.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "it is one array (3,)" in refusal(source)
    with zipfile.ZipFile(source, "w") as archive_:
        archive_.writestr("readme.txt", "hello")
    assert "cut short or damaged" in refusal(source)


# The command


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_may_have_no_end_is_not_read(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "x.pth"
    os.mkfifo(source) if kind == "pipe" else source.symlink_to("/dev/null")
    assert "is no regular file; convert takes VGGish" in refusal(source)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"conv1.0.weight": "x"}, "conv1.0.weight is a text, not an array"),
        ({}, "it holds nothing"),
    ],
)
def test_what_stands_in_place_of_an_array_is_said(
    tmp_path: Path, state: dict[str, Any], words: str
) -> None:
    source = tmp_path / "x.pth"
    torch.save(state, source)
    assert words in refusal(source)


def test_convert_prints_both_checksums(tmp_path: Path, layers: dict[str, Arrays]) -> None:
    source = write_soundnet(tmp_path / "soundnet8_final.t7", "t7", layers)
    out = tmp_path / "made" / "soundnet.safetensors"
    done = CliRunner().invoke(app, ["convert", str(source), str(out)])
    assert done.exit_code == 0, done.output
    for path in (source, out):
        assert f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}" in done.stdout
    assert "models.wave44k.<name>: network: {name: soundnet, width: 0.0625}" in done.stdout


def test_convert_writes_safetensors_alone(tmp_path: Path, layers: dict[str, Arrays]) -> None:
    source = write_soundnet(tmp_path / "soundnet8_final.t7", "t7", layers)
    with pytest.raises(UserError, match=r"end its name with \.safetensors"):
        convert(source, source)
