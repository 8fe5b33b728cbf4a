"""Made-up probabilities of taggers."""

import numpy as np


def random_probabilities(
    rng: np.random.Generator, n_clips: int, n_tags: int = 4, sharpness: float = 2.0
) -> np.ndarray:
    p = np.exp(sharpness * rng.normal(size=(n_clips, n_tags)))
    return p / p.sum(axis=1, keepdims=True)
