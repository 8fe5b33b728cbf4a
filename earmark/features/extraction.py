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
        spool.append(_as_stored(np.asarray(rows), feature.dtype))
    return spool.rows()


def _as_stored(rows: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if rows.dtype != np.float32 or dtype != np.float16:
        return rows.astype(dtype)
    import torch  # rounds alike, and sixteen times as fast as numpy

    half: NDArray[Any] = torch.from_numpy(np.ascontiguousarray(rows)).half().numpy()
    return half
