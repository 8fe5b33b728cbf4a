"""EfficientAT's MobileNets, from the files of fschmid56/EfficientAT to the names of ours."""

from collections.abc import Mapping

from earmark.networks.mobilenet import HIDDEN
from earmark.published.weights.backbones import (
    Array,
    Arrays,
    Backbone,
    check_finite,
    checked,
    named,
)

FIRST = "features.0.0.weight"  # by which a file is known
# Their two dense layers: the first reads the embedding, the second knows AudioSet's 527 classes.
_HEAD = {"classifier.2": "head.0", "classifier.5": "head.3"}


def from_torch(arrays: Mapping[str, Array]) -> Backbone:
    """The names below `features` are the same; the head is kept, to be trained on or verified.

    Raises:
        ValueError: it is no MobileNet of the family, or a tensor is missing or not finite.
    """
    hidden = len(named(arrays, "classifier.2.bias", n_axes=1))
    features = {key: named(arrays, key) for key in arrays if _is_feature(key)}
    backbone = checked("mobilenet", {"width": hidden / HIDDEN}, features)
    head: Arrays = {}
    for theirs, ours in _HEAD.items():
        for part in ("weight", "bias"):
            head[f"{ours}.{part}"] = named(arrays, f"{theirs}.{part}")
    check_finite(head)
    return Backbone(backbone.network, backbone.options, {**backbone.tensors, **head})


def _is_feature(key: str) -> bool:
    return key.startswith("features.") and not key.endswith("num_batches_tracked")
