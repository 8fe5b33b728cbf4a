"""From a waveform to the rows of a feature: one function for stages, inference and analyses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.features.feature_type import FeatureType
from earmark.sound.decoding import Int16, as_float


def extract(waveform: Int16, feature: FeatureType) -> NDArray[Any]:
    """Rows (N, *row_shape), in the type that they are stored in, of a trimmed waveform (T,)."""
    return np.asarray(feature(as_float(waveform))).astype(feature.dtype)
