"""Thresholds above which a tag is answered, tuned on other clips than those that are scored.

Shapes: B clips, K tags.
"""

from typing import NamedTuple

import numpy as np

from earmark.evaluation.points import Bools, Floats, Ints, best_threshold

MIN_OF_TAG = 5  # a threshold of fewer clips is that of the luckiest


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


def tune(probabilities: Floats, targets: Floats, is_trusted: Bools | None = None) -> Thresholds:
    """Tune on `(B, K)` probabilities and targets; a tag that no clip has gets 1, that is never.

    Only the clips of `is_trusted` `(B,)` count, if it is given; but a tag that fewer than 5 of
    them have is tuned on all clips.
    """
    is_true = targets > 0.5
    rows = np.ones(len(targets), dtype=np.bool_) if is_trusted is None else is_trusted
    one, _ = best_threshold(probabilities[rows].ravel(), is_true[rows].ravel())
    by_tag = []
    for p, y in zip(probabilities.T, is_true.T, strict=True):
        kept = rows if y[rows].sum() >= MIN_OF_TAG else slice(None)
        by_tag.append(best_threshold(p[kept], y[kept])[0])
    return Thresholds(one, np.array(by_tag))


def cross_fitted_answers(
    probabilities: Floats, targets: Floats, groups: Ints, is_trusted: Bools | None = None
) -> Answers:
    """Answer each group of the clips by thresholds of the others; a lone group is answered by 0.5.

    The thresholds are tuned on the others of `is_trusted`, as in `tune`.
    No label influences the answers of its own group, so their score is not flattered.
    """
    by_one, by_tag = np.empty((2, *probabilities.shape), dtype=np.bool_)
    for group in np.unique(groups):
        in_group = groups == group
        if in_group.all():
            thresholds = Thresholds(0.5, np.full(probabilities.shape[1], 0.5))
        else:
            trusted = None if is_trusted is None else is_trusted[~in_group]
            thresholds = tune(probabilities[~in_group], targets[~in_group], trusted)
        by_one[in_group], by_tag[in_group] = thresholds.answers(probabilities[in_group])
    return Answers(by_one, by_tag)
