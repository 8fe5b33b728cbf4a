"""Waveforms that the tests of sound read and write."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.seeding import rng_for


def noise(n_samples: int = 4410, *, key: str = "noise", level: float = 3000) -> NDArray[np.int16]:
    """White noise (T,) that depends on its key alone; `level` is its standard deviation."""
    return (rng_for(0, key).standard_normal(n_samples) * level).astype(np.int16)


def tone(hertz: float, *, seconds: float, rate: int, level: float = 0.5) -> NDArray[Any]:
    """A sine (T,) in floats; `level` is its peak, where 1 is full scale."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
