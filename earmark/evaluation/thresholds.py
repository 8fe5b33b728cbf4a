"""Thresholds above which a tag is answered, tuned on other clips than those that are scored.

Shapes: B clips, K tags.
"""

from typing import NamedTuple

import numpy as np

from earmark.evaluation.points import Bools, Floats, Ints, best_threshold


class Answers(NamedTuple):
    """Which tags are answered for a clip, `(B, K)`: by one threshold for all, by one per tag."""

    by_one: Bools
    by_tag: Bools


class Thresholds(NamedTuple):
    """One for all tags, the best for micro F1; and one for each tag, `(K,)`, the best for its F1.

    Lee et al. and the DCASE 2017 baseline state none, so both are tuned.
    """

    one: float
    by_tag: Floats

    def answers(self, probabilities: Floats) -> Answers:
        """A tag is answered from its threshold upwards."""
        return Answers(probabilities >= self.one, probabilities >= self.by_tag)


def tune(probabilities: Floats, targets: Floats) -> Thresholds:
    """Tune on `(B, K)` probabilities and targets; a tag that no clip has gets 1, that is never."""
    is_true = targets > 0.5
    one, _ = best_threshold(probabilities.ravel(), is_true.ravel())
    columns = zip(probabilities.T, is_true.T, strict=True)
    return Thresholds(one, np.array([best_threshold(p, y)[0] for p, y in columns]))


def cross_fitted_answers(probabilities: Floats, targets: Floats, groups: Ints) -> Answers:
    """Answer each group of the clips by thresholds of the others; a lone group is answered by 0.5.

    No label influences the answers of its own group, so their score is not flattered.
    """
    by_one, by_tag = np.empty((2, *probabilities.shape), dtype=np.bool_)
    for group in np.unique(groups):
        in_group = groups == group
        if in_group.all():
            thresholds = Thresholds(0.5, np.full(probabilities.shape[1], 0.5))
        else:
            thresholds = tune(probabilities[~in_group], targets[~in_group])
        by_one[in_group], by_tag[in_group] = thresholds.answers(probabilities[in_group])
    return Answers(by_one, by_tag)
