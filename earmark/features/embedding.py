"""Embeddings that a trained extractor makes of patches: what the embedding models read.

Shapes: P patches, D dims.
"""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from earmark.features.feature_type import FeatureType


@dataclass(frozen=True, kw_only=True)
class Embedding(FeatureType):
    """One vector for each patch: rows (P, D). The stage embed makes them, not this class."""

    sample_rate: int
    dims: int

    segment_key = "segment_patches"
    padding = "tile"  # Xu et al., section 3.2: a short bag is repeated
    dtype = np.dtype(np.float32)

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (self.dims,)

    @property
    def silence(self) -> NDArray[np.float32]:
        return np.zeros(self.row_shape, self.dtype)

    def __call__(self, waveform: NDArray[np.float32]) -> NoReturn:  # noqa: ARG002
        raise TypeError("embeddings are made of patches by an extractor, not of a waveform")
