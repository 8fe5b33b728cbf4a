"""From a waveform to the rows that a trained tagger reads: for inference and for analyses alike.

Shapes: T samples, N rows.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.features import FeatureType, build
from earmark.features.extraction import extract
from earmark.sound.samples import Int16
from earmark.spool import IN_MEMORY, Scratch
from earmark.taggers.device import Device
from earmark.taggers.input import FusionInput, Input, Pair
from earmark.taggers.tagger import Tagger

BATCH = 64


class WaveformFeatures:
    """The features of one waveform, each extracted once, whatever number of taggers reads it."""

    def __init__(self, waveform: Int16, *, scratch: Scratch = IN_MEMORY) -> None:
        self.waveform, self.scratch = waveform, scratch
        self._rows: dict[FeatureType, NDArray[Any]] = {}

    def of(self, input_: Input) -> NDArray[Any]:
        """The rows (N, *row_shape) of the feature that an input reads."""
        options = tuple(sorted(input_.options.items()))
        feature = _built(input_.type_name, options, input_.sample_rate)
        if feature not in self._rows:
            self._rows[feature] = np.asarray(extract(self.waveform, feature, scratch=self.scratch))
        return self._rows[feature]


@lru_cache(maxsize=64)
def _built(type_: str, options: tuple[tuple[str, Any], ...], sample_rate: int) -> FeatureType:
    """One for all waveforms: to check its options takes as long as some of its work."""
    return build(type_, dict(options), sample_rate=sample_rate)


def rows_read(
    features: WaveformFeatures, tagger: Tagger, extractor: Tagger | None, device: Device
) -> Any:
    """The rows that a tagger reads: features, a pair of them, or embeddings of an extractor."""
    if extractor is not None:
        segments = features.of(extractor.input)[:, np.newaxis]  # of one patch each
        return extractor.embeddings(segments, device, batch_size=BATCH)
    if isinstance(tagger.input, FusionInput):
        return Pair(features.of(tagger.input.audio), features.of(tagger.input))
    return features.of(tagger.input)
