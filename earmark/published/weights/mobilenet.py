"""EfficientAT's MobileNets, from the files of fschmid56/EfficientAT to the names of ours."""

from collections.abc import Mapping
from typing import Any

from earmark.networks import Option
from earmark.networks.mobilenet import HIDDEN
from earmark.published.weights.backbones import Backbone, frozen, named

FIRST = "features.0.0.weight"  # by which a file is known
# Their two dense layers: the first reads the embedding, the second knows AudioSet's 527 classes.
_HEAD = {"classifier.2": "head.0", "classifier.5": "head.3"}


def from_torch(arrays: Mapping[str, Any]) -> Backbone:
    """The names below `features` are the same; the head is kept, to be trained on or verified.

    Raises:
        ValueError: it is no MobileNet of the family, or a tensor is missing or not finite.
    """
    width = len(named(arrays, "classifier.2.bias", n_axes=1)) / HIDDEN
    names = {key: key for key in arrays if _is_feature(key)}
    for theirs, ours in _HEAD.items():
        names |= {f"{theirs}.{part}": f"{ours}.{part}" for part in ("weight", "bias")}
    options: dict[str, Option] = {"width": width}
    return frozen("mobilenet", options, arrays, names, feature={"type": "mn", **options})


def _is_feature(key: str) -> bool:
    return key.startswith("features.") and not key.endswith("num_batches_tracked")
