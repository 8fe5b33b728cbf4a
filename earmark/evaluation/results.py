"""What the ensemble stage wrote, read to be scored, and the tables of what was said.

Shapes: B rows (a held-out clip in its fold, or a test clip), K tags.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from earmark.evaluation.by_tag import confusion_pairs, per_class, per_tag
from earmark.evaluation.calibration import temper
from earmark.evaluation.label_groups import Merging, merging
from earmark.evaluation.points import Floats, confusion_matrix
from earmark.evaluation.scores import Predictions, Task, confusion_rows
from earmark.labels import targets_of
from earmark.layout import Layout
from earmark.params import Evaluate
from earmark.store import read_json, read_table


@dataclass(frozen=True)
class Results:
    """data/ensemble: `about` is its ensemble.json, `rows` say what the lines of its tables are."""

    layout: Layout
    about: dict[str, Any]
    rows: pd.DataFrame
    targets: Floats  # (B, K) of the corpus' own tags
    merge: Merging
    task: Task

    @classmethod
    def read(cls, layout: Layout, evaluate: Evaluate) -> "Results":
        """Read what will be scored by `evaluate.metric`, with the tags that it merges.

        Raises:
            UserError: nothing is there yet, or the metric or the tags do not fit the corpus.
        """
        about = read_json(layout.ensemble / "ensemble.json")
        merge = merging(about["tags"], evaluate.label_groups)
        task = Task(merge.tags, about["is_multi_label"], evaluate.metric)
        rows = read_table(layout.ensemble / "clips.parquet")
        return cls(layout, about, rows, targets_of(list(rows["label"]), about["tags"]), merge, task)

    def probabilities(self, name: str) -> Floats:
        """Those of a member or the ensemble for the corpus' own tags, `(B, K)`."""
        return read_table(self.layout.ensemble / f"{name}.parquet").to_numpy()

    def said(self, name: str) -> Predictions:
        """The same for the tags as they are scored."""
        own = self.merge(self.probabilities(name))
        return Predictions.of(self.rows, self.merge(self.targets), own, self.task)


def tag_tables(said: Predictions, tags: list[str], temperature: float) -> dict[str, pd.DataFrame]:
    """The tables per_class, confusion (a row a clip) and confusion_pairs of labelled rows.

    Thresholds are told for probabilities with the temperature, as `predict` shows them.
    Several tags a clip are not mistaken for each other: the latter two then have no rows, since
    DVC wants to find them nevertheless.
    """
    if said.answers is None or said.tuned is None:
        confusion = confusion_matrix(said.probabilities, said.labels)
        return {
            "per_class": per_class(said.probabilities, said.labels, tags),
            "confusion": confusion_rows(said, tags),
            "confusion_pairs": confusion_pairs(confusion, tags),
        }
    answers = said.answers.by_tag
    thresholds = temper(said.tuned.by_tag, temperature, is_multi_label=True)
    nothing = np.zeros((len(tags), len(tags)), dtype=np.int64)
    return {
        "per_class": per_tag(said.probabilities, said.targets, answers, thresholds, tags),
        "confusion": confusion_rows(said, tags)[:0],
        "confusion_pairs": confusion_pairs(nothing, tags),
    }
