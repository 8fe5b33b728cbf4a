"""Convert any published weight file: recognise it, check it, write safetensors."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save as safetensors

from earmark.errors import UserError
from earmark.networks import Option
from earmark.networks import find as find_network
from earmark.published.weights import ced, cnn14, mobilenet, soundnet, vggish, yamnet
from earmark.published.weights.array_files import (
    read_npz,
    read_pickled_npy,
    read_safetensors,
    read_torch,
)
from earmark.published.weights.backbones import Backbone
from earmark.published.weights.known import find
from earmark.published.weights.tensorflow_checkpoints import is_checkpoint, read_checkpoint
from earmark.published.weights.torch7_archives import is_archive, read_archive
from earmark.whole_files import whole_file

ACCEPTED = (
    "VGGish as vggish_model.ckpt or vggish-10086976.pth, its vggish_pca_params (.npz, .pth), "
    "SoundNet as soundnet8_final.t7, sound8.npy or sound8.pth, "
    "EfficientAT's networks as mn04_as_mAP_432.pt or another width, CED as the hub's "
    "model.safetensors, CNN14 as Cnn14_mAP=0.431.pth or Cnn14_16k_mAP=0.438.pth, "
    "YAMNet as torch_audioset's yamnet.pth"
)
_NOTE = (
    "The embedding is stored before any activation: with embedding_activation relu it is that of "
    "the code of 2017 to 2020, with none that of later code."
)
_UNKNOWN = "no published file whose checksum earmark knows"
# where params.yaml names the file and its checksum
_USE = {
    "vggish": ("extractors", "weights", "weights_sha256"),
    "soundnet": ("models.wave44k", "init_from", "init_sha256"),
}
# What each file has and no other, and who reads it; VGGish's ports have several names.
_FIRST = {
    vggish.PCA_ARRAYS[0]: vggish.pca,
    mobilenet.FIRST: mobilenet.from_torch,
    ced.FIRST: ced.from_hub,
    cnn14.FIRST: cnn14.from_torch,
    yamnet.FIRST: yamnet.from_torch,
    "conv1.0.weight": soundnet.from_torch,
}
_NPY, _ZIP, _HDF5 = b"\x93NUMPY", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch's pickled magic number
_FLOATS = (torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was read and what was written.

    Attributes:
        form: the format of the source, such as "Torch7 archive".
        published_as: the name of the published file with this checksum; empty if there is none.
        network: its name, or pca; `options` as far as they are not the published ones.
        feature: the type of feature that it is the backbone of, and its options; empty if none.
    """

    form: str
    source_sha256: str
    published_as: str
    network: str
    options: dict[str, Option]
    n_tensors: int
    n_values: int
    sha256: str
    feature: Mapping[str, Option] = field(default_factory=dict)

    def lines(self, source: Path, out: Path) -> list[str]:
        """The lines to print: what was read, what was written, and where params.yaml names it."""
        known = f"the published {self.published_as}" if self.published_as else _UNKNOWN
        network = ", ".join([self.network, *_yaml(self.options)])
        lines = [
            f"read {source}: {self.form}, sha256 {self.source_sha256}: {known}",
            f"wrote {out}: {network}, {self.n_tensors} tensors, {self.n_values:,} values, "
            f"sha256 {self.sha256}",
        ]
        if self.network in _USE:
            section, key, pin = _USE[self.network]
            where = f"params.yaml, {section}.<name>: network: {{name: {network}}}"
            lines.append(f"{where}, {key}: {out}, {pin}: {self.sha256}")
        if self.feature:
            entry = ", ".join(_yaml(self.feature))
            (read,) = find_network(self.network).feature_types
            lines += [
                "frozen: params.yaml, features.<name>: "
                f"{{{entry}, weights: {out}, weights_sha256: {self.sha256}}}",
                f"to train it further: a model of a feature of type {read}, network: "
                f"{{name: {network}}}, init_from: {out}, init_sha256: {self.sha256}",
            ]
        return lines


