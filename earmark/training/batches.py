"""Batches, gathered whole from arrays in memory.

Shapes: B clips (or patches), S rows of a segment, K tags.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.inference import Input
from earmark.segments import random_start
from earmark.store import Store
from earmark.tags import label_indices


@dataclass(frozen=True)
class Examples:
    """The clips of one role in a fold: for each its lines in the store, original first."""

    store: Store
    clips: list[str]
    lines: list[list[int]]
    labels: NDArray[np.int64]
    n_tags: int

    @classmethod
    def select(cls, store: Store, clips: pd.DataFrame, tags: Sequence[str]) -> "Examples":
        """Join a table with columns clip and label to the lines of the store."""
        lines_of: dict[str, list[int]] = {}
        variants = store.index["variant"] if "variant" in store.index else [""] * len(store)
        for line, (clip, variant) in enumerate(zip(store.index["clip"], variants, strict=True)):
            place = 0 if variant == "" else len(lines_of.get(clip, ()))
            lines_of.setdefault(clip, []).insert(place, line)
        names = list(clips["clip"])
        labels = label_indices(list(clips["label"]), tags)
        return cls(store, names, [lines_of[name] for name in names], labels, len(tags))

    def __len__(self) -> int:
        return len(self.clips)

    def original(self, position: int) -> NDArray[Any]:
        return self.store.rows(self.lines[position][0])

    def draw_variant(
        self, position: int, augmented_share: float, rng: np.random.Generator
    ) -> NDArray[Any]:
        """The clip itself or, with the given probability, one of its augmented variants."""
        lines = self.lines[position]
        chosen = 0
        if len(lines) > 1 and rng.random() < augmented_share:
            chosen = int(rng.integers(1, len(lines)))
        return self.store.rows(lines[chosen])

    def targets(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.eye(self.n_tags, dtype=np.float32)[labels]


@dataclass(frozen=True)
class Batch:
    segments: NDArray[Any]  # (B, S, ...) as stored
    targets: NDArray[np.float32]  # (B, K)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """What the loop asks for: the order of an epoch, and each of its batches.

    `all_rows` trains on every row of a clip (the patches of Xu et al., section 3.1), at most
    `max_rows` of them drawn at random; otherwise on one segment at a random place.
    """

    examples: Examples
    input: Input
    batch_size: int
    balanced: bool
    augmented_share: float
    all_rows: bool = False
    max_rows: int = 0

    @property
    def n_batches(self) -> int:
        return max(1, len(self.examples) // self.batch_size)

    def order(self, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """The batches of an epoch, as positions in `examples`.

        Shuffled: every clip once, shared out evenly, so that no batch is a small remainder.
        Balanced: the classes in turn, each class without replacement and reshuffled when it is
        used up (Xu et al., section 3.3; Kong et al. 2018).
        """
        if not self.balanced:
            return np.array_split(rng.permutation(len(self.examples)), self.n_batches)
        drawn = _in_turn(self.examples.labels, self.n_batches * self.batch_size, rng)
        return np.array_split(drawn, self.n_batches)

    def gather(self, positions: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        parts, labels = [], []
        for position in positions.tolist():
            rows = self.examples.draw_variant(position, self.augmented_share, rng)
            for start in self._starts(len(rows), rng):
                parts.append(self.input.cut(rows, start))
                labels.append(self.examples.labels[position])
        return Batch(np.stack(parts), self.examples.targets(np.array(labels)))

    def _starts(self, n_rows: int, rng: np.random.Generator) -> list[int]:
        if not self.all_rows:
            return [random_start(n_rows, self.input.segment_rows, rng)]
        if n_rows <= self.max_rows:
            return list(range(n_rows))
        return sorted(rng.choice(n_rows, self.max_rows, replace=False).tolist())


def _in_turn(labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` positions, one class after another in a random order that every round redraws."""
    classes = np.unique(labels)
    supply = {label: _endless(np.flatnonzero(labels == label), rng) for label in classes.tolist()}
    drawn: list[int] = []
    while len(drawn) < count:
        drawn += [next(supply[label]) for label in rng.permutation(classes).tolist()]
    return np.array(drawn[:count], dtype=np.int64)


def _endless(positions: NDArray[np.int64], rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(positions).tolist()


def standardisation(
    examples: Examples, *, per: Literal["array", "column", "none"], scale: float = 1.0
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the training clips (originals), or of each column.

    `none` leaves the values as they are, divided by `scale` (32768 makes int16 a waveform).
    """
    if per == "none":
        return [0.0], [scale]
    count = 0
    total: Any = 0.0
    squares: Any = 0.0
    axes = (0, 1) if per == "array" else (0,)
    for position in range(len(examples)):
        rows = examples.original(position).astype(np.float64)
        count += rows.size if per == "array" else len(rows)
        total = total + rows.sum(axis=axes)
        squares = squares + (rows**2).sum(axis=axes)
    mean = np.atleast_1d(total / count)
    variance = np.atleast_1d(squares / count) - mean**2
    return mean.tolist(), np.sqrt(np.maximum(variance, 1e-12)).tolist()
