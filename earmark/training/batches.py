"""Batches, gathered whole from arrays in memory.

Shapes: B clips (or patches) of a batch, S rows of a segment, K tags, A auxiliary labels, U units.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.features.segments import Crop, random_crop
from earmark.params import Recipe
from earmark.taggers.input import Input
from earmark.training.augmentation import rows_to_cut
from earmark.training.examples import Examples
from earmark.training.resident import Cut, Resident

Units = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """What one step of training reads."""

    segments: Any  # (B, S, ...) as stored, or a pair of such; on the device where features are
    targets: NDArray[np.float32]  # (B, K + A)
    unverified: NDArray[np.float32]  # (B,): 1 where nobody verified the label
    weights: NDArray[np.float32]  # (B,): of the clips' losses
    n_rows: int = 0  # S, where what is cut is longer, to be read at another tempo; 0 is what is cut


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws the order of an epoch, and each of its batches.

    An epoch goes through its units. A unit is a clip, of which a batch holds one crop at a random
    place, or with `crops_per_clip: all` one of the segments that cover a clip.

    Attributes:
        max_patches: if given, a batch holds every row of its clips, at most so many of each, drawn
            at random (the patches of Xu et al., section 2.2).
        resident: the features on a GPU, where batches are then gathered.
    """

    examples: Examples
    input: Input
    recipe: Recipe
    max_patches: int | None = None
    resident: Resident | None = None

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """Return `(U, 2)`: the position in `examples` of each unit, and which of its segments."""
        n_segments = np.ones(len(self.examples), dtype=np.int64)
        if self.recipe.crops_per_clip == "all":
            length = self.input.segment_rows
            n_rows = [len(self.examples.original(i)) for i in range(len(self.examples))]
            n_segments = np.array([len(self.input.covering_crops(n, length)) for n in n_rows])
        positions = np.repeat(np.arange(len(self.examples)), n_segments)
        firsts = np.repeat(n_segments.cumsum() - n_segments, n_segments)
        return np.stack([positions, np.arange(len(positions)) - firsts], axis=1)

    @property
    def n_batches(self) -> int:
        """How many batches an epoch has."""
        return max(1, len(self.units) // self.recipe.batch_size)

    def order(self, rng: np.random.Generator) -> list[Units]:
        """The batches of an epoch, as indices of units.

        Shuffled: every unit once, shared out evenly, so that no batch is a small remainder.
        Class-balanced: the tags in turn, the units of each without replacement and reshuffled when
        they are used up (Xu et al., section 2.2; Kong et al. 2018).
        """
        if self.recipe.sampler == "shuffled":
            return np.array_split(rng.permutation(len(self.units)), self.n_batches)
        count = self.n_batches * self.recipe.batch_size
        targets = self.examples.tag_targets[self.units[:, 0]]
        return np.array_split(_class_balanced(targets, count, rng), self.n_batches)

    def gather(self, units: Units, rng: np.random.Generator) -> Batch:
        """Draw a variant and the crops of each unit; all crops of a batch have one length."""
        n_rows = self.input.draw_length(rng)
        length = rows_to_cut(n_rows, self.recipe)
        clips = self.examples
        cuts, positions = [], []
        for position, segment in self.units[units].tolist():
            entry = clips.draw_entry(position, self.recipe.augmented_share, rng)
            n_clip_rows = len(clips.rows(entry))
            for crop in self._crops(n_clip_rows, length or n_clip_rows, segment, rng):
                cuts.append(Cut(entry, crop))
                positions.append(position)
        targets, unverified = clips.learned_targets[positions], clips.unverified[positions]
        segments = self._segments(cuts, length)
        return Batch(segments, targets, unverified, clips.weights[positions], n_rows)

    def _segments(self, cuts: list[Cut], n_rows: int) -> Any:
        if self.resident is not None:
            return self.resident.segments(cuts, n_rows)
        rows_of, input_ = self.examples.rows, self.input
        return input_.stack([input_.cut(rows_of(entry), crop, n_rows) for entry, crop in cuts])

    def _crops(
        self, n_rows: int, length: int, segment: int, rng: np.random.Generator
    ) -> list[Crop]:
        if self.max_patches is not None:
            if n_rows <= self.max_patches:
                return [Crop(row) for row in range(n_rows)]
            chosen = rng.choice(n_rows, self.max_patches, replace=False)
            return [Crop(row) for row in sorted(chosen.tolist())]
        if self.recipe.crops_per_clip == "all" and n_rows > length:
            crops = self.input.covering_crops(n_rows, length)
            return [crops[segment % len(crops)]]  # a variant may be shorter than its clip
        shift, padding = self.recipe.circular_shift, self.input.padding
        return [random_crop(n_rows, length, padding, shift=shift, rng=rng)]


def _class_balanced(targets: NDArray[np.float32], count: int, rng: np.random.Generator) -> Units:
    """`count` units, one of each tag after another, the order of tags redrawn in every round."""
    tags = np.flatnonzero(targets.any(axis=0))
    supply = {tag: _endless(np.flatnonzero(targets[:, tag]), rng) for tag in tags.tolist()}
    units: list[int] = []
    while len(units) < count:
        units += [next(supply[tag]) for tag in rng.permutation(tags).tolist()]
    return np.array(units[:count], dtype=np.int64)


def _endless(units: Units, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(units).tolist()
