"""What a file of pretrained weights says of itself, as `earmark convert` noted it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from earmark.errors import UserError


class Pretrained(NamedTuple):
    """The network that the weights are of, and the type of feature that its embeddings are.

    The options of the type are those beside `weights` and `weights_sha256`.
    """

    network: str
    network_options: dict[str, Any]
    type: str
    options: dict[str, Any]
    source_sha256: str  # of the file that was converted


def pretrained_of(path: Path) -> Pretrained:
    """Read what a converted file says of itself.

    Raises:
        UserError: it is missing, no converted file, or of a network that makes no embeddings here.
    """
    fix = "make one with `python -m earmark convert FILE OUT.safetensors`"
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; {fix}")
    try:
        with safe_open(path, "numpy") as file:
            noted = json.loads((file.metadata() or {}).get("earmark", "{}"))
    except SafetensorError as error:
        raise UserError(f"{path}: no safetensors file ({error}); {fix}") from None
    network, feature = noted.get("network", {}), noted.get("feature")
    if not feature:
        problem = "does not say what it is of"
        if network:
            problem = f"is of {network['name']}, which makes no embeddings here"
        raise UserError(f"{path}: {problem}; take weights of mn, ced, cnn14 or yamnet, and {fix}")
    name, type_ = network.pop("name"), feature.pop("type")
    return Pretrained(name, network, type_, feature, noted.get("source_sha256", ""))
