"""Taggers of six clips, each of which they answer by one tag."""

import numpy as np
import pandas as pd

from earmark.evaluation.predictions import Predictions
from earmark.labels import Task

TAGS = ["cat", "dog", "owl"]


def tagger(
    predicted: str,
    labels: str = "cdocdo",
    name: str = "a",
    clips: str = "pqrstu",
    tags: list[str] = TAGS,
) -> Predictions:
    """Clips p, q, ... with labels and predicted tags by their first letters."""
    tag_of = {tag[0]: tag for tag in TAGS}
    index_of = {tag[0]: i for i, tag in enumerate(tags)}
    table = pd.DataFrame(
        {
            "clip": list(clips),
            "split": "validation",
            "fold": "0",
            "cross_fit_group": "",
            "label": [tag_of[letter] for letter in labels],
            "source": "",
        }
    )
    probabilities = np.full((len(clips), len(tags)), 0.1)
    probabilities[np.arange(len(clips)), [index_of[letter] for letter in predicted]] = 0.8
    targets = np.array([[tag[0] == letter for tag in tags] for letter in labels], np.float32)
    return Predictions(name, Task(list(tags), False, []), table, targets, probabilities)