def convert(source: Path, out: Path, *, sha256: str = "") -> Conversion:
    """Write the weights in `source` as safetensors with the names of our networks.

    The same source gives the same bytes. `sha256` is that of `source`; the values beside a
    TensorFlow V2 index are checked against the checksums in it.

    Raises:
        UserError: `source` is not what is accepted, is damaged, or has another sha256 than given.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"{out}: the output is safetensors; end its name with .safetensors")
    if source.exists() and not source.is_file():  # a pipe or a device may have no end
        raise UserError(f"{source}: is no regular file; convert takes {ACCEPTED}")
    data = source.read_bytes()
    source_sha256 = hashlib.sha256(data).hexdigest()
    if sha256 and source_sha256 != sha256.lower():
        raise UserError(f"{source}: sha256 is {source_sha256}, not {sha256}; fetch it again")
    known = find(source_sha256)
    if known and known.flaw:
        raise UserError(f"{source}: this is {known.name}, which must not be used: {known.flaw}")
    try:
        form, backbone = _read(source, memoryview(data))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())  # one line, whatever names the file contains
        raise UserError(f"{source}: {reason}; convert takes {ACCEPTED}") from error
    name = known.name if known else ""
    # safetensors writes the memory as it is, whatever the order of an array's axes
    in_order = {key: np.ascontiguousarray(array) for key, array in backbone.tensors.items()}
    content = safetensors(in_order, _metadata(backbone, source_sha256))
    with whole_file(out) as part:
        part.write_bytes(content)
    return Conversion(
        form=form,
        source_sha256=source_sha256,
        published_as=name,
        network=backbone.network,
        options=backbone.options,
        n_tensors=len(backbone.tensors),
        n_values=sum(array.size for array in backbone.tensors.values()),
        sha256=hashlib.sha256(content).hexdigest(),
        feature=backbone.feature,
    )


def _read(path: Path, data: memoryview) -> tuple[str, Backbone]:
    """The format of the file, recognised by its contents, and the weights in it."""
    head = bytes(data[: len(_LEGACY_TORCH)])
    if is_checkpoint(data):
        form, variables = read_checkpoint(path, data)
        return form, vggish.from_tensorflow(variables)
    if is_archive(data):
        return "Torch7 archive", soundnet.from_torch7(read_archive(data))
    if head.startswith(_NPY):
        return "pickled npy file", soundnet.from_numpy(read_pickled_npy(data))
    if head.startswith(_ZIP) and _is_npz(path):
        return "npz file", vggish.pca(read_npz(path))
    if head.startswith((_ZIP, _LEGACY_TORCH)):
        return "PyTorch file", _from_torch(read_torch(path))
    if bytes(data[8:9]) == b"{":  # after the length of its header
        return "safetensors file", _from_names(read_safetensors(data))
    if head.startswith(_HDF5):
        raise ValueError("it is HDF5, which is not read here; of YAMNet take yamnet.pth")
    raise ValueError("not a weight file that earmark knows" if head else "the file is empty")


def _is_npz(path: Path) -> bool:
    """Whether a zip file is numpy's; a damaged one goes to PyTorch's reader, which refuses it."""
    try:
        with zipfile.ZipFile(path) as file:
            return all(name.endswith(".npy") for name in file.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        return False


def _from_torch(state: Any) -> Backbone:
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
    if isinstance(state.get("model"), dict):  # the PANNs keep their training beside it
        state = state["model"]
    return _from_names({str(key): _as_array(value) for key, value in state.items()})


def _from_names(arrays: Mapping[str, Any]) -> Backbone:
    read = next((read for first, read in _FIRST.items() if first in arrays), vggish.from_torch)
    return read(arrays)


def _as_array(value: Any) -> Any:
    """Tensors as arrays; what numpy has no type for stays a tensor, and is refused later."""
    if not isinstance(value, torch.Tensor) or value.dtype not in _FLOATS:
        return value
    return value.detach().numpy()


def _yaml(options: Mapping[str, Option]) -> list[str]:
    return [f"{name}: {value}" for name, value in options.items()]


def _metadata(backbone: Backbone, source_sha256: str) -> dict[str, str]:
    """One entry, since safetensors writes several in an order that changes from run to run."""
    metadata = {
        "source_sha256": source_sha256,
        "network": {"name": backbone.network, **backbone.options},
        "feature": dict(backbone.feature),
        "note": _NOTE if backbone.network == "vggish" else "",
    }
    return {"earmark": json.dumps(metadata)}
