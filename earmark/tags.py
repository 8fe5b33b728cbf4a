"""Tag names and their indices."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def tags_of(labels: Iterable[str]) -> list[str]:
    """The tags of a corpus: its distinct label names, sorted, without the empty one."""
    return sorted({label for label in labels if label})


def label_indices(labels: Sequence[str], tags: Sequence[str]) -> NDArray[np.int64]:
    """Indices into `tags`; -1 where a clip has no label."""
    index_of = {tag: index for index, tag in enumerate(tags)} | {"": -1}
    return np.array([index_of[label] for label in labels], dtype=np.int64)
