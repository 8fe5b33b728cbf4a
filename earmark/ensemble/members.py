"""What the members of an ensemble predict for every validation and test clip, and together.

Shapes: B rows (a validation clip in its fold, or a test clip), K tags.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.corpora.sources import merged_sources
from earmark.corpora.split_names import DROPPED, VALIDATION
from earmark.ensemble.aggregation import choose, compared, describe
from earmark.ensemble.combining import combine, mean_over_folds
from earmark.ensemble.crops import ClipProbabilities, aggregate_clip
from earmark.ensemble.weights import combine_cross_fitted, learn_weights
from earmark.errors import UserError, reading
from earmark.evaluation.predictions import ENSEMBLE, Predictions
from earmark.labels import Task, targets_of
from earmark.params import Aggregation, AggregationKey, Crops
from earmark.seeding import seed_for
from earmark.store import Store

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


class Member(NamedTuple):
    """What a member predicts, and how its crops became clips.

    `given` is the aggregation in params.yaml and `aggregation` the one applied; `compared` holds
    what each aggregation of the stored crops gives out of fold, see `aggregation.describe`.
    `by_fold` is fold -> clip -> probabilities `(K,)` by that fold's network, aggregated so.
    `random_start` are the published weights that its paper starts from and its network did not.
    """

    predictions: Predictions
    given: AggregationKey
    aggregation: Aggregation
    compared: dict[Aggregation, dict[str, float]]
    by_fold: dict[str, dict[str, ClipProbabilities]]
    random_start: str

    def networks(self, clips: Sequence[str]) -> Floats:
        """What the network of each fold predicts for some test clips, `(F, B, K)`."""
        return np.array([[one[c].probabilities for c in clips] for one in self.by_fold.values()])

    @property
    def notes(self) -> list[str]:
        """What a reader of the scores must know of a choice."""
        if self.given != "best_out_of_fold":
            return []
        losses = [f"{name} {entry['log_loss']:.3f}" for name, entry in self.compared.items()]
        return [
            f"{self.predictions.name}: best_out_of_fold is {self.aggregation}, by the log loss of "
            f"the calibrated probabilities ({', '.join(losses)}); a fold's clips are scored with "
            "the choice of the others."
        ]


def read_members(
    folder: Path,
    plan: Mapping[str, Any],
    clips: pd.DataFrame,
    folds: pd.DataFrame,
    *,
    confidence: float,
    fold_mean: str = "arithmetic",
) -> dict[str, Member]:
    """Read what each member of the plan predicts for `clips`, test clips as the mean over folds.

    Crops are aggregated as the member's metadata says; best_out_of_fold by what `choose` finds. A
    quarantined test clip gets the prior: how often a training clip of `folds` has each tag.
    """
    train = folds[folds["split"] == "train"]
    task = Task.of(train)
    prior = targets_of(list(train["label"]), task.tags).mean(axis=0, dtype=np.float64)
    members = {}
    mean = partial(mean_over_folds, fold_mean=fold_mean, is_multi_label=task.is_multi_label)
    for name in sorted(plan["members"]):
        stores = {
            fold: open_predictions(folder / name / fold, clips, task.tags) for fold in plan["folds"]
        }
        metadata = next(iter(stores.values())).metadata
        given = metadata["aggregation"]
        candidates: dict[Aggregation, Predictions] = {}
        described: dict[Aggregation, dict[str, float]] = {}
        networks: dict[Aggregation, dict[str, dict[str, ClipProbabilities]]] = {}
        for aggregation, crops in compared(given).items():
            networks[aggregation] = by_fold = {
                fold: _clips(store, crops, aggregation=aggregation, confidence=confidence)
                for fold, store in stores.items()
            }
            predictions = Predictions.of(name, task, clips, _member(clips, by_fold, prior, mean))
            candidates[aggregation] = predictions
            described[aggregation] = describe(predictions, n_crops=_mean_crops(clips, by_fold))
        if given == "best_out_of_fold":
            chosen, predictions = choose(candidates)
        else:
            chosen, predictions = given, candidates[given]
        start = str(metadata.get("random_start", ""))
        members[name] = Member(predictions, given, chosen, described, networks[chosen], start)
    return members


def open_predictions(folder: Path, clips: pd.DataFrame, tags: Sequence[str]) -> Store:
    """The probabilities `(crops, K)` of one network, read whole.

    Raises:
        DamagedError: they are not of these tags, or lack a clip.
    """
    store = Store.open(folder, in_memory=True)
    with reading(folder):
        if store.metadata["row_shape"] != [len(tags)]:
            raise ValueError(f"of {store.metadata['row_shape']} tags instead of {len(tags)}")
        expected = clips["clip"][clips["fold"].isin([folder.name, ""]) & ~clips["quarantined"]]
        missing = set(expected) - set(store.index["clip"])
        if missing or "crops" not in store.index:
            raise ValueError(f"no crops of {min(missing, default='any clip')}")
    return store


def _member(
    clips: pd.DataFrame,
    by_fold: dict[str, dict[str, ClipProbabilities]],
    prior: Floats,
    mean: Callable[[dict[str, Floats]], Floats],
) -> Floats:
    """The probabilities `(B, K)` of one member, from those of each of its networks."""
    rows = zip(clips["clip"], clips["fold"], clips["quarantined"], strict=True)
    probabilities = np.empty((len(clips), len(prior)))
    for row, (clip, fold, is_quarantined) in enumerate(rows):
        if is_quarantined:
            probabilities[row] = prior
        elif fold:
            probabilities[row] = by_fold[fold][clip].probabilities
        else:
            networks = {name: one[clip].probabilities[np.newaxis] for name, one in by_fold.items()}
            probabilities[row] = mean(networks)[0]
    return probabilities


def _mean_crops(clips: pd.DataFrame, by_fold: dict[str, dict[str, ClipProbabilities]]) -> float:
    """How many crops of a validation clip are looked at, in the mean."""
    pairs = zip(clips["clip"], clips["fold"], strict=True)
    return float(np.mean([by_fold[fold][clip].n_crops for clip, fold in pairs if fold]))


def _clips(
    store: Store, crops: Crops, *, aggregation: Aggregation, confidence: float
) -> dict[str, ClipProbabilities]:
    """Clip -> its probabilities by one trained network, from its random or its covering crops."""
    entries = zip(store.index["clip"], store.index["crops"], strict=True)
    return {
        clip: aggregate_clip(store.rows(i), aggregation=aggregation, confidence=confidence)
        for i, (clip, stored) in enumerate(entries)
        if stored == crops
    }


class Combination(NamedTuple):
    """The ensemble's predictions, the members' shares in them, and notes for the report."""

    predictions: Predictions
    weights: dict[str, float]
    notes: list[str]


def combine_members(
    members: Mapping[str, Predictions], weights: str | Mapping[str, float]
) -> Combination:
    """Combine members by `ensemble.weights`: learned, equal, or one weight for each name.

    Learned weights come from the trusted validation clips (`Predictions.is_trusted`); but
    validation clips themselves are combined with weights learned on the other folds, so that their
    score is not flattered.

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
    is_trusted = first.take(rows).is_trusted
    trusted = {name: p[is_trusted] for name, p in out_of_fold.items()}
    learned = learn_weights(trusted, targets[is_trusted], is_multi_label=is_multi_label)
    combined = _combined(members, learned)
    folds = pd.factorize(first.clips["fold"][rows])[0]
    if len(np.unique(folds)) > 1:
        combined.probabilities[rows] = combine_cross_fitted(
            out_of_fold, targets, folds, is_multi_label=is_multi_label, is_trusted=is_trusted
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
    # not sum(), which rounds otherwise since Python 3.12
    total = reduce(add, weights.values(), 0.0)
    return {name: weight / total for name, weight in weights.items()}
