"""Logarithms and log-odds of probabilities that networks wrote as float32."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

# A smaller probability than this is a rounding of float32, not a veto.
FLOOR = float(np.finfo(np.float32).tiny)
CEILING = 1 - 2.0**-25  # likewise: float32 has nothing between 1 - 2^-24 and 1


def log(probabilities: Floats) -> Floats:
    """Natural logarithm; a probability of 0 counts as the smallest normal float32."""
    return np.log(np.maximum(probabilities.astype(np.float64), FLOOR))


def logit(probabilities: Floats) -> Floats:
    """Log-odds; probabilities of 0 and 1 count as the nearest that float32 tells from them."""
    p = np.clip(probabilities.astype(np.float64), FLOOR, CEILING)
    return np.log(p) - np.log1p(-p)
