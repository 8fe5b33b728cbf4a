"""What a file of pretrained weights says of itself, as `earmark convert` noted it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from earmark.errors import UserError

_FIX = "make one with `python -m earmark convert FILE OUT.safetensors`"


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
    noted = _noted(path)
    network, feature = noted.get("network", {}), noted.get("feature")
    if not feature:
        problem = "does not say what it is of"
        if network:
            problem = f"is of {network['name']}, which makes no embeddings here"
        raise UserError(f"{path}: {problem}; take weights of mn, ced, cnn14 or yamnet, and {_FIX}")
    name, type_ = network.pop("name"), feature.pop("type")
    return Pretrained(name, network, type_, feature, noted.get("source_sha256", ""))


def names_a_backbone(path: Path) -> bool:
    """Whether a converted file is of a network that `pretrained_of` knows; raises as it does."""
    return bool(_noted(path).get("feature"))


def _noted(path: Path) -> dict[str, Any]:
    """What `earmark convert` wrote into a file; nothing where another program made it."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; {_FIX}")
    try:
        with safe_open(path, "numpy") as file:
            noted: dict[str, Any] = json.loads((file.metadata() or {}).get("earmark", "{}"))
    except SafetensorError as error:
        raise UserError(f"{path}: no safetensors file ({error}); {_FIX}") from None
    return noted
