"""Batches, gathered whole from arrays in memory.

Shapes: N clips, B of them (or of their patches) in a batch, S rows of a segment, K tags, E events.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.features.segments import Crop, random_crop
from earmark.labels import SEPARATOR, Task
from earmark.params import Recipe
from earmark.store import Store
from earmark.taggers.input import FusionStore, Input

# Variants that are clips of their own, made by the mix stage; all others replace their clip.
NEW_CLIPS = frozenset({"same_class", "pitch_fill"})


@dataclass(frozen=True)
class Examples:
    """The clips of one role in a fold: for each its lines in the store, original first."""

    store: Store | FusionStore
    task: Task
    clips: list[str]
    lines: list[list[int]]
    targets: NDArray[np.float32]  # (N, K + E)
    doubt: NDArray[np.float32]  # (N,): 1 where nobody verified the label

    @classmethod
    def select(
        cls, store: Store | FusionStore, clips: pd.DataFrame, task: Task, *, with_new: bool = False
    ) -> "Examples":
        """Join a table with columns clip, label, verified and event to the lines of the store.

        With `with_new` the clips that the mix stage made of them follow as clips of their own.
        """
        event_of = dict(zip(clips["clip"], clips.get("aux_label", [""] * len(clips)), strict=True))
        lines_of: dict[str, list[int]] = {name: [] for name in event_of}
        extra: list[tuple[str, int, str]] = []  # clip, line, events
        for line, (clip, variant, partner) in enumerate(_entries(store.index)):
            if clip not in lines_of:
                continue
            if variant in NEW_CLIPS:
                both = {event_of[clip], event_of.get(partner, "")}
                extra.append((clip, line, SEPARATOR.join(sorted(both - {""}))))
            else:
                lines_of[clip].insert(0 if variant == "" else len(lines_of[clip]), line)
        extra = extra if with_new else []
        names = [*event_of, *(clip for clip, *_ in extra)]
        facts = clips.set_index("clip").loc[names]
        aux_labels = [*event_of.values(), *(aux_labels for *_, aux_labels in extra)]
        return cls(
            store=store,
            task=task,
            clips=names,
            lines=[*(lines_of[name] for name in event_of), *([line] for _, line, _ in extra)],
            targets=task.targets(list(facts["label"]), aux_labels),
            doubt=1 - facts["verified"].to_numpy(np.float32),
        )

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def tag_targets(self) -> NDArray[np.float32]:
        """Return `(N, K)`, the targets of the tags alone."""
        return self.targets[:, : len(self.task.tags)]

    def original(self, position: int) -> Any:
        return self.store.rows(self.lines[position][0])

    def draw_variant(self, position: int, augmented_share: float, rng: np.random.Generator) -> Any:
        """The clip itself or, with the given probability, one of its augmented variants."""
        lines = self.lines[position]
        chosen = 0
        if len(lines) > 1 and rng.random() < augmented_share:
            chosen = int(rng.integers(1, len(lines)))
        return self.store.rows(lines[chosen])


def _entries(index: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Clip, variant and partner of each line; the last two are empty where the store has none."""
    empty = [""] * len(index)
    return zip(index["clip"], index.get("variant", empty), index.get("partner", empty), strict=True)


@dataclass(frozen=True)
class Batch:
    segments: Any  # (B, S, ...) as stored, or a pair of such arrays
    targets: NDArray[np.float32]  # (B, K + E)
    doubt: NDArray[np.float32]  # (B,)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """What the loop asks for: the order of an epoch, and each of its batches.

    An epoch goes through its units. A unit is a clip, of which a batch holds one segment at a
    random place, or with `segments: all` one of those that cover a clip. `all_rows` puts every row
    of a clip into the batch (the patches of Xu et al., section 3.3), at most `max_rows` of them
    drawn at random.
    """

    examples: Examples
    input: Input
    recipe: Recipe
    all_rows: bool = False
    max_rows: int = 0

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """Return `(U, 2)`: the position in `examples` of each unit, and which of its segments."""
        n_segments = np.ones(len(self.examples), dtype=np.int64)
        if self.recipe.crops_per_clip == "all":
            length = self.input.segment_rows
            lengths = [len(self.examples.original(i)) for i in range(len(self.examples))]
            n_segments = np.array([len(self.input.covering_crops(n, length)) for n in lengths])
        positions = np.repeat(np.arange(len(self.examples)), n_segments)
        which = np.arange(len(positions)) - np.repeat(n_segments.cumsum() - n_segments, n_segments)
        return np.stack([positions, which], axis=1)

    @property
    def n_batches(self) -> int:
        return max(1, len(self.units) // self.recipe.batch_size)

    def order(self, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """The batches of an epoch, as indices of units.

        Shuffled: every unit once, shared out evenly, so that no batch is a small remainder.
        Balanced: the tags in turn, the units of each without replacement and reshuffled when they
        are used up (Xu et al., section 3.3; Kong et al. 2018).
        """
        if self.recipe.sampler == "shuffled":
            return np.array_split(rng.permutation(len(self.units)), self.n_batches)
        count = self.n_batches * self.recipe.batch_size
        targets = self.examples.tag_targets[self.units[:, 0]]
        return np.array_split(_in_turn(targets, count, rng), self.n_batches)

    def gather(self, units: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        length = self.input.draw_length(rng)
        parts, of = [], []
        for position, which in self.units[units].tolist():
            rows = self.examples.draw_variant(position, self.recipe.augmented_share, rng)
            for place in self._places(len(rows), length, which, rng):
                parts.append(self.input.cut(rows, place, length))
                of.append(position)
        doubt = self.examples.doubt[of]
        return Batch(self.input.stack(parts), self.examples.targets[of], doubt)

    def _places(self, n_rows: int, length: int, which: int, rng: np.random.Generator) -> list[Crop]:
        if self.all_rows and n_rows <= self.max_rows:
            return [Crop(row) for row in range(n_rows)]
        if self.all_rows:
            chosen = sorted(rng.choice(n_rows, self.max_rows, replace=False).tolist())
            return [Crop(row) for row in chosen]
        if self.recipe.crops_per_clip == "all" and n_rows > length:
            places = self.input.covering_crops(n_rows, length)
            return [places[which % len(places)]]  # a variant may be shorter than its clip
        shift, padding = self.recipe.circular_shift, self.input.padding
        return [random_crop(n_rows, length, padding, shift=shift, rng=rng)]


def _in_turn(
    targets: NDArray[np.float32], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """`count` positions, one tag after another in a random order that every round redraws."""
    tags = np.flatnonzero(targets.any(axis=0))
    supply = {tag: _endless(np.flatnonzero(targets[:, tag]), rng) for tag in tags.tolist()}
    drawn: list[int] = []
    while len(drawn) < count:
        drawn += [next(supply[tag]) for tag in rng.permutation(tags).tolist()]
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
