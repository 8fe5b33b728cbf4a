"""Trained models: how they are saved, loaded, and asked for probabilities.

Shapes: B segments, S rows of a segment, D dims of a feature vector, K tags.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from earmark.checksums import sha256_of
from earmark.errors import reading
from earmark.networks import Network, build
from earmark.networks.folding import folded
from earmark.records import write_json
from earmark.spool import release
from earmark.taggers.description import DESCRIPTION, FORMAT, WEIGHTS, read_description
from earmark.taggers.device import Device
from earmark.taggers.input import FusionInput, Input
from earmark.weights import save_tensors
from earmark.whole_files import whole_folder

_BATCHES_HELD = 16  # of a long clip, before the memory of its mapped rows is given back


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """A network with all that it takes to use it: its input, its tags, and what its logits mean.

    Attributes:
        network: gives one logit for each tag, then one for each auxiliary label.
        network_name: what `earmark.networks.build` built it from.
        network_options: likewise.
        tags: names of the K tags, in the order of the logits.
        input: how segments are cut out of features, stacked and standardised.
        aux_labels: of an auxiliary task, which only training reads.
        activation: "softmax" for one tag per clip, "sigmoid" for any number of them.
        metadata: all of model.json, if it was loaded.

    >>> wave = Input(
    ...     feature="wave16k", type_name="waveform", options={"target_hz": 16_000},
    ...     sample_rate=16_000, lengths=[19_683], padding="right",
    ...     silence=[0.0], mean=[0.0], std=[1.0],
    ... )  # fmt: skip
    >>> options = {"n_samples": 19_683, "width": 0.125}
    >>> tagger = Tagger.new("samplecnn", options, tags=["cat", "dog"], input_=wave)
    >>> cpu = Device(name="cpu", precision="float32", channels_last=False)
    >>> tagger.probabilities(np.zeros((4, 19_683), np.int16), cpu).shape
    (4, 2)
    """

    network: Network
    network_name: str
    network_options: dict[str, Any]
    tags: list[str]
    input: Input
    aux_labels: list[str]
    activation: Literal["softmax", "sigmoid"]
    metadata: dict[str, Any] = field(default_factory=dict)

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
        """Build a tagger with fresh weights, drawn from torch's global generator.

        Raises:
            ValueError: the network or one of its options is unknown or has a wrong value.
        """
        return cls(
            network=build(name, len(tags) + len(aux_labels), options),
            network_name=name,
            network_options=options,
            tags=tags,
            input=input_,
            aux_labels=list(aux_labels),
            activation=activation,
        )

    @property
    def embedding_dim(self) -> int:
        """D, the size of an embedding.

        Raises:
            ValueError: the network's features are no vectors.
        """
        if self.network.feature_dim is None:
            fix = "take a network that has a feature_dim, such as vggish"
            raise ValueError(f"{self.network_name} gives no feature vectors; {fix}")
        return self.network.feature_dim

    def folded(self, device: Device) -> "Tagger":
        """The same for answers alone, some tenths faster on short clips; see `networks.folding`.

        Its probabilities differ from those of this one by rounding.
        """
        dtype = torch.bfloat16 if device.precision == "bfloat16" else torch.float32
        return replace(self, network=device.place(folded(self.network, dtype)))

    def _evaluate(self) -> None:
        if self.network.training:  # to go through all layers takes as long as one of them
            self.network.eval()

    @torch.inference_mode()
    def probabilities(self, segments: Any, device: Device) -> NDArray[np.float32]:
        """Return the probabilities `(B, K)` of segments `(B, S, ...)` as they are stored."""
        self._evaluate()
        with device.autocast():
            logits = self.network(self.input.tensor(segments, device.name))
        logits = logits[:, : len(self.tags)].float()
        is_softmax = self.activation == "softmax"
        probabilities = logits.softmax(dim=1) if is_softmax else logits.sigmoid()
        return probabilities.cpu().numpy()  # type: ignore[no-any-return]

    def clip_probabilities(
        self, crops: Sequence[Any], device: Device, *, batch_size: int
    ) -> NDArray[np.float32]:
        """Return the probabilities `(crops, K)` of crops `(S, ...)` of one or many clips.

        Crops of equal length go through the network together, up to `batch_size` at a time.
        """
        probabilities = np.empty((len(crops), len(self.tags)), dtype=np.float32)
        by_length: dict[int, list[int]] = {}
        for index, crop in enumerate(crops):
            by_length.setdefault(len(crop), []).append(index)
        for indices in by_length.values():
            for i in range(0, len(indices), batch_size):
                batch = indices[i : i + batch_size]
                segments = self.input.stack([crops[index] for index in batch])
                probabilities[batch] = self.probabilities(segments, device)
                if i and i % (_BATCHES_HELD * batch_size) == 0:
                    self.input.release(crops[batch[0]])
        return probabilities

    @torch.inference_mode()
    def embeddings(
        self, segments: NDArray[Any], device: Device, *, batch_size: int
    ) -> NDArray[np.float32]:
        """Return the features `(B, D)` that the network's head reads of segments `(B, S, ...)`.

        The patches `(P, 96, 64)` of a clip are `patches[:, np.newaxis]`, segments of one row each.

        Raises:
            ValueError: the network's features are no vectors.
        """
        embeddings = np.empty((len(segments), self.embedding_dim), dtype=np.float32)
        self._evaluate()
        for i in range(0, len(segments), batch_size):
            batch = np.array(segments[i : i + batch_size])  # a copy: a store may be read-only
            x = self.input.tensor(batch, device.name)
            with device.autocast():
                features = self.network.forward_features(x)
            embeddings[i : i + batch_size] = features.float().cpu().numpy()
            if i and i % (_BATCHES_HELD * batch_size) == 0:
                release(segments)
        return embeddings

    def save(self, folder: Path, metadata: dict[str, Any]) -> None:
        """Write weights.safetensors and model.json into a folder, whole or not at all.

        Args:
            folder: is made, or replaced if it is there.
            metadata: more entries of model.json, such as the fold.

        Raises:
            UserError: the files cannot be written, as when the disk is full.
        """
        with whole_folder(folder) as part:
            save_tensors(part / WEIGHTS, self.network.state_dict())
            description = {
                "format": FORMAT,
                "weights_sha256": sha256_of(part / WEIGHTS),
                "network": {"name": self.network_name, **self.network_options},
                "tags": self.tags,
                "aux_labels": self.aux_labels,
                "activation": self.activation,
                "input": asdict(self.input),
                **metadata,
            }
            write_json(part / DESCRIPTION, description)

    @classmethod
    def load(cls, folder: Path, device: Device) -> "Tagger":
        """Rebuild a tagger from the folder that `save` wrote, on a device; no pickle is read.

        Raises:
            UserError: another version of earmark wrote it.
            DamagedError: a file of it is cut short, or does not fit the other; any byte of the
                weights is another one.
        """
        path, weights = folder / DESCRIPTION, folder / WEIGHTS
        metadata = read_description(folder)
        with reading(path):
            options = dict(metadata["network"])
            tagger = cls.new(
                options.pop("name"),
                options,
                tags=metadata["tags"],
                input_=_input_of(metadata["input"]),
                aux_labels=metadata["aux_labels"],
                activation=metadata["activation"],
            )
        refuse_damaged(folder, metadata)
        with reading(weights):
            tagger.network.load_state_dict(load_file(weights))
        device.place(tagger.network)
        return replace(tagger, metadata=metadata)


def refuse_damaged(folder: Path, metadata: dict[str, Any]) -> None:
    """Refuse weights that are not those that `Tagger.save` wrote beside these metadata.

    Raises:
        DamagedError: they are others, or cannot be read.
    """
    with reading(folder / WEIGHTS):
        if sha256_of(folder / WEIGHTS) != metadata["weights_sha256"]:
            raise ValueError("not the weights that were written")


def _input_of(metadata: dict[str, Any]) -> Input:
    if "audio" not in metadata:
        return Input(**metadata)
    return FusionInput(**metadata | {"audio": Input(**metadata["audio"])})
