"""CED, from model.safetensors of the hub's mispeech/ced-* to the names of ours."""

import re
from collections.abc import Mapping
from typing import Any

from earmark.networks.ced import DEPTH, SIZES
from earmark.published.weights.backbones import Backbone, frozen, named

FIRST = "encoder.patch_embed.proj.weight"  # by which a file is known


def from_hub(arrays: Mapping[str, Any]) -> Backbone:
    """The encoder's names are the same; the head is kept, to be trained on.

    Raises:
        ValueError: it is no CED of a published size, or a tensor is missing or not finite.
    """
    dims = len(named(arrays, FIRST, n_axes=4))
    size = next((name for name, n in SIZES.items() if n == dims), None)
    if size is None:
        sizes = ", ".join(f"{name} {n}" for name, n in SIZES.items())
        raise ValueError(f"{FIRST} has {dims} dims; CED's sizes are {sizes}")
    names = {key: ours for key in arrays if (ours := _ours(key))}
    depth = sum(bool(re.fullmatch(r"blocks\.\d+\.norm1\.weight", ours)) for ours in names.values())
    if depth != DEPTH:
        raise ValueError(f"it has {depth} blocks, where CED has {DEPTH}")
    return frozen("ced", {"size": size}, arrays, names, feature={"type": "ced", "size": size})


def _ours(key: str) -> str:
    """Our name of a tensor; empty for what is not of the network."""
    if key.endswith("num_batches_tracked"):
        return ""
    half, _, rest = key.partition(".")
    return {"encoder": rest, "outputlayer": f"head.{rest}"}.get(half, "")
