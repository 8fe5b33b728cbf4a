"""What a conversion yields: arrays under the names of our networks, checked against them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.networks import Option, build, default_options

Array = NDArray[Any]
Arrays = dict[str, Array]

_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Backbone:
    """The weights of a network, or VGGish's post-processor (`network` is "pca").

    `options` are those of the network that they fit, as far as they differ from the published one;
    `feature` are the type of feature that makes embeddings with them, and its options, if there is
    one. The head is among the tensors where it is of use: to tell AudioSet's classes.
    """

    network: str
    options: dict[str, Option]
    tensors: Arrays
    feature: Mapping[str, Option] = field(default_factory=dict)


def frozen(
    network: str,
    options: Mapping[str, Option],
    arrays: Mapping[str, Any],
    names: Mapping[str, str],
    *,
    feature: Mapping[str, Option],
) -> Backbone:
    """The weights of a network with its head, for the type of feature that reads them.

    Args:
        arrays: of the file.
        names: of the tensors in the file -> ours.

    Raises:
        ValueError: as `checked`, or the head is missing.
    """
    tensors = {ours: named(arrays, theirs) for theirs, ours in names.items()}
    n_tags = len(tensors[last_bias(tensors)])
    backbone = checked(network, options, tensors, n_tags=n_tags)
    return replace(backbone, feature=feature)


def last_bias(names: Iterable[str]) -> str:
    """The bias of a head's last layer, which has one value for each class.

    Raises:
        ValueError: there is none among the names.
    """
    biases = [name for name in names if re.fullmatch(r"head\.(\d+\.)?bias", name)]
    if not biases:
        raise ValueError("it has no layer for AudioSet's classes")
    return max(biases)


def checked(
    network: str, options: Mapping[str, Option], tensors: Arrays, *, n_tags: int | None = None
) -> Backbone:
    """Check the tensors against every name and shape that the network has: with a head for so many
    tags, or below it.

    Raises:
        ValueError: one is missing, too many, of another shape, or not finite.
    """
    with torch.device("meta"):
        state = build(network, n_tags or 1, options).state_dict()
    wanted = {
        key: tuple(value.shape)
        for key, value in state.items()
        if not key.endswith("num_batches_tracked") and (n_tags or not key.startswith("head."))
    }
    for key in sorted(wanted.keys() | tensors.keys()):
        shape = tensors[key].shape if key in tensors else "missing"
        if shape != wanted.get(key):
            raise ValueError(f"{key} is {shape}, where {network} has {wanted.get(key, 'none')}")
    check_finite(tensors)
    defaults = default_options(network)
    unusual = {name: value for name, value in options.items() if value != defaults[name]}
    in_float32 = {key: a.astype(np.float32, copy=False) for key, a in tensors.items()}
    return Backbone(network, unusual, in_float32)


def check_finite(tensors: Arrays) -> None:
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinity")


def named(arrays: Mapping[str, Any], name: str, n_axes: int | None = None) -> Array:
    """One array of a file, in this machine's byte order.

    Raises:
        ValueError: it is missing, not an array of floats, or has other axes than `n_axes`.
    """
    if not arrays:
        raise ValueError("it holds nothing")
    if name not in arrays:
        raise ValueError(f"it has no array {name!r}; it has {listing(arrays)}")
    array = arrays[name]
    if not isinstance(array, np.ndarray) or array.dtype.name not in _FLOATS:
        kind = "text" if isinstance(array, str) else getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{name} is a {kind}, not an array of floats")
    if n_axes is not None and array.ndim != n_axes:
        raise ValueError(f"{name} is {array.shape}, where {n_axes} axes are expected")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def listing(names: Iterable[object]) -> str:
    """The first few names, for a message."""
    shown = sorted(map(str, names))
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
