"""Whether a pretrained network computes here what its authors' code computes.

Shapes: T samples, D values of an embedding, K classes.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.features import build
from earmark.features.backbone import Backbone
from earmark.features.pretrained import Pretrained, pretrained_of
from earmark.networks import Network
from earmark.networks import build as build_network
from earmark.processes import progress
from earmark.published.weights.conversion import convert
from earmark.sound.samples import Float32
from earmark.weights import load_weights, sha256_of
from earmark.wording import counted

LIMIT = 1e-3  # between values of about 1
Arrays = Mapping[str, NDArray[Any]]


def verify(weights: Path, reference: Path, recordings: Path) -> Iterator[str]:
    """Compare a network with what its authors' code made of recordings; yields lines to print.

    Recordings are read as they are: whole, as floating point, their channels averaged.

    Args:
        weights: as published, or as `earmark convert` wrote it.
        reference: an npz with `path` below `recordings`, `embedding` (clips, D) and `logits`
            (clips, K).

    Raises:
        UserError: a file is missing or something else, or the values differ by more than LIMIT.
    """
    expected = _read_reference(reference)
    with tempfile.TemporaryDirectory() as folder:
        converted = weights
        if weights.suffix != ".safetensors":
            converted = Path(folder) / "converted.safetensors"
            yield convert(weights, converted).lines(weights, converted)[0]
        found = pretrained_of(converted)
        network = build_network(found.network, expected["logits"].shape[1], found.network_options)
        load_weights(network, converted, sha256_of(converted))
    network.eval()
    worst = {"embedding": 0.0, "logits": 0.0}
    total = len(expected["path"])
    for position in progress(range(total), total=total, description="verify"):
        made = _made(found, network, recordings / str(expected["path"][position]))
        for key, values in made.items():
            worst[key] = max(worst[key], _difference(key, values, expected[key][position]))
    line = (
        f"{found.network} on {counted(total, 'clip')}: embeddings differ by at most "
        f"{worst['embedding']:.1e} and logits by {worst['logits']:.1e} from {reference.name}"
    )
    if max(worst.values()) > LIMIT:
        raise UserError(f"{line}, more than {LIMIT:g}; {weights} is not the network that made it")
    yield line


def _read_reference(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            expected = {key: arrays[key] for key in ("path", "embedding", "logits")}
    except (OSError, ValueError, KeyError) as error:
        fix = "give an npz with path, embedding (clips, values) and logits (clips, classes)"
        raise UserError(f"{path}: no reference ({error}); {fix}") from None
    if expected["logits"].ndim != 2 or len({len(array) for array in expected.values()}) > 1:
        raise UserError(f"{path}: its arrays do not have one row for each clip; make it again")
    return expected


@torch.inference_mode()
def _made(found: Pretrained, network: Network, recording: Path) -> dict[str, Float32]:
    try:
        channels, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{recording}: cannot be read ({error}); correct --recordings") from None
    options = {**found.options, "weights": "", "weights_sha256": ""}  # loaded above, with the head
    backbone = build(found.type, options, sample_rate=rate)
    assert isinstance(backbone, Backbone), "pretrained_of finds no others"
    rows = torch.from_numpy(backbone.front_end(channels.mean(axis=1)))
    embedding = network.forward_features(rows.unsqueeze(0))  # (1, D)
    logits = network.forward_head(embedding)  # (1, K)
    return {"embedding": embedding[0].numpy(), "logits": logits[0].numpy()}


def _difference(key: str, values: Float32, expected: NDArray[Any]) -> float:
    if values.shape != expected.shape:
        raise UserError(
            f"the reference's {key} has {expected.size} values and the network's {values.size}; "
            "it is of another network"
        )
    return float(np.abs(values - expected).max())
