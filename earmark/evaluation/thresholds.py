"""From which probability upwards a tag is said to be there; tuned on other clips than are judged.

Shapes: B clips, K tags.
"""

from typing import NamedTuple

import numpy as np

from earmark.evaluation.measures import Answers
from earmark.evaluation.points import Floats, Ints, best_threshold


class Thresholds(NamedTuple):
    """One for all tags, the best for micro F1; and one for each tag, `(K,)`, the best for its F1.

    Lee et al. and the DCASE 2017 baseline state none, so both are tuned.
    """

    one: float
    by_tag: Floats

    def answers(self, probabilities: Floats) -> Answers:
        return Answers(probabilities >= self.one, probabilities >= self.by_tag)


def tune(probabilities: Floats, targets: Floats) -> Thresholds:
    """Tune on `(B, K)` probabilities and targets; a tag that no clip has gets 1, that is never."""
    is_true = targets > 0.5
    one, _ = best_threshold(probabilities.ravel(), is_true.ravel())
    columns = zip(probabilities.T, is_true.T, strict=True)
    return Thresholds(one, np.array([best_threshold(p, y)[0] for p, y in columns]))


def cross_fitted_answers(probabilities: Floats, targets: Floats, parts: Ints) -> Answers:
    """Answer each part of the clips by thresholds of the others; a lone part is answered by 0.5.

    So no label has a say in the answers for its own part, and their score is honest.
    """
    by_one, by_tag = np.empty((2, *probabilities.shape), dtype=np.bool_)
    for part in np.unique(parts):
        own = parts == part
        if own.all():
            thresholds = Thresholds(0.5, np.full(probabilities.shape[1], 0.5))
        else:
            thresholds = tune(probabilities[~own], targets[~own])
        by_one[own], by_tag[own] = thresholds.answers(probabilities[own])
    return Answers(by_one, by_tag)
