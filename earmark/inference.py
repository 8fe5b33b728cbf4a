"""Trained models: how they are kept, rebuilt, and asked for probabilities.

Shapes: B segments, S rows of a segment, P patches, D dims, K tags.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earmark import segments
from earmark.errors import UserError
from earmark.networks import Network, VGGish, build
from earmark.params import Runtime
from earmark.seeding import rng_for
from earmark.store import read_json, whole_folder, write_json

FORMAT = 1


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
class Input:
    """What a network reads: features of a kind, cut into segments, standardised.

    `mean` and `std` hold one value, or one a column of the features.
    """

    kind: str
    options: dict[str, Any]
    sample_rate: int
    segment_rows: int
    rule: Literal["recrop", "mean"]
    silence: list[float]
    mean: list[float]
    std: list[float]

    @property
    def fill(self) -> Literal["silence", "repeat"]:
        # Xu et al., section 4: a bag shorter than N segments is repeated, not padded.
        return "repeat" if self.kind in ("embedding", "patches") else "silence"

    def cut(self, rows: NDArray[Any], start: int) -> NDArray[Any]:
        silence = np.asarray(self.silence, dtype=rows.dtype)
        silence = silence[0] if rows.ndim == 1 else silence
        return segments.cut(rows, start, self.segment_rows, fill=self.fill, silence=silence)

    def starts(self, n_rows: int) -> NDArray[np.int64]:
        """The segments that together cover a clip."""
        if self.fill == "repeat":
            return segments.chunk_starts(n_rows, self.segment_rows)
        return segments.covering_starts(n_rows, self.segment_rows)

    def crop_starts(self, n_rows: int, *, n_crops: int, seed: int, clip: str) -> NDArray[np.int64]:
        """Where the crops of a held-out clip lie: at random for the re-crop rule, else covering.

        A clip that is not longer than a segment has one crop.
        """
        if self.rule == "mean":
            return self.starts(n_rows)
        if n_rows <= self.segment_rows:
            return np.zeros(1, dtype=np.int64)
        rng = rng_for(seed, "crop", clip)
        drawn = [segments.random_start(n_rows, self.segment_rows, rng) for _ in range(n_crops)]
        return np.array(drawn, dtype=np.int64)

    def tensor(self, batch: NDArray[Any], device: Device) -> Tensor:
        """Segments as stored `(B, S, ...)` -> what the network reads, standardised float32."""
        x = torch.from_numpy(batch).to(device.name).float()
        mean, std = (torch.tensor(v, device=device.name) for v in (self.mean, self.std))
        x = (x - mean) / std
        return x.flatten(1, 2) if self.kind == "patches" else x  # (B, S * 96, 64)


@dataclass(frozen=True)
class Tagger:
    """A network with all that it takes to use it: its tags and its input."""

    network: Network
    network_name: str
    network_options: dict[str, Any]
    tags: list[str]
    input: Input

    @classmethod
    def new(cls, name: str, options: dict[str, Any], tags: list[str], input_: Input) -> "Tagger":
        return cls(build(name, len(tags), options), name, options, tags, input_)

    @torch.inference_mode()
    def probabilities(self, batch: NDArray[Any], device: Device) -> NDArray[np.float32]:
        """Segments `(B, S, ...)` as stored -> probabilities `(B, K)`."""
        self.network.eval()
        with device.autocast():
            logits = self.network(self.input.tensor(batch, device))
        return logits.float().softmax(dim=1).cpu().numpy()  # type: ignore[no-any-return]

    def clip_probabilities(
        self, crops: list[NDArray[Any]], device: Device, *, batch_size: int
    ) -> NDArray[np.float32]:
        """Crops of one or many clips -> `(crops, K)`, a batch at a time."""
        parts = [
            self.probabilities(np.stack(batch), device) for batch in _batches(crops, batch_size)
        ]
        return np.concatenate(parts)

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
            x = self.input.tensor(batch[:, np.newaxis], device)
            with device.autocast():
                parts.append(self.network.embed(x).float().cpu().numpy())
        return np.concatenate(parts)

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write weights.safetensors and model.json, whole or not at all."""
        with whole_folder(folder) as part:
            save_tensors(part / "weights.safetensors", self.network.state_dict())
            description = {
                "format": FORMAT,
                "network": {"name": self.network_name, **self.network_options},
                "tags": self.tags,
                "input": asdict(self.input),
                **about,
            }
            write_json(part / "model.json", description)

    @classmethod
    def load(cls, folder: Path, device: Device) -> "Tagger":
        """Rebuild a model from its folder; no pickle is read."""
        about = read_json(folder / "model.json")
        if about["format"] != FORMAT:
            mend = "train it again with this version of earmark"
            raise UserError(f"{folder}: written in format {about['format']}, not {FORMAT}; {mend}")
        options = dict(about["network"])
        tagger = cls.new(options.pop("name"), options, about["tags"], Input(**about["input"]))
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
        mend = "free disk space and run it again; it goes on where it stood"
        raise UserError(f"{path}: could not be written ({error}); {mend}") from error


def _batches(crops: list[NDArray[Any]], size: int) -> Iterator[list[NDArray[Any]]]:
    return (crops[i : i + size] for i in range(0, len(crops), size))


def load_weights(network: nn.Module, path: Path, sha256: str) -> list[str]:
    """Load what a safetensors file has of a network's trunk; returns the keys that stay random.

    Raises:
        UserError: the file is missing, is another than the pinned one, or fits nowhere.
    """
    if not path.is_file():
        raise UserError(f"weights {path}: not there; correct the path, or set it to '' for random")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise UserError(f"weights {path}: sha256 is {found}, params.yaml says {sha256}")
    try:
        with safe_open(path, "pt") as file:
            given = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(
            f"weights {path}: no safetensors file ({error}); convert it first"
        ) from None
    own = network.state_dict()
    wrong = [k for k in given if k not in own or own[k].shape != given[k].shape]
    if wrong:
        shown = f"{wrong[0]} {tuple(given[wrong[0]].shape)}"
        raise UserError(f"weights {path}: {shown} does not fit the network; check its options")
    network.load_state_dict(given, strict=False)
    return sorted(set(own) - set(given))
