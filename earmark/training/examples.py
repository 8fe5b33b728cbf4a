"""The clips that a network is trained or validated on, and how their values are standardised.

Shapes: N clips, K tags, A auxiliary labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.corpora.label_rounds import with_decisions
from earmark.corpora.split_names import fold_columns
from earmark.corpora.stored_tables import read_folds
from earmark.labels import SEPARATOR, Task
from earmark.layout import Layout
from earmark.params import Recipe
from earmark.spool import blocks_of
from earmark.store import Store
from earmark.taggers.input import FusionStore

_BLOCK_VALUES = 1 << 24  # that are in memory as float64 at a time: half an hour of a log-mel

_UNDECIDED = {"weight": 1.0, "is_corrected": False}  # where no round decided about a clip

# Variants that are clips of their own, made by stage class_mixing; all others replace their clip.
CLASS_MIXED = frozenset({"same_class", "pitch_fill"})


@dataclass(frozen=True)
class Examples:
    """The clips of one split of a fold.

    Attributes:
        entries: for each clip the numbers of its rows in the store's index: the original first,
            then its augmented variants.
        unverified: 1 where nobody verified the label, else 0.
        weights: how much the loss of each clip counts; below 1 where a round doubts its label.
        is_corrected: whether a round gave the clip a label that is not the corpus' own.
        soft_targets: what a network learns instead of `targets`, where a teacher answered too.
    """

    store: Store | FusionStore
    task: Task
    clips: list[str]
    entries: list[list[int]]
    targets: NDArray[np.float32]  # (N, K + A)
    unverified: NDArray[np.float32]  # (N,)
    weights: NDArray[np.float32]  # (N,)
    is_corrected: NDArray[np.bool_]  # (N,)
    soft_targets: NDArray[np.float32] | None = None  # (N, K + A)

    @classmethod
    def select(
        cls,
        store: Store | FusionStore,
        clips: pd.DataFrame,
        task: Task,
        *,
        with_class_mixed: bool = False,
    ) -> "Examples":
        """Look up clips in a store.

        Args:
            store: features with columns clip and, where they have them, variant and partner.
            clips: columns clip, label, verified (bool) and, in some corpora, aux_label; also
                weight and is_corrected, if rounds of self-verification decided.
            task: what the targets are made for.
            with_class_mixed: also take what stage class_mixing made of these clips, as examples of
                their own after all others. A mixture of two clips of one class is left out if a
                round gave one of them another label, and counts as little as the lesser of them.
        """
        clips = clips.assign(**{n: clips.get(n, v) for n, v in _UNDECIDED.items()})
        by_clip = clips.set_index("clip")
        corrected = set(clips.loc[clips["is_corrected"].astype(bool), "clip"])
        weight_of = dict(by_clip["weight"])
        aux_label_of = dict(
            zip(clips["clip"], clips.get("aux_label", [""] * len(clips)), strict=True)
        )
        entries_of: dict[str, list[int]] = {clip: [] for clip in aux_label_of}
        mixed: list[tuple[str, int, str, float]] = []  # clip, entry, auxiliary labels, weight
        for entry, (clip, variant, partner) in enumerate(_index_rows(store.index)):
            if clip not in entries_of:
                continue
            if variant in CLASS_MIXED:
                if partner and partner not in entries_of:
                    continue  # held out of training since it was mixed
                if partner and corrected & {clip, partner}:
                    continue
                of_both = {aux_label_of[clip], aux_label_of.get(partner, "")}
                weight = min(weight_of[clip], weight_of.get(partner, 1.0))
                mixed.append((clip, entry, SEPARATOR.join(sorted(of_both - {""})), weight))
            else:
                entries = entries_of[clip]
                entries.insert(0 if variant == "" else len(entries), entry)
        mixed = mixed if with_class_mixed else []
        names = [*aux_label_of, *(clip for clip, *_ in mixed)]
        table = by_clip.loc[names]
        aux_labels = [*aux_label_of.values(), *(of_both for _, _, of_both, _ in mixed)]
        weights = [*weight_of.values(), *(weight for *_, weight in mixed)]
        return cls(
            store=store,
            task=task,
            clips=names,
            entries=[*entries_of.values(), *([entry] for _, entry, *_ in mixed)],
            targets=task.targets(list(table["label"]), aux_labels),
            unverified=1 - table["verified"].to_numpy(np.float32),
            weights=np.array(weights, np.float32),
            is_corrected=table["is_corrected"].to_numpy(bool),
        )

    def __len__(self) -> int:
        return len(self.clips)

    def at(self, positions: NDArray[np.intp]) -> "Examples":
        """The clips at these positions alone."""
        return replace(
            self,
            clips=[self.clips[i] for i in positions],
            entries=[self.entries[i] for i in positions],
            targets=self.targets[positions],
            unverified=self.unverified[positions],
            weights=self.weights[positions],
            is_corrected=self.is_corrected[positions],
            soft_targets=None if self.soft_targets is None else self.soft_targets[positions],
        )

    @property
    def tag_targets(self) -> NDArray[np.float32]:
        """Return `(N, K)`, the targets of the tags alone."""
        return self.targets[:, : len(self.task.tags)]

    @property
    def learned_targets(self) -> NDArray[np.float32]:
        """Return `(N, K + A)`, what the loss is of; a balanced sampler goes by `targets`."""
        return self.targets if self.soft_targets is None else self.soft_targets

    def original(self, position: int) -> Any:
        """The features of a clip as it was recorded."""
        return self.rows(self.entries[position][0])

    def rows(self, entry: int) -> Any:
        """The features of a clip or of a variant."""
        return self.store.rows(entry)

    def draw_entry(self, position: int, augmented_share: float, rng: np.random.Generator) -> int:
        """Of the clip itself or, with the given probability, of one of its augmented variants."""
        entries = self.entries[position]
        chosen = 0
        if len(entries) > 1 and rng.random() < augmented_share:
            chosen = int(rng.integers(1, len(entries)))
        return entries[chosen]


def _index_rows(index: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Clip, variant and partner of each row; the last two are empty where the store has none."""
    empty = [""] * len(index)
    return zip(index["clip"], index.get("variant", empty), index.get("partner", empty), strict=True)


