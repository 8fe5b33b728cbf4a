"""What the head of one network reads of segments of a recording.

Shapes: T samples, S segments, D dims.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.ensemble.segments import Segment, prepared_segment
from earmark.ensemble.tagging import BATCH
from earmark.sound.samples import Int16
from earmark.taggers.device import Device
from earmark.taggers.rows import WaveformFeatures, rows_read
from earmark.taggers.tagger import Tagger

CHUNK_SECONDS = 20.0  # of segments whose features and maps are in memory together


def embed_segments(
    tagger: Tagger,
    extractor: Tagger | None,
    waveform: Int16,
    segments: Sequence[Segment],
    preparation: Mapping[str, Any],
    device: Device,
) -> NDArray[np.float32]:
    """The mean `(S, D)` over the crops that cover each segment of a recording `(T,)`.

    Args:
        tagger: whose features are vectors.
        extractor: that it reads embeddings of, if any.
        preparation: as data/ensemble/ensemble.json has it.
    """
    crops: list[Any] = []
    segment_of: list[int] = []
    for number, segment in enumerate(segments):
        samples = prepared_segment(waveform, segment, preparation)
        rows = rows_read(WaveformFeatures(samples), tagger, extractor, device)
        covering = tagger.input.covering_segments(rows)
        crops += covering
        segment_of += [number] * len(covering)
    by_length: dict[int, list[int]] = {}
    for index, crop in enumerate(crops):
        by_length.setdefault(len(crop), []).append(index)
    sums = np.zeros((len(segments), tagger.embedding_dim))
    for indices in by_length.values():
        stacked = tagger.input.stack([crops[index] for index in indices])
        owners = [segment_of[index] for index in indices]
        np.add.at(sums, owners, tagger.embeddings(stacked, device, batch_size=BATCH))
    n_crops = np.bincount(segment_of, minlength=len(segments))
    return (sums / n_crops[:, np.newaxis]).astype(np.float32)
