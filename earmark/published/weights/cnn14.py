"""CNN14 of the PANNs, from the files of Zenodo 3987831 to the names of ours."""

import re
from collections.abc import Mapping
from typing import Any

from earmark.networks import Option
from earmark.networks.cnn14 import CHANNELS
from earmark.published.weights.backbones import Backbone, frozen, named

FIRST = "conv_block1.conv1.weight"  # by which a file is known
_RATES = {1024: 32_000, 512: 16_000}  # by the samples of the window that is stored beside
_WINDOW = "spectrogram_extractor.stft.conv_real.weight"


def from_torch(arrays: Mapping[str, Any]) -> Backbone:
    """Take the network without its front-end, which tells the rate; the head is kept.

    Raises:
        ValueError: it is another of the PANNs, or a tensor is missing or not finite.
    """
    window = named(arrays, _WINDOW, n_axes=3).shape[2]
    if window not in _RATES:
        raise ValueError(f"its window has {window} samples; CNN14's have 1024 (32 kHz) or 512")
    if "conv_block6.conv2.weight" not in arrays:
        raise ValueError("it is a PANN of fewer than six blocks; CNN14 alone is known here")
    width = len(named(arrays, "conv_block6.conv2.weight")) / CHANNELS[-1]
    names = {key: ours for key in arrays if (ours := _ours(key))}
    feature: dict[str, Option] = {"type": "cnn14", "target_hz": _RATES[window]}
    return frozen("cnn14", {"width": width}, arrays, names, feature=feature)


def _ours(key: str) -> str:
    """Our name of a tensor; empty for what is not of the network."""
    if key.endswith("num_batches_tracked"):
        return ""
    if block := re.fullmatch(r"conv_block(\d)\.(.*)", key):
        return f"blocks.{int(block[1]) - 1}.{block[2]}"
    half, _, rest = key.partition(".")
    return {"bn0": key, "fc1": key, "fc_audioset": f"head.{rest}"}.get(half, "")
