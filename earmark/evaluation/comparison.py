"""Two taggers side by side: is the second better, on which clips, for which tags, by which seed?

A side is one tagger, or several that differ in `model.seed` alone.
Shapes: B clips, K tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from earmark.errors import UserError
from earmark.evaluation.common_clips import CommonClips
from earmark.evaluation.intervals import interval_text
from earmark.evaluation.paired import Changes, Gain, gain, tag_changes
from earmark.evaluation.points import check_metric
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.scores import values_of


@dataclass(frozen=True)
class SeedValues:
    """The values of one metric by the taggers of one side, each trained with another seed."""

    values: dict[str, float]

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.values.values())))

    @property
    def std(self) -> float | None:
        """The sample standard deviation; one seed has none."""
        values = list(self.values.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def to_json(self) -> dict[str, Any]:
        return {"values": self.values, "mean": self.mean, "std": self.std}

    def line(self, side: str) -> str:
        values = ", ".join(f"{name} {value:.4f}" for name, value in self.values.items())
        if self.std is None:
            return f"{side}: {values}; one seed has no spread"
        return f"{side}: {values}; mean {self.mean:.4f}, standard deviation {self.std:.4f}"


@dataclass(frozen=True)
class Comparison:
    """Two sides on the clips and tags that all of their taggers have.

    Where a side has several seeds, `gain`, `changes` and `by_tag` are of the mean of their
    probabilities, and `seeds` holds the values of each seed; else `seeds` is None.
    """

    names: tuple[str, str]
    on: str
    gain: Gain
    changes: Changes
    by_tag: pd.DataFrame
    of_tag: str  # the metric of `by_tag`
    seeds: tuple[SeedValues, SeedValues] | None
    left_out: list[str]  # one line for each kind of thing that was

    def to_json(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "on": self.on,
            "gain": self.gain.to_json(),
            "answers": asdict(self.changes),
            "by_tag": self.by_tag.to_dict("records"),
            "left_out": self.left_out,
            **({"seeds": [side.to_json() for side in self.seeds]} if self.seeds else {}),
        }

    def lines(self) -> list[str]:
        return [
            f"{self.gain.metric} on {self.gain.n_clips} {self.on} clips",
            *self._seed_lines(),
            *self._gain_lines(),
            *self._tag_lines(),
            *self.left_out,
        ]

    def _seed_lines(self) -> list[str]:
        if self.seeds is None:
            return []
        first, second = self.seeds
        spreads = " and ".join(f"{s.std:.4f}" for s in self.seeds if s.std is not None)
        return [
            first.line("first"),
            second.line("second"),
            f"difference of the means {second.mean - first.mean:+.4f}, beside a standard deviation "
            f"over seeds of {spreads}",
            "the lines below are of the mean probabilities over the seeds of each side",
        ]

    def _gain_lines(self) -> list[str]:
        g, c = self.gain, self.changes
        difference = (
            f"difference {g.difference.value:+.4f}, {interval_text(g.difference.to_json(), '+.4f')}"
        )
        mcnemar = ""
        if self.seeds is None:
            difference += f"; p {g.p_value:.3g} if the two were swapped at random"
            mcnemar = f", McNemar p {c.p_value:.3g}"
        else:
            difference += "; the spread over seeds is not in it"
        return [
            f"{self.names[0]} {g.first:.4f}, {self.names[1]} {g.second:.4f}",
            difference,
            f"most probable tag: {c.n_changed} clips ({c.n_changed / c.n_clips:.1%}) differ; "
            f"{c.n_fixed} wrong -> right, {c.n_broken} right -> wrong{mcnemar}",
        ]

    def _tag_lines(self) -> list[str]:
        changed = self.by_tag[self.by_tag["change"].abs() > 0].head(10)
        if changed.empty:
            return []
        width = max(len(tag) for tag in changed["tag"])
        return [
            f"by tag ({self.of_tag}):",
            *(
                f"  {row.tag:{width}} {row.first:.3f} -> {row.second:.3f} ({row.change:+.3f}), "
                f"{row.n_clips} clips"
                for row in changed.itertuples()
            ),
        ]


def compare(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    *,
    metric: str,
    label_groups: Mapping[str, Sequence[str]],
    on: str,
    seed: int,
    n_resamples: int,
) -> Comparison:
    """Compare two sides on the clips of split `on` and the tags that all taggers have.

    Each side is one tagger, or several of different seeds. Labels are those of the last tagger.

    Args:
        first: what the taggers of the first side predict.
        second: likewise; the gain is how much better it is.
        metric: what the sides are compared by.
        label_groups: name -> tags that count as one.
        on: validation or test.
        seed: of the resamples.
        n_resamples: of the permutation test.

    Raises:
        UserError: the taggers are for different tasks, share too little, or the metric does not
            fit.
    """
    taggers = [*first, *second]
    _check_one_task(taggers)
    common = CommonClips.of(taggers, on)
    check_metric(metric, common.task, key="evaluate.metric, or --metric")

    def answered(side: Sequence[Predictions]) -> Predictions:
        predictions = common.mean_of(side).grouped(label_groups)
        if on == "validation" or not common.task.is_multi_label:
            return predictions.with_answers()
        tuned = (
            CommonClips.of(taggers, "validation").mean_of(side).grouped(label_groups).with_answers()
        )
        return predictions.with_answers(tuned.thresholds)

    def values(side: Sequence[Predictions]) -> SeedValues:
        return SeedValues({one.name: values_of(answered([one]))[metric] for one in side})

    before, after = answered(first), answered(second)
    return Comparison(
        names=(before.name, after.name),
        on=on,
        gain=gain(before, after, metric=metric, seed=seed, n_resamples=n_resamples),
        changes=Changes.between(before, after),
        by_tag=tag_changes(before, after),
        of_tag="average precision" if common.task.is_multi_label else "F1",
        seeds=(values(first), values(second)) if len(taggers) > 2 else None,
        left_out=common.left_out,
    )


def _check_one_task(taggers: Sequence[Predictions]) -> None:
    several = [one.name for one in taggers if one.task.is_multi_label]
    single = [one.name for one in taggers if not one.task.is_multi_label]
    if several and single:
        raise UserError(
            f"{single[0]} has one tag per clip, {several[0]} several; "
            "compare taggers of the same corpus"
        )
