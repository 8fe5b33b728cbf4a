"""YAMNet, from yamnet.pth of w-hc/torch_audioset to the names of ours.

TensorFlow's own yamnet.h5 is HDF5, which nothing here reads: that would be one more library in C
for one file of 15 MB, of which this is a conversion.
"""

import re
from collections.abc import Mapping
from typing import Any

from earmark.networks.yamnet import STEM
from earmark.published.weights.backbones import Backbone, frozen, named

FIRST = "layer1.fused.conv.weight"  # by which a file is known


def from_torch(arrays: Mapping[str, Any]) -> Backbone:
    """Number the convolutions in their order; the head is kept.

    Raises:
        ValueError: it is no YAMNet, or a tensor is missing or not finite.
    """
    width = len(named(arrays, FIRST, n_axes=4)) / STEM
    names = {key: ours for key in arrays if (ours := _ours(key))}
    return frozen("yamnet", {"width": width}, arrays, names, feature={"type": "yamnet"})


def _ours(key: str) -> str:
    """Our name of a tensor; empty for what is not of the network."""
    if key.startswith("classifier."):
        return key.replace("classifier", "head", 1)
    layer = re.fullmatch(
        r"layer(\d+)\.(fused|depthwise_conv|pointwise_conv)\.(conv|bn)\.(\w+)", key
    )
    if not layer or layer[4] == "num_batches_tracked":
        return ""
    first = {"fused": 0, "depthwise_conv": 2 * int(layer[1]) - 3}
    number = first.get(layer[2], 2 * int(layer[1]) - 2)
    part = {"conv": 1, "bn": 2}[layer[3]]  # after the padding
    return f"features.{number}.{part}.{layer[4]}"
