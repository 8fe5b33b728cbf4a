"""What the members of an ensemble predict for every validation and test clip, and together.

Shapes: B rows (a validation clip in its fold, or a test clip), K tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.corpora.sources import merged_sources
from earmark.corpora.split_names import DROPPED, VALIDATION
from earmark.ensemble.combining import combine, mean_over_folds
from earmark.ensemble.crops import aggregate_clips
from earmark.ensemble.weights import combine_cross_fitted, learn_weights
from earmark.errors import UserError
from earmark.evaluation.predictions import ENSEMBLE, Predictions
from earmark.labels import Task, targets_of
from earmark.params import Aggregation
from earmark.seeding import seed_for
from earmark.store import Store, read_json

Floats = NDArray[np.floating[Any]]


def select_clips(
    folds: pd.DataFrame, clips: pd.DataFrame, fold_names: Sequence[str]
) -> pd.DataFrame:
    """Return the rows to predict, validation clips fold by fold and then the test clips.

    Their columns are those of `Predictions.clips`. Labels are those of `folds`, where the label
    corrections are in; all else is from `clips`. Where a correction changes or drops a clip to
    predict, dropped clips follow those that validate in their fold, and there is a given_label.
    """
    columns = clips[["clip", "label", "verified", "usage", "quarantined"]]
    columns = columns.assign(source=merged_sources(clips))
    corrected = columns["clip"].map(folds.set_index("clip")["label"])
    columns["label"] = corrected.where(corrected.notna(), columns["label"])
    parts = []
    for fold in fold_names:
        for split in (VALIDATION, DROPPED):
            chosen = folds.loc[folds[f"fold_{fold}"] == split, ["clip"]]
            parts.append(chosen.assign(split=split, fold=fold))
    test = clips.loc[clips["split"] == "test", ["clip"]]
    parts.append(test.assign(split="test", fold=""))
    table = pd.concat(parts, ignore_index=True).merge(columns, on="clip", how="left")
    given = table["clip"].map(clips.set_index("clip")["label"])
    if ((given != table["label"]) | (table["split"] == DROPPED)).any():
        table = table.assign(given_label=given)
    return table.assign(cross_fit_group=table["fold"] if len(fold_names) > 1 else _halves(table))


def _halves(table: pd.DataFrame) -> pd.Series:
    """Deal the validation clips of a lone fold into two groups, those of a source into one.

    The network saw neither group, so what is tuned on one (a threshold, a temperature) has not
    seen the other.
    """
    names = table["source"].where(table["source"] != "", table["clip"])
    is_validation = table["split"] == "validation"
    shuffled = sorted(names[is_validation].unique(), key=lambda name: seed_for(0, "half", name))
    half_of = {name: f"half {i % 2}" for i, name in enumerate(shuffled)}
    return names.map(half_of).where(is_validation, "")


def read_members(
    folder: Path,
    plan: Mapping[str, Any],
    clips: pd.DataFrame,
    folds: pd.DataFrame,
    *,
    confidence: float,
) -> dict[str, Predictions]:
    """Read what each member of the plan predicts for `clips`, test clips as the mean over folds.

    Crops are aggregated as the member's metadata says. A quarantined test clip gets the prior: how
    often a training clip of `folds` has each tag.
    """
    train = folds[folds["split"] == "train"]
    task = Task.of(train)
    prior = targets_of(list(train["label"]), task.tags).mean(axis=0, dtype=np.float64)
    members = {}
    for member in sorted(plan["members"]):
        by_fold = {fold: _read_fold(folder / member / fold, confidence) for fold in plan["folds"]}
        members[member] = Predictions.of(member, task, clips, _member(clips, by_fold, prior))
    return members


def aggregation_of(folder: Path) -> Aggregation:
    """How the crops of a member's stored predictions become clips."""
    aggregation: Aggregation = read_json(folder / "store.json")["aggregation"]
    return aggregation


def _member(clips: pd.DataFrame, by_fold: dict[str, dict[str, Floats]], prior: Floats) -> Floats:
    """The probabilities `(B, K)` of one member, from those of each of its networks."""
    rows = zip(clips["clip"], clips["fold"], clips["quarantined"], strict=True)
    probabilities = np.empty((len(clips), len(prior)))
    for row, (clip, fold, is_quarantined) in enumerate(rows):
        if is_quarantined:
            probabilities[row] = prior
        elif fold:
            probabilities[row] = by_fold[fold][clip]
        else:
            networks = {name: one[clip][np.newaxis] for name, one in by_fold.items()}
            probabilities[row] = mean_over_folds(networks)[0]
    return probabilities


def _read_fold(folder: Path, confidence: float) -> dict[str, Floats]:
    """Clip -> probabilities `(K,)` by one trained network."""
    store = Store.open(folder, in_memory=True)
    crops = store.shards[0]  # predictions are one shard, in the order of the index
    clip_starts = store.index["start"].to_numpy(np.int64)
    probabilities = aggregate_clips(
        crops, clip_starts, aggregation=store.metadata["aggregation"], confidence=confidence
    )
    return dict(zip(store.index["clip"], probabilities, strict=True))


class Combination(NamedTuple):
    """The ensemble's predictions, the members' shares in them, and notes for the report."""

    predictions: Predictions
    weights: dict[str, float]
    notes: list[str]


def combine_members(
    members: Mapping[str, Predictions], weights: str | Mapping[str, float]
) -> Combination:
    """Combine members by `ensemble.weights`: learned, equal, or one weight for each name.

    Learned weights come from all validation clips; but those clips themselves are combined with
    weights learned on the other folds, so that their score is not flattered.

    Raises:
        UserError: there is no validation clip to learn from.
    """
    if isinstance(weights, Mapping):
        given = {name: float(weights[name]) for name in members}
        return Combination(_combined(members, given), _shares(given), [])
    if weights == "equal" or len(members) == 1:
        equal = dict.fromkeys(members, 1.0)
        return Combination(_combined(members, equal), _shares(equal), [])
    return _with_learned_weights(members)


def _with_learned_weights(members: Mapping[str, Predictions]) -> Combination:
    first = next(iter(members.values()))
    rows = np.asarray(first.clips["split"] == "validation")
    if not rows.any():
        raise UserError(
            "params.yaml: ensemble.weights: no validation clip to learn from; set equal"
        )
    validation = {name: one.take(rows) for name, one in members.items()}
    out_of_fold = {name: one.probabilities for name, one in validation.items()}
    targets, is_multi_label = first.targets[rows], first.task.is_multi_label
    learned = learn_weights(out_of_fold, targets, is_multi_label=is_multi_label)
    combined = _combined(members, learned)
    folds = pd.factorize(first.clips["fold"][rows])[0]
    if len(np.unique(folds)) > 1:
        combined.probabilities[rows] = combine_cross_fitted(
            out_of_fold, targets, folds, is_multi_label=is_multi_label
        )
        return Combination(combined, learned, [])
    equal = dict.fromkeys(members, 1.0)
    combined.probabilities[rows] = _combined(validation, equal).probabilities
    note = "with one fold no other is left to learn from: its clips are scored with equal weights"
    return Combination(combined, learned, [f"ensemble.weights: {note}"])


def _combined(members: Mapping[str, Predictions], weights: Mapping[str, float]) -> Predictions:
    first = next(iter(members.values()))
    probabilities = {name: one.probabilities for name, one in members.items()}
    return replace(
        first,
        name=ENSEMBLE,
        probabilities=combine(probabilities, weights, is_multi_label=first.task.is_multi_label),
    )


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
