"""The one record of what was predicted for some clips, and its files in data/ensemble.

Shapes: B rows (a validation clip in its fold, or a test clip), K tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.errors import reading
from earmark.evaluation.label_groups import LabelGroups
from earmark.evaluation.points import Bools, Floats, Ints
from earmark.evaluation.temperature import temper
from earmark.evaluation.thresholds import Answers, Thresholds, cross_fitted_answers, tune
from earmark.labels import Task, targets_of
from earmark.records import Record, read_json, read_table, write_json, write_table
from earmark.whole_files import whole_folder

ENSEMBLE = "ensemble"  # its name among the members
CLIPS, METADATA = "clips.parquet", "ensemble.json"
CLIP_COLUMNS = ("clip", "split", "fold", "label")  # that every file of clips has

# So many verified clips tell a temperature as well as any number of clips with one wrong label in
# twenty (its logarithm to 0.15; an expected calibration error of 0.04, for 4 to 41 tags).
MIN_TRUSTED = 50


@dataclass(frozen=True)
class Predictions:
    """What one member, or the ensemble, predicts for some clips.

    `clips` has the columns
        clip: its file name; a clip that several folds validate has a row for each;
        split: validation or test, or dropped (what would validate, had the user not dropped it);
        fold: that which validates it, "" for test;
        cross_fit_group: what is tuned on predictions (thresholds, a temperature) is tuned on the
            other groups and applied to this one; "" for test;
        label, verified, usage, quarantined, source;
        given_label: the label before label corrections, if these changed any row.
    `targets` (B, K) are those of the `task`, a row of 0 where a clip has no label; the
    `probabilities` (B, K) are those of the tagger called `name`. Where clips may have several tags,
    `answers` are the tags answered for these rows, and `thresholds` those for new clips. What tells
    the sharpness of a mean over folds from that of one network is `mean_temperature`: it divides
    the logits of test rows before `thresholds` of validation rows are applied to them.
    """

    name: str
    task: Task
    clips: pd.DataFrame  # B rows
    targets: Floats  # (B, K), a row of 0 where a clip has no label
    probabilities: Floats  # (B, K)
    answers: Answers | None = None
    thresholds: Thresholds | None = None
    mean_temperature: float = 1.0

    @classmethod
    def of(cls, name: str, task: Task, clips: pd.DataFrame, probabilities: Floats) -> "Predictions":
        """The targets are those of the clips' labels."""
        return cls(name, task, clips, targets_of(list(clips["label"]), task.tags), probabilities)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Where a clip has one tag: its index, `(B,)`."""
        labels: NDArray[np.int64] = self.targets.argmax(axis=1)
        return labels

    @property
    def sources(self) -> list[str]:
        return list(self.clips["source"])

    @property
    def cross_fit_groups(self) -> Ints:
        """The number of each row's cross-fit group, `(B,)`."""
        return np.asarray(pd.factorize(self.clips["cross_fit_group"])[0])

    @property
    def is_trusted(self) -> Bools:
        """Whether each row's label is one to tune on, and to judge calibration by, `(B,)`.

        Those are the verified ones, if enough are outside of every cross-fit group: at least 50,
        and two for each tag. Else all are: few right labels are worse than many of which some are
        wrong. `verified` is as the corpus says: a label that the user corrected was chosen for
        what the networks predict, and would flatter them.
        """
        verified, groups = self.clips["verified"].to_numpy(dtype=bool), self.cross_fit_groups
        alone = len(np.unique(groups)) < 2
        n_outside = [verified[alone | (groups != group)].sum() for group in np.unique(groups)]
        enough = max(MIN_TRUSTED, 2 * len(self.task.tags))
        is_enough = min(n_outside, default=0) >= enough
        return verified if is_enough else np.ones(len(self), dtype=np.bool_)

    def take(self, rows: NDArray[Any]) -> "Predictions":
        """The given rows, by a mask `(B,)` or by their positions."""
        answers = self.answers and Answers(*(cells[rows] for cells in self.answers))
        return replace(
            self,
            clips=self.clips.iloc[np.arange(len(self))[rows]],
            targets=self.targets[rows],
            probabilities=self.probabilities[rows],
            answers=answers,
        )

    def where(self, **wanted: str) -> "Predictions":
        """The labelled rows whose columns have the wanted values."""
        keep = np.asarray(self.clips["label"] != "")
        for column, value in wanted.items():
            keep = keep & np.asarray(self.clips[column] == value)
        return self.take(keep)

    @property
    def validation(self) -> "Predictions":
        return self.where(split="validation")

    @property
    def as_given(self) -> "Predictions | None":
        """The validation rows as if no label were corrected; None if none of theirs is."""
        if "given_label" not in self.clips:
            return None
        rows = self.take(self.clips["split"].isin(["validation", "dropped"]).to_numpy())
        clips = rows.clips.assign(label=rows.clips["given_label"], split="validation")
        return Predictions.of(self.name, self.task, clips, rows.probabilities)

    @property
    def test(self) -> "Predictions":
        return self.where(split="test")

    def mean_by_clip(self) -> "Predictions":
        """One row per clip, by name: the mean of the folds that validate it."""
        names = self.clips["clip"].to_numpy()
        means = pd.DataFrame(self.probabilities).groupby(names).mean()
        first_rows = pd.Series(np.arange(len(self))).groupby(names).first()
        return replace(self.take(first_rows.to_numpy()), probabilities=means.to_numpy())

    def grouped(self, label_groups: Mapping[str, Sequence[str]]) -> "Predictions":
        """The same for the tags as they are scored: see `LabelGroups`."""
        groups = LabelGroups.of(self.task.tags, label_groups)
        return replace(
            self,
            task=replace(self.task, tags=groups.tags),
            targets=groups(self.targets),
            probabilities=groups(self.probabilities),
        )

    def with_answers(self, thresholds: Thresholds | None = None) -> "Predictions":
        """Answer tags where clips may have several, by the thresholds given or tuned here.

        They are tuned on the validation rows; those themselves are answered cross-fitted.
        """
        if not self.task.is_multi_label:
            return self
        as_one_network = self._as_one_network()
        if thresholds is not None:
            answers = thresholds.answers(as_one_network)
            return replace(self, answers=answers, thresholds=thresholds)
        validation = self.validation
        is_trusted = validation.is_trusted
        tuned = tune(validation.probabilities, validation.targets, is_trusted)
        answers = tuned.answers(as_one_network)
        rows = np.asarray((self.clips["split"] == "validation") & (self.clips["label"] != ""))
        answers.by_one[rows], answers.by_tag[rows] = cross_fitted_answers(
            validation.probabilities, validation.targets, validation.cross_fit_groups, is_trusted
        )
        return replace(self, answers=answers, thresholds=tuned)

    def _as_one_network(self) -> Floats:
        """The probabilities `(B, K)`, those of test rows as sharp as one network's."""
        if self.mean_temperature == 1:
            return self.probabilities
        sharpened = temper(self.probabilities, self.mean_temperature, is_multi_label=True)
        is_test = np.asarray(self.clips["split"] == "test")[:, np.newaxis]
        return np.where(is_test, sharpened, self.probabilities)


