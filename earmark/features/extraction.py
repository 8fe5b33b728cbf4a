"""From a waveform to the rows of a feature: one function for stages, inference and analyses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.features.feature_type import FeatureType
from earmark.sound.samples import Int16
from earmark.spool import IN_MEMORY, FileRows, Scratch, Spool


def extract(
    waveform: Int16, feature: FeatureType, *, scratch: Scratch = IN_MEMORY
) -> NDArray[Any] | FileRows:
    """Rows (N, *row_shape), in the type that they are stored in, of a trimmed waveform (T,).

    Args:
        scratch: where rows go that are too many for memory.
    """
    spool = Spool(feature.dtype, feature.row_shape, scratch=scratch)
    for rows in feature.blocks(waveform):
        spool.append(np.asarray(rows).astype(feature.dtype))
    return spool.rows()
