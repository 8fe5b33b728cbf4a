"""A tagger of known calibration."""

import numpy as np
from scipy.special import expit, log_softmax


def overconfident(
    temperature: float, *, is_multi_label: bool, seed: int = 0, n_clips: int = 3000
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `(B, 4)` of a tagger overconfident by `temperature`, and the targets."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n_clips, 4))
    if is_multi_label:
        targets = (rng.random(logits.shape) < expit(logits)).astype(np.float32)
        return expit(logits * temperature), targets
    true_probabilities = np.exp(log_softmax(logits, axis=1))
    labels = (rng.random((n_clips, 1)) > true_probabilities.cumsum(axis=1)).sum(axis=1)
    return np.exp(log_softmax(logits * temperature, axis=1)), np.eye(4, dtype=np.float32)[labels]
