"""Fit params.yaml to the weights of a pretrained network: its type, its size and its checksum."""

from pathlib import Path
from typing import Any

from earmark.errors import UserError
from earmark.features import build
from earmark.features.pretrained import pretrained_of
from earmark.layout import Layout
from earmark.weights import sha256_of

BACKBONE = "backbone"  # the feature
GET_THEM = "get them with `python -m earmark download mn04_as`, or name a file with --weights FILE"


def fit_backbone(document: Any, layout: Layout, weights: str, *, cwd: Path) -> list[str]:
    """Write into `features.backbone` what a file of weights holds, in place; returns what it is.

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
    options = {
        **found.options,
        "weights": path.relative_to(layout.root).as_posix() if inside else str(path),
        "weights_sha256": sha256_of(path),
    }
    feature.clear()
    feature |= {"type": found.type, **options}
    (n_values,) = build(found.type, options, sample_rate=1).row_shape
    for entry in document["models"].get(BACKBONE, {}).values():
        if "n_inputs" in entry["network"]:
            entry["network"]["n_inputs"] = n_values
    return [f"features.backbone: {found.network} of {path.name}, {n_values} values"]
