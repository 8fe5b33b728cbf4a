"""What the members of an ensemble say of every held-out and test clip, and their joint opinion.

Shapes: B rows (a clip in the fold that held it out, or a test clip), K tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.corpora.sources import merged_sources
from earmark.ensemble.combining import (
    cross_fitted_ensemble,
    join,
    learn_weights,
    mean_over_folds,
    tag_clips,
)
from earmark.errors import UserError
from earmark.labels import is_multi_label, targets_of
from earmark.seeding import seed_for
from earmark.store import Store

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Clips:
    """The rows that are predicted: held-out clips by fold, then the test clips.

    `table` has the columns clip, role (validation or test), fold ("" for test), part (what is
    tuned on the other parts may be scored on this one; "" for test), label, verified, usage,
    quarantined and source; `prior` is how often a training clip has each tag.
    """

    table: pd.DataFrame
    targets: NDArray[np.float32]  # (B, K), a row of 0 where unknown
    prior: Floats  # (K,)
    is_multi_label: bool

    @classmethod
    def select(
        cls, folds: pd.DataFrame, clips: pd.DataFrame, fold_names: list[str], tags: list[str]
    ) -> "Clips":
        """Labels are those of `folds`, where the user's edits are in; other facts of `clips`."""
        facts = clips[["clip", "label", "verified", "usage", "quarantined"]]
        facts = facts.assign(source=merged_sources(clips))
        edited = facts["clip"].map(folds.set_index("clip")["label"])
        facts["label"] = edited.where(edited.notna(), facts["label"])
        parts = []
        for fold in fold_names:
            held_out = folds.loc[folds[f"fold_{fold}"] == "validation", ["clip"]]
            parts.append(held_out.assign(role="validation", fold=fold))
        test = clips.loc[clips["split"] == "test", ["clip"]]
        parts.append(test.assign(role="test", fold=""))
        table = pd.concat(parts, ignore_index=True).merge(facts, on="clip", how="left")
        table["part"] = table["fold"] if len(fold_names) > 1 else _halves(table)
        known = folds.loc[folds["split"] == "train", "label"]
        prior = targets_of(list(known), tags).mean(axis=0, dtype=np.float64)
        targets = targets_of(list(table["label"]), tags)
        return cls(table, targets, prior, is_multi_label(known))

    @property
    def is_test(self) -> NDArray[np.bool_]:
        return np.asarray(self.table["role"] == "test")


def _halves(table: pd.DataFrame) -> pd.Series:
    """Deal the held-out clips of a lone fold into two parts by chance, those of a source to one.

    The network saw neither part, so what one teaches (a threshold, a temperature) is new to the
    other.
    """
    names = table["source"].where(table["source"] != "", table["clip"])
    held_out = names[table["role"] == "validation"].unique()
    shuffled = sorted(held_out, key=lambda name: seed_for(0, "half", name))
    half_of = {name: f"half {i % 2}" for i, name in enumerate(shuffled)}
    return names.map(half_of).where(table["role"] == "validation", "")


@dataclass(frozen=True)
class Joined:
    probabilities: Floats  # (B, K)
    weights: dict[str, float]
    notes: list[str]


def read_members(
    folder: Path, plan: Mapping[str, Any], rows: Clips, *, confidence: float
) -> dict[str, Floats]:
    """Probabilities `(B, K)` of each member, its crops joined by its rule, test clips over folds.

    A quarantined test clip gets the class prior.
    """
    return {
        member: _read_member(folder / member, list(plan["folds"]), rows, confidence)
        for member in sorted(plan["members"])
    }


def _read_member(folder: Path, folds: list[str], rows: Clips, confidence: float) -> Floats:
    by_fold = {fold: _read_fold(folder / fold, confidence) for fold in folds}
    joined = np.empty((len(rows.table), len(rows.prior)))
    places = zip(rows.table["clip"], rows.table["fold"], rows.table["quarantined"], strict=True)
    for row, (clip, fold, quarantined) in enumerate(places):
        if quarantined:
            joined[row] = rows.prior
        elif fold:
            joined[row] = by_fold[fold][clip]
        else:
            said = {name: found[clip][np.newaxis] for name, found in by_fold.items()}
            joined[row] = mean_over_folds(said)[0]
    return joined


def _read_fold(folder: Path, confidence: float) -> dict[str, Floats]:
    """Clip -> probabilities `(K,)` by one trained network."""
    store = Store.open(folder, in_memory=True)
    clips = list(store.index["clip"])
    crops = store.shards[0]  # predictions are one shard, in the order of the index
    starts = store.index["start"].to_numpy(np.int64)
    tagged = tag_clips(
        crops, starts, aggregation=store.metadata["aggregation"], confidence=confidence
    )
    return dict(zip(clips, tagged, strict=True))


def join_members(
    members: Mapping[str, Floats], rows: Clips, weights: str | Mapping[str, float]
) -> Joined:
    """The members' joint opinion; learned weights are cross-fitted for the held-out clips.

    Learned weights come from all held-out clips; but those clips themselves are joined with weights
    that other folds taught, so that their score is honest.
    """

    def joined(said: Mapping[str, Floats], by: Mapping[str, float]) -> Floats:
        return join(said, by, is_multi_label=rows.is_multi_label)

    if isinstance(weights, Mapping):
        given = {name: float(weights[name]) for name in members}
        return Joined(joined(members, given), _shares(given), [])
    equal = dict.fromkeys(members, 1.0)
    if weights == "equal" or len(members) == 1:
        return Joined(joined(members, equal), _shares(equal), [])
    held_out = ~rows.is_test
    if not held_out.any():
        raise UserError("params.yaml: ensemble.weights: no held-out clip to learn from; set equal")
    targets = rows.targets[held_out]
    out_of_fold = {name: p[held_out] for name, p in members.items()}
    learned = learn_weights(out_of_fold, targets, is_multi_label=rows.is_multi_label)
    joint = joined(members, learned)
    fold_codes = pd.factorize(rows.table["fold"][held_out])[0]
    if len(np.unique(fold_codes)) > 1:
        joint[held_out] = cross_fitted_ensemble(
            out_of_fold, targets, fold_codes, is_multi_label=rows.is_multi_label
        )
        return Joined(joint, learned, [])
    joint[held_out] = joined(out_of_fold, equal)
    note = "with one fold nothing is left to learn from: its clips are scored with equal weights"
    return Joined(joint, learned, [f"ensemble.weights: {note}"])


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
