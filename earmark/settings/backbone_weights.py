"""Fit params.yaml to the weights of a pretrained network: its type, its size and its checksum."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from earmark.checksums import sha256_of
from earmark.errors import UserError
from earmark.features import build, find
from earmark.features.pretrained import Pretrained, pretrained_of
from earmark.layout import Layout
from earmark.networks import find as find_network

BACKBONE, INPUT = "backbone", "backbone_input"  # the features: what it makes, and what it reads
GET_THEM = "get them with `python -m earmark download mn04_as`, or name a file with --weights FILE"


def fit_backbone(document: Any, layout: Layout, weights: str, *, cwd: Path) -> list[str]:
    """Write what a file of weights holds into `features.backbone` and, where the profile trains the
    network further, into `features.backbone_input` and its models, in place; returns what it is.

    Models that read the embeddings get their number of values.

    Args:
        document: the mapping of params.yaml.
        layout: paths in it start from its root.
        weights: a file that `earmark convert` wrote; "" for that of the profile.
        cwd: what a relative path of `weights` starts from.

    Raises:
        UserError: the profile has no such feature, or the file is missing or something else.
    """
    feature = document["features"].get(BACKBONE)
    if feature is None:
        if weights:
            raise UserError("--weights: this profile has no features.backbone; take `pretrained`")
        return []
    path = cwd / Path(weights).expanduser() if weights else layout.root / feature["weights"]
    if not path.is_file():
        name = f"--weights {weights}" if weights else feature["weights"]
        raise UserError(f"{name}: there is no such file of weights; {GET_THEM}")
    path = path.resolve()
    found = pretrained_of(path)
    inside = path.is_relative_to(layout.root)
    name = path.relative_to(layout.root).as_posix() if inside else str(path)
    sha256 = sha256_of(path)
    options = {**found.options, "weights": name, "weights_sha256": sha256}
    feature.clear()
    feature |= {"type": found.type, **options}
    (n_values,) = build(found.type, options, sample_rate=1).row_shape
    for entry in document["models"].get(BACKBONE, {}).values():
        if "n_inputs" in entry["network"]:
            entry["network"]["n_inputs"] = n_values
    if INPUT in document["features"]:
        document["features"][INPUT] = _input_of(found)
    for entry in document["models"].get(INPUT, {}).values():
        entry["network"] = {"name": found.network, **found.network_options}
        entry["training"] |= {"init_from": name, "init_sha256": sha256}
    return [f"features.backbone: {found.network} of {path.name}, {n_values} values"]


def _input_of(found: Pretrained) -> dict[str, Any]:
    """The feature that the network reads, with those of the options that are its own."""
    (type_,) = find_network(found.network).feature_types
    own = {field.name for field in fields(find(type_))}  # type: ignore[arg-type]
    return {"type": type_, **{key: found.options[key] for key in found.options if key in own}}
