"""One network's probabilities of one clip, by the aggregation of its crops.

Shapes: K tags.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.ensemble.crops import ClipProbabilities, aggregate_clip
from earmark.params import Aggregation
from earmark.taggers.device import Device
from earmark.taggers.input import crop_rng, crops_of
from earmark.taggers.tagger import Tagger

Floats = NDArray[np.floating[Any]]

BATCH = 32


def tag_clip(
    tagger: Tagger,
    rows: Any,
    *,
    aggregation: Aggregation,
    preparation: Mapping[str, Any],
    member: str,
    fold: str,
    sha256: str,
    device: Device,
) -> ClipProbabilities:
    """Aggregate the crops of a clip; none is computed after a confident one.

    Args:
        rows: of the clip, as the network's input reads them.
        preparation: as data/ensemble/ensemble.json has it; its `inference` and `seed` count.
        member, fold: of the network; with `sha256`, that of the trimmed waveform, they key the
            random crops, see `crop_rng`.
    """
    inference, stack = preparation["inference"], tagger.input.stack
    crops = tagger.input.prediction_segments(
        rows,
        crops=crops_of(aggregation)[0],
        n_crops=inference["n_crops"],
        rng=crop_rng(preparation["seed"], member=member, fold=fold, sha256=sha256),
    )
    probabilities: Iterable[Floats]
    if aggregation != "confident_crop":
        probabilities = tagger.clip_probabilities(crops, device, batch_size=BATCH)
    else:
        probabilities = (tagger.probabilities(stack([c]), device)[0] for c in crops)
    return aggregate_clip(
        probabilities, aggregation=aggregation, confidence=inference["confidence"]
    )
