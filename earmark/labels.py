"""Tag names, their indices, and the targets that labels stand for.

A label names the tag of a clip, or several tags with `;` between them (multi-label).
Shapes: B clips, K tags, A auxiliary labels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SEPARATOR = ";"


def tags_of(labels: Iterable[str]) -> list[str]:
    """The tags of a corpus: its distinct names, sorted, without the empty one."""
    return sorted({tag for label in labels for tag in label.split(SEPARATOR) if tag})


def is_multi_label(labels: Iterable[str]) -> bool:
    """Whether any clip has several tags: then each tag is a question of its own."""
    return any(SEPARATOR in label for label in labels)


def label_indices(labels: Sequence[str], tags: Sequence[str]) -> NDArray[np.int64]:
    """Indices into `tags` of labels of one tag each; -1 where a clip has no label."""
    index_of = {tag: index for index, tag in enumerate(tags)} | {"": -1}
    return np.array([index_of[label] for label in labels], dtype=np.int64)


def targets_of(labels: Sequence[str], tags: Sequence[str]) -> NDArray[np.float32]:
    """Return `(B, K)`: 1 for each tag of a clip, else 0; a clip without a label has a row of 0."""
    index_of = {tag: index for index, tag in enumerate(tags)}
    targets = np.zeros((len(labels), len(tags)), dtype=np.float32)
    for row, label in enumerate(labels):
        targets[row, [index_of[tag] for tag in label.split(SEPARATOR) if tag]] = 1
    return targets


@dataclass(frozen=True)
class Task:
    """What a corpus asks for: its tags, one or several per clip, and its auxiliary labels.

    `earmark.evaluation.points` knows the metrics that fit a task.
    """

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
        """What turns logits into probabilities."""
        return "sigmoid" if self.is_multi_label else "softmax"

    def targets(self, labels: Sequence[str], aux_labels: Sequence[str]) -> NDArray[np.float32]:
        """Return `(B, K + A)`: the tags, then the auxiliary labels.

        A clip mixed of two may have several auxiliary labels; they share its 1.
        """
        aux_targets = targets_of(aux_labels, self.aux_labels)
        aux_targets /= np.maximum(aux_targets.sum(axis=1, keepdims=True), 1)
        return np.hstack([targets_of(labels, self.tags), aux_targets])
