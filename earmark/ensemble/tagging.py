"""One network's probabilities of one clip, by the aggregation of its crops.

Shapes: B clips, K tags.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.ensemble.crops import ClipProbabilities, aggregate_clip, mean_over_crops
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
            random crops, see `crop_rng`; without such they do not count.
    """
    inference, stack = preparation["inference"], tagger.input.stack
    kind, seed = crops_of(aggregation)[0], preparation["seed"]
    is_drawn = kind == "random"
    rng = crop_rng(seed, member=member, fold=fold, sha256=sha256) if is_drawn else None
    crops = tagger.input.prediction_segments(
        rows, crops=kind, n_crops=inference["n_crops"], rng=rng
    )
    probabilities: Iterable[Floats]
    if aggregation != "confident_crop":
        probabilities = tagger.clip_probabilities(crops, device, batch_size=BATCH)
    else:
        probabilities = (tagger.probabilities(stack([c]), device)[0] for c in crops)
    return aggregate_clip(
        probabilities, aggregation=aggregation, confidence=inference["confidence"]
    )


def tag_together(
    tagger: Tagger, rows: Sequence[Any], device: Device
) -> tuple[Floats, NDArray[np.int64]]:
    """The mean over the crops that cover each clip, `(B, K)`, and how many these are, `(B,)`.

    The crops of all clips go through the network together.

    Args:
        rows: of each clip, as the network's input reads them.
    """
    by_clip = [tagger.input.covering_segments(one) for one in rows]
    n_crops = np.array([len(crops) for crops in by_clip], dtype=np.int64)
    crops = [crop for one in by_clip for crop in one]
    probabilities = tagger.clip_probabilities(crops, device, batch_size=BATCH)
    starts = n_crops.cumsum() - n_crops
    return mean_over_crops(probabilities.astype(np.float64), starts), n_crops
