"""Which type of feature a file of pretrained weights makes, as `earmark convert` noted in it."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from earmark.errors import UserError
from earmark.features import FEATURE_TYPES, find
from earmark.features.backbone import Backbone
from earmark.networks import default_options
from earmark.networks import find as find_network

_PINNED = {"sample_rate", "weights", "weights_sha256"}  # of every backbone


class Pretrained(NamedTuple):
    """A type of feature and the options that the weights need, without their path and checksum."""

    network: str
    type: str
    options: dict[str, Any]


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
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"{path}: no safetensors file ({error}); {fix}") from None
    if "earmark" not in metadata:
        raise UserError(f"{path}: does not say which network it is of; {fix}")
    noted: dict[str, Any] = json.loads(metadata["earmark"])["network"]
    name = noted.pop("name")
    types = {}
    for type_ in FEATURE_TYPES:
        class_ = find(type_)
        if issubclass(class_, Backbone):
            types[class_.network] = (type_, class_)
    if name == "pca" or find_network(name) not in types:
        names = ", ".join(type_ for type_, _ in types.values())
        raise UserError(f"{path}: holds {name}, and the types of pretrained networks are {names}")
    type_, class_ = types[find_network(name)]
    options = default_options(name) | noted
    own = {field.name for field in fields(class_)} - _PINNED
    return Pretrained(name, type_, {key: options[key] for key in sorted(own)})
