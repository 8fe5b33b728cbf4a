"""Trained models: how they are kept, rebuilt, and asked for probabilities.

Shapes: B segments, S rows of a segment, P patches, D dims, K tags.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earmark.errors import UserError
from earmark.networks import Network, VGGish, build
from earmark.params import Runtime
from earmark.store import read_json, whole_folder, write_json
from earmark.taggers.input import FusionInput, Input

FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where and how exactly networks are computed."""

    name: str
    precision: str
    channels_last: bool

    @classmethod
    def choose(cls, runtime: Runtime) -> "Device":
        has_cuda = torch.cuda.is_available()
        if runtime.device == "cuda" and not has_cuda:
            raise UserError("runtime.device: cuda is not to be had here; set it to auto")
        name = "cuda" if has_cuda and runtime.device != "cpu" else "cpu"
        return cls(name=name, precision=runtime.precision, channels_last=runtime.channels_last)

    def place(self, network: Network) -> Network:
        network.to(self.name)
        return network.channels_last() if self.channels_last else network

    def autocast(self) -> torch.autocast:
        enabled = self.precision == "bfloat16"
        return torch.autocast(self.name, dtype=torch.bfloat16, enabled=enabled)


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """A network with all that it takes to use it: its input, its tags, and what its logits mean.

    Its outputs are the tags, then the events of a second task, which only training reads.
    """

    network: Network
    network_name: str
    network_options: dict[str, Any]
    tags: list[str]
    input: Input
    aux_labels: list[str]
    activation: Literal["softmax", "sigmoid"]  # one tag a clip, or any number of them

    @classmethod
    def new(
        cls,
        name: str,
        options: dict[str, Any],
        *,
        tags: list[str],
        input_: Input,
        aux_labels: Sequence[str] = (),
        activation: Literal["softmax", "sigmoid"] = "softmax",
    ) -> "Tagger":
        return cls(
            network=build(name, len(tags) + len(aux_labels), options),
            network_name=name,
            network_options=options,
            tags=tags,
            input=input_,
            aux_labels=list(aux_labels),
            activation=activation,
        )

    @torch.inference_mode()
    def probabilities(self, batch: Any, device: Device) -> NDArray[np.float32]:
        """Segments `(B, S, ...)` as stored -> probabilities `(B, K)`."""
        self.network.eval()
        with device.autocast():
            logits = self.network(self.input.tensor(batch, device.name))
        logits = logits[:, : len(self.tags)].float()
        found = logits.softmax(dim=1) if self.activation == "softmax" else logits.sigmoid()
        return found.cpu().numpy()  # type: ignore[no-any-return]

    def clip_probabilities(
        self, crops: Sequence[Any], device: Device, *, batch_size: int
    ) -> NDArray[np.float32]:
        """Crops of one or many clips -> `(crops, K)`, a batch of equal lengths at a time."""
        found = np.empty((len(crops), len(self.tags)), dtype=np.float32)
        by_length: dict[int, list[int]] = {}
        for i, crop in enumerate(crops):
            by_length.setdefault(len(crop), []).append(i)
        for same in by_length.values():
            for i in range(0, len(same), batch_size):
                chosen = same[i : i + batch_size]
                batch = self.input.stack([crops[j] for j in chosen])
                found[chosen] = self.probabilities(batch, device)
        return found

    @torch.inference_mode()
    def embeddings(
        self, patches: NDArray[Any], device: Device, *, batch_size: int
    ) -> NDArray[np.float32]:
        """Patches of one clip `(P, 96, 64)` -> embeddings `(P, D)`, by a VGGish."""
        assert isinstance(self.network, VGGish)
        self.network.eval()
        parts = []
        for i in range(0, len(patches), batch_size):
            batch = np.array(
                patches[i : i + batch_size]
            )  # a copy: the store may be a read-only map
            x = self.input.tensor(batch[:, np.newaxis], device.name)
            with device.autocast():
                parts.append(self.network.embed(x).float().cpu().numpy())
        return np.concatenate(parts)

    def save(self, folder: Path, metadata: dict[str, Any]) -> None:
        """Write weights.safetensors and model.json, whole or not at all."""
        with whole_folder(folder) as part:
            save_tensors(part / "weights.safetensors", self.network.state_dict())
            description = {
                "format": FORMAT,
                "network": {"name": self.network_name, **self.network_options},
                "tags": self.tags,
                "aux_labels": self.aux_labels,
                "activation": self.activation,
                "input": asdict(self.input),
                **metadata,
            }
            write_json(part / "model.json", description)

    @classmethod
    def load(cls, folder: Path, device: Device) -> "Tagger":
        """Rebuild a model from its folder; no pickle is read."""
        metadata = read_json(folder / "model.json")
        if metadata["format"] != FORMAT:
            fix = "train it again with this version of earmark"
            raise UserError(
                f"{folder}: written in format {metadata['format']}, not {FORMAT}; {fix}"
            )
        options = dict(metadata["network"])
        tagger = cls.new(
            options.pop("name"),
            options,
            tags=metadata["tags"],
            input_=_input_of(metadata["input"]),
            aux_labels=metadata["aux_labels"],
            activation=metadata["activation"],
        )
        tagger.network.load_state_dict(load_file(folder / "weights.safetensors"))
        device.place(tagger.network)
        return tagger


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write safetensors from wherever the tensors are.

    Raises:
        UserError: the disk is full, or refuses otherwise.
    """
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        save_file(plain, path, metadata)
    except SafetensorError as error:
        fix = "free disk space and run it again; it goes on where it stood"
        raise UserError(f"{path}: could not be written ({error}); {fix}") from error


def _input_of(metadata: dict[str, Any]) -> Input:
    if "audio" not in metadata:
        return Input(**metadata)
    return FusionInput(**{**metadata, "audio": Input(**metadata["audio"])})


def head_names(name: str, options: dict[str, Any]) -> set[str]:
    """The tensors of a network whose shape depends on the number of tags."""
    with torch.device("meta"):
        two, three = (build(name, n_tags, options).state_dict() for n_tags in (2, 3))
    return {key for key in two if two[key].shape != three[key].shape}


def load_weights(
    network: nn.Module, path: Path, sha256: str, *, fresh: Collection[str] = ()
) -> list[str]:
    """Load what a safetensors file has of a network; returns the names that stay as drawn.

    Those in `fresh` do so whatever the file has; what the network has not is passed over.

    Raises:
        UserError: the file is missing, is another than the pinned one, or does not fit.
    """
    if not path.is_file():
        raise UserError(f"weights {path}: not there; correct the path, or set it to '' for random")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise UserError(f"weights {path}: sha256 is {found}, params.yaml says {sha256}")
    own = network.state_dict()
    try:
        with safe_open(path, "pt") as file:
            names = [key for key in file.keys() if key in own and key not in fresh]  # noqa: SIM118
            given = {key: file.get_tensor(key) for key in names}
    except SafetensorError as error:
        raise UserError(
            f"weights {path}: no safetensors file ({error}); "
            "make one with `python -m earmark convert`"
        ) from None
    wrong = [f"{k} {tuple(v.shape)}" for k, v in given.items() if own[k].shape != v.shape]
    if wrong or not given:
        shown = wrong[0] if wrong else "none of its tensors"
        raise UserError(f"weights {path}: {shown} does not fit the network; check its options")
    network.load_state_dict(given, strict=False)
    return sorted(set(own) - set(given))
