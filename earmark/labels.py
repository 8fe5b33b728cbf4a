"""Tag names, their indices, and the targets that labels stand for.

A label names the tag of a clip, or several tags with `;` between them (multi-label).
Shapes: B clips, K tags.
"""

from collections.abc import Iterable, Sequence

import numpy as np
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
