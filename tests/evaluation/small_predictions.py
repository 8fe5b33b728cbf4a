"""Predictions for a handful of clips, with one tag per clip and with several."""

import numpy as np
import pandas as pd

from earmark.evaluation.predictions import Predictions
from earmark.labels import Task

TAGS = ["Bark", "Cough", "Flute", "Gong"]
ONE = Task(TAGS, is_multi_label=False, aux_labels=[])
SEVERAL = Task(TAGS, is_multi_label=True, aux_labels=[])
CLIPS = pd.DataFrame(
    {
        "clip": list("abcdefgh"),
        "split": ["validation"] * 4 + ["test"] * 4,
        "fold": ["0", "0", "1", "1", "", "", "", ""],
        "cross_fit_group": ["0", "0", "1", "1", "", "", "", ""],
        "label": ["Bark", "Cough", "Flute", "Gong", "Bark", "Cough", "Flute", ""],
        "verified": True,
        "source": "",
        "usage": ["", "", "", "", "Public", "Private", "Private", "Ignored"],
        "quarantined": [False] * 6 + [True, False],
    }
)


def small() -> Predictions:
    """Right on a, b, c and e; d is second; f third; g (quarantined) last; h has no label."""
    ranked = {0: [0, 1, 2, 3], 1: [1, 0, 2, 3], 2: [2, 0, 1, 3], 3: [0, 3, 1, 2],
              4: [0, 1, 2, 3], 5: [0, 2, 1, 3], 6: [0, 1, 3, 2], 7: [3, 2, 1, 0]}  # fmt: skip
    probabilities = np.zeros((8, 4))
    for row, order in ranked.items():
        probabilities[row, order] = [0.4, 0.3, 0.2, 0.1]
    return Predictions.of("small", ONE, CLIPS, probabilities)


def several_tags(n_clips: int = 60) -> Predictions:
    """40 validation clips in two folds, and test clips, of any number of tags."""
    rng = np.random.default_rng(0)
    targets = (rng.random((n_clips, 4)) < 0.4).astype(np.float32)
    targets[~targets.any(axis=1), 0] = 1
    split = np.where(np.arange(n_clips) < 40, "validation", "test")
    fold = np.where(split == "test", "", (np.arange(n_clips) % 2).astype(str))
    clips = pd.DataFrame(
        {
            "clip": [f"c{i}" for i in range(n_clips)],
            "split": split,
            "fold": fold,
            "cross_fit_group": fold,
            "label": [";".join(np.array(TAGS)[row > 0]) for row in targets],
            "verified": True,
            "usage": "",
            "quarantined": False,
            "source": "",
        }
    )
    probabilities = 0.25 * targets + 0.75 * rng.random(targets.shape)
    return Predictions.of("several", SEVERAL, clips, probabilities)