def read_predictions(folder: Path, name: str) -> Predictions:
    """Read a member, or the ensemble, from data/ensemble."""
    path, metadata = folder / f"{name}.parquet", read_metadata(folder)
    table = read_table(path, *metadata["tags"])
    clips = read_table(folder / CLIPS, *CLIP_COLUMNS)
    with reading(path):
        if len(table) != len(clips) or len(table.columns) != len(metadata["tags"]):
            expected = (len(clips), len(metadata["tags"]))
            raise ValueError(f"{table.shape} probabilities instead of {expected}")
    task = Task(list(table.columns), metadata["is_multi_label"], [])
    with reading(folder / CLIPS):
        predictions = Predictions.of(name, task, clips, table.to_numpy())
    of_mean = metadata.get("mean_temperatures", {}).get(name, 1.0)
    return replace(predictions, mean_temperature=of_mean)


def read_metadata(folder: Path) -> Record:
    """What data/ensemble says of the ensemble: members, weights, tags, temperature, ..."""
    return read_json(folder / METADATA)


def write_predictions(
    folder: Path, predictions: Sequence[Predictions], metadata: Mapping[str, Any]
) -> None:
    """Write predictions for the same clips, and what is known of the ensemble, as data/ensemble."""
    task = predictions[0].task
    with whole_folder(folder) as part:
        write_table(part / CLIPS, predictions[0].clips)
        for one in predictions:
            table = pd.DataFrame(one.probabilities, columns=task.tags)
            write_table(part / f"{one.name}.parquet", table)
        write_json(part / METADATA, metadata)
