"""What a corpus asks for: its tags and auxiliary labels, and the metrics that fit them.

Shapes: B clips, K tags, A auxiliary labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.evaluation.points import MULTI_CLASS_METRICS, MULTI_LABEL_METRICS
from earmark.labels import is_multi_label, tags_of, targets_of


@dataclass(frozen=True)
class Task:
    """What a corpus asks for: its tags, one or several per clip, and its auxiliary labels."""

    tags: list[str]
    is_multi_label: bool
    aux_labels: list[str]

    @classmethod
    def of(cls, clips: pd.DataFrame) -> "Task":
        """The task that training clips set by their columns label and (if present) aux_label."""
        aux_labels = tags_of(clips["aux_label"]) if "aux_label" in clips else []
        return cls(tags_of(clips["label"]), is_multi_label(clips["label"]), aux_labels)

    @property
    def activation(self) -> Literal["softmax", "sigmoid"]:
        return "sigmoid" if self.is_multi_label else "softmax"

    def targets(self, labels: Sequence[str], aux_labels: Sequence[str]) -> NDArray[np.float32]:
        """Return `(B, K + A)`: the tags, then the auxiliary labels.

        A clip mixed of two may have several auxiliary labels; they share its 1.
        """
        aux_targets = targets_of(aux_labels, self.aux_labels)
        aux_targets /= np.maximum(aux_targets.sum(axis=1, keepdims=True), 1)
        return np.hstack([targets_of(labels, self.tags), aux_targets])


def check_monitor(monitor: str, activation: str, *, name: str) -> None:
    """Refuse a monitor that the corpus of a training has no value of.

    Raises:
        UserError: it does not fit; the message begins with `name`.
    """
    is_multi_label = activation == "sigmoid"
    valid = (*(MULTI_LABEL_METRICS if is_multi_label else MULTI_CLASS_METRICS), "loss")
    if monitor not in valid:
        n_tags = "several tags" if is_multi_label else "one tag"
        raise UserError(
            f"{name}: monitor {monitor} does not fit a corpus of {n_tags} per clip; "
            f"set monitor in model, finetune or its training to one of {', '.join(valid)}"
        )
