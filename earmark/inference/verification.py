"""Whether a pretrained network computes here what its authors' code computes.

Shapes: T samples, D values of an embedding, K classes.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from earmark.checksums import sha256_of
from earmark.errors import UserError
from earmark.features import build
from earmark.features.backbone import Backbone
from earmark.features.pretrained import Pretrained, pretrained_of
from earmark.networks import Network
from earmark.networks import build as build_network
from earmark.processes import progress
from earmark.published.download.fetch import find as find_download
from earmark.published.download.published import Published
from earmark.published.weights.backbones import last_bias
from earmark.published.weights.conversion import convert
from earmark.seeding import rng_for
from earmark.sound.samples import Float32
from earmark.weights import load_weights
from earmark.wording import counted

LIMIT = 1e-3  # between values of about 1
SECONDS, RATE = 5, 32_000  # of the made sound
Arrays = Mapping[str, NDArray[Any]]
# What the networks make of the made sound, every so many values of it: computed here, by networks
# that had made of 400 recordings what their authors' code makes of them, within 1e-4.
KNOWN: dict[str, dict[str, list[float]]] = {
    "mn04_as": {
        "embedding": [
            *(-0.25905, -0.30124, -0.19873, -0.13041),
            *(-0.05494, 0.29116, -0.10149, -0.27623),
        ],
        "logits": [
            *(-4.21699, -9.1891, -6.25485, -10.20141),
            *(-10.03519, -9.12403, -3.69515, -8.10655),
        ],
    }
}


def verify(
    name: str, weights: Path, *, reference: Path | None = None, recordings: Path | None = None
) -> Iterator[str]:
    """Check a file of weights: its checksum, its tensors, and what it computes; yields lines.

    It is compared with what is known of a made sound, if anything is, and with a reference, for
    which recordings are read as they are: whole, as floating point, their channels averaged.

    Args:
        name: what `earmark download` calls the weights.
        weights: as published, or as `earmark convert` wrote it.
        reference: an npz of what their authors' code made of recordings: `path` below
            `recordings`, `embedding` (clips, D) and `logits` (clips, K).

    Raises:
        UserError: a file is missing or something else, or the values differ by more than LIMIT.
    """
    published = find_download(name)
    if (reference is None) != (recordings is None):
        raise UserError("--reference and --recordings belong together; give both or neither")
    expected = _read_reference(reference) if reference else None
    with tempfile.TemporaryDirectory() as folder:
        converted = weights
        if weights.suffix != ".safetensors":
            converted = Path(folder) / "converted.safetensors"
            convert(weights, converted)
        found = pretrained_of(converted)
        yield _checked_source(published, found, weights)
        network = build_network(found.network, _n_classes(converted), found.network_options)
        load_weights(network, converted, sha256_of(converted))
    network.eval()
    if name in KNOWN:
        made = _made(found, network, made_sound(), RATE)
        known = {key: np.array(values) for key, values in KNOWN[name].items()}
        some = {key: made[key][:: _step(made[key], values)] for key, values in known.items()}
        yield _line(found, "a made sound", [(some, known)], weights)
    if expected is not None and recordings is not None:
        total = len(expected["path"])
        pairs = (
            (
                _made(found, network, *_read(recordings / str(expected["path"][position]))),
                {key: expected[key][position] for key in ("embedding", "logits")},
            )
            for position in progress(range(total), total=total, description="verify")
        )
        yield _line(found, counted(total, "clip"), pairs, weights)


def made_sound() -> Float32:
    """Noise that swells, and a rising tone: (T,) at RATE."""
    seconds = np.arange(SECONDS * RATE) / RATE
    noise = rng_for(0, "verification").normal(0, 0.1, len(seconds))
    tone = 0.3 * np.sin(2 * np.pi * (200 + 400 * seconds) * seconds)
    return (noise * seconds / SECONDS + tone).astype(np.float32)


def _checked_source(published: Published, found: Pretrained, weights: Path) -> str:
    """Whether the file is the published one, by its checksum where one is known."""
    files = [file for file in published.files if file.name == published.to_convert]
    known = {file.checksum.removeprefix("sha256:") for file in files} - {""}
    if not known:
        return (
            f"{weights}: sha256 {found.source_sha256} of {published.to_convert}; "
            "no checksum is published for it"
        )
    if found.source_sha256 not in known:
        fix = f"fetch {published.name} again"
        raise UserError(
            f"{weights}: made of a file with sha256 {found.source_sha256}, and "
            f"{published.to_convert} has {', '.join(known)}; {fix}"
        )
    return f"{weights}: the published {published.to_convert}, by its checksum"


def _n_classes(weights: Path) -> int:
    """Of the head, whose last bias is among the tensors."""
    with safe_open(weights, "numpy") as file:
        (n_classes,) = file.get_slice(last_bias(file.keys())).get_shape()
    return int(n_classes)


def _step(values: Float32, known: NDArray[Any]) -> int:
    return -(-len(values) // len(known))


def _line(
    found: Pretrained, sound: str, pairs: Iterable[tuple[Arrays, Arrays]], weights: Path
) -> str:
    worst = {"embedding": 0.0, "logits": 0.0}
    for made, expected in pairs:
        for key in worst:
            worst[key] = max(worst[key], _difference(key, made[key], expected[key]))
    line = (
        f"{found.network} on {sound}: embeddings differ by at most {worst['embedding']:.1e} and "
        f"logits by {worst['logits']:.1e} from the reference"
    )
    if max(worst.values()) > LIMIT:
        raise UserError(f"{line}, more than {LIMIT:g}; {weights} is not the network that made it")
    return line


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


def _read(recording: Path) -> tuple[Float32, int]:
    try:
        channels, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{recording}: cannot be read ({error}); correct --recordings") from None
    return channels.mean(axis=1), rate


@torch.inference_mode()
def _made(found: Pretrained, network: Network, waveform: Float32, rate: int) -> Arrays:
    options = {**found.options, "weights": "", "weights_sha256": ""}  # loaded above, with the head
    backbone = build(found.type, options, sample_rate=rate)
    assert isinstance(backbone, Backbone), "pretrained_of finds no others"
    rows = torch.from_numpy(backbone.front_end(waveform))
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