class FoldExamples(NamedTuple):
    """The clips of a fold; `inner` are those held out of training to choose the epoch, if any."""

    train: Examples
    inner: Examples | None
    validation: Examples


def fold_examples(
    layout: Layout,
    store: Store | FusionStore,
    fold: str,
    recipe: Recipe,
    decisions: pd.DataFrame | None = None,
) -> FoldExamples:
    """The examples of a fold; class-mixed clips are trained on alone.

    The task is that of all training clips, so that the tags are the same in every fold.
    `decisions` of rounds of self-verification are for the clips that are trained on: what
    is scored, or chooses an epoch, keeps the corpus' own labels.
    """
    folds = read_folds(layout, [fold])
    task = Task.of(folds[folds["split"] == "train"])
    split = folds[f"fold_{fold}"]
    train, inner = folds[split == "train"], None
    if recipe.epoch_choice == "inner_split":
        is_inner = train[f"inner_{fold}"]
        inner = Examples.select(store, train[is_inner], task)
        train = train[~is_inner]
    if decisions is not None:
        train = with_decisions(train, decisions)
    return FoldExamples(
        Examples.select(store, train, task, with_class_mixed=recipe.class_mixed_clips),
        inner,
        Examples.select(store, folds[split == "validation"], task),
    )


class Split(NamedTuple):
    """How the training clips of a fold are divided once more; a clip may be in neither part."""

    train: NDArray[np.bool_]  # (N,)
    validation: NDArray[np.bool_]  # (N,)


def splits_within(layout: Layout, fold: str, train: Examples) -> list[Split]:
    """Divide the training clips of a fold once more, for a choice that is made on them alone.

    They are divided as the other folds divide them, since folds keep the clips of one recording
    together. Where these leave nothing to train on, as one other fold does, by the clips that
    `epoch_choice: inner_split` holds out; there is no split where it holds out none. Clips of
    stage class_mixing are in neither part: of what is held out they would know a half.
    """
    folds = read_folds(layout, [fold]).set_index("clip").loc[train.clips]
    is_recorded = ~np.asarray(folds.index.duplicated())
    others = fold_columns(folds)
    others.remove(f"fold_{fold}")
    pairs = [(folds[name] == "train", folds[name] == "validation") for name in others]
    if not any(fitted.any() and held_out.any() for fitted, held_out in pairs):
        is_inner = folds.get(f"inner_{fold}", folds["split"] == "")
        pairs = [(~is_inner, is_inner)]
    splits = [Split(*(np.asarray(part) & is_recorded for part in pair)) for pair in pairs]
    return [split for split in splits if split.train.any() and split.validation.any()]


def standardisation(
    examples: Examples, *, per: Literal["array", "column", "none"], scale: float = 1.0
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the values, of all together or of each column.

    Augmented variants do not count, class-mixed clips do, as in the order of an epoch.
    `none` leaves the values as they are, divided by `scale` (32768 makes int16 a waveform).
    """
    if per == "none":
        return [0.0], [scale]
    count = 0
    total: Any = 0.0
    squares: Any = 0.0
    axes = (0, 1) if per == "array" else (0,)
    for position in range(len(examples)):
        stored = examples.original(position)
        for block in blocks_of(stored, max(1, _BLOCK_VALUES // max(1, stored[:1].size))):
            rows = block.astype(np.float64)
            count += rows.size if per == "array" else len(rows)
            total = total + rows.sum(axis=axes)
            squares = squares + (rows**2).sum(axis=axes)
    mean = np.atleast_1d(total / count)
    variance = np.atleast_1d(squares / count) - mean**2
    return mean.tolist(), np.sqrt(np.maximum(variance, 1e-12)).tolist()
