"""The log loss of a tagger, and by how much that of another is lower on the same clips.

Shapes: B clips, K tags, R resamples.
"""

from dataclasses import dataclass

import numpy as np

from earmark.evaluation.intervals import Estimate, too_few_recordings
from earmark.evaluation.jackknife import Units, jackknife
from earmark.evaluation.logits import log, logit
from earmark.evaluation.points import Floats
from earmark.evaluation.predictions import Predictions


@dataclass(frozen=True)
class _Mean:
    """The mean of a value of each clip, `(B,)`; every clip is a cell of its own."""

    of_clip: Floats

    def values(self, counts: Floats) -> dict[str, Floats]:
        return {"mean": self.of_clip @ counts / counts.sum(axis=0)}


def losses_of(predictions: Predictions) -> Floats:
    """Return `(B,)` in nats, of labelled clips: of the true tag, or the mean over tags if several.

    That is what networks are trained by: cross-entropy, or binary cross-entropy.

    >>> from earmark.labels import Task
    >>> import pandas as pd
    >>> clips = pd.DataFrame({"label": ["cat", "dog"]})
    >>> task = Task(["cat", "dog"], is_multi_label=False, aux_labels=[])
    >>> half = Predictions.of("half", task, clips, np.full((2, 2), 0.5))
    >>> losses_of(half).round(3).tolist()
    [0.693, 0.693]
    """
    p, targets = predictions.probabilities, predictions.targets  # (B, K) each
    losses: Floats
    if predictions.task.is_multi_label:
        logits = logit(p)
        losses = (np.logaddexp(0, logits) - targets * logits).mean(axis=1)
    else:
        losses = -(targets * log(p)).sum(axis=1)
    return losses


def log_loss_difference(first: Predictions, second: Predictions) -> Estimate:
    """Subtract the log loss of the first tagger from that of the second: below 0 is better.

    Its 95 % interval is Student's about the value, over recordings, as `paired.gain` has it. Both
    are judged on the same clips, so that what is hard for both is in neither.

    Raises:
        ValueError: the clips are not the same.
    """
    if not np.array_equal(first.targets, second.targets):
        raise ValueError("both taggers must be judged on the same clips, in one order")
    differences = losses_of(second) - losses_of(first)
    units = Units.of(len(first), first.sources)
    left_out = jackknife(_Mean(differences), np.arange(len(first)), units)["mean"]
    why = too_few_recordings(units)
    if why is None and not differences.any():
        why = "the two predict the same"
    return Estimate.of_difference(left_out, units, why)
