"""From the probabilities of crops to those of their clip, by the aggregation of the model.

Shapes: B clips, C crops of one clip, R crops of many clips, K tags.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from earmark.params import Aggregation

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


class ClipProbabilities(NamedTuple):
    """What the crops of one clip give: its probabilities `(K,)`, from how many crops."""

    probabilities: Floats
    n_crops: int


def aggregate_clip(
    crops: Iterable[Floats], *, aggregation: Aggregation, confidence: float
) -> ClipProbabilities:
    """Aggregate the crops `(K,)` of one clip, in float64.

    `mean` and `mean_of_random_crops` are the mean over all crops. `confident_crop` is Shan & Ren's
    rule: a crop whose top probability is below `confidence` is discarded and another tried; if none
    is confident, the most confident one is taken, the first of several. No crop after a confident
    one is asked for, so crops may be computed lazily. The paper has one tag per clip; for several
    the rule looks at the likeliest of them.

    Raises:
        ValueError: there is no crop, or the aggregation is unknown.

    >>> crops = [np.array([0.6, 0.4]), np.array([0.1, 0.9]), np.array([0.5, 0.5])]
    >>> aggregate_clip(crops, aggregation="mean", confidence=0.7).probabilities
    array([0.4, 0.6])
    >>> aggregate_clip(crops, aggregation="confident_crop", confidence=0.7)
    ClipProbabilities(probabilities=array([0.1, 0.9]), n_crops=2)
    """
    if aggregation not in get_args(Aggregation):
        valid = ", ".join(get_args(Aggregation))
        raise ValueError(f"aggregation must be one of {valid}, got {aggregation!r}")
    if aggregation == "confident_crop":
        return _confident_crop(crops, confidence)
    every = np.array(list(crops), dtype=np.float64)  # (C, K)
    return ClipProbabilities(mean_over_crops(every, np.zeros(1, np.int64))[0], len(every))


def mean_over_crops(crops: Floats, clip_starts: Ints) -> Floats:
    """Return the mean `(B, K)` over the crops `(R, K)` of each clip, summed in their own dtype.

    The sum is `np.add.reduceat`, whose order of additions depends on the number of crops alone, so
    that a clip has the same bits by itself and among others.
    """
    _validate(crops, clip_starts)
    n_crops = np.diff(clip_starts, append=len(crops))
    return np.asarray(np.add.reduceat(crops, clip_starts, axis=0) / n_crops[:, np.newaxis])


def _confident_crop(crops: Iterable[Floats], confidence: float) -> ClipProbabilities:
    best, n_crops = np.zeros(0), 0
    for n_crops, crop in enumerate(crops, start=1):
        if n_crops == 1 or crop.max() > best.max():
            best = crop.astype(np.float64)
        if best.max() >= confidence:
            break
    if not n_crops:
        raise ValueError("a clip without a crop has no probabilities; give at least one crop")
    return ClipProbabilities(best, n_crops)


def _validate(crops: Floats, clip_starts: Ints) -> None:
    if crops.ndim != 2 or 0 in crops.shape:
        raise ValueError(f"expected (crops, tags), got {crops.shape}")
    if clip_starts.ndim != 1 or not len(clip_starts) or clip_starts[0] != 0:
        raise ValueError("clip_starts must begin with 0, the first clip's first crop")
    empty = np.flatnonzero(np.diff(clip_starts, append=len(crops)) < 1)
    if len(empty):
        raise ValueError(f"clip {empty[0]} has no crop: clip_starts must rise below {len(crops)}")
