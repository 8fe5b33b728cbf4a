"""Two runs, side by side: is the second better, on which clips, for which tags?

Shapes: B clips, K tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from earmark.errors import UserError
from earmark.evaluation.label_groups import merging
from earmark.evaluation.paired import Changes, Gain, gain, tag_changes
from earmark.evaluation.runs import Run
from earmark.evaluation.scores import Predictions, Task
from earmark.labels import SEPARATOR, targets_of


@dataclass(frozen=True)
class Comparison:
    """Two runs on the clips and tags that both have."""

    names: tuple[str, str]
    on: str
    gain: Gain
    changes: Changes
    by_tag: pd.DataFrame
    of_tag: str  # the figure of `by_tag`
    left_out: list[str]  # one line for each kind of thing that was

    def to_json(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "on": self.on,
            "gain": self.gain.to_json(),
            "answers": vars(self.changes),
            "by_tag": self.by_tag.to_dict("records"),
            "left_out": self.left_out,
        }

    def lines(self) -> list[str]:
        g, c, d = self.gain, self.changes, self.gain.difference
        first, second = self.names
        clips = "of held-out clips" if self.on == "validation" else "of test clips"
        low, high, units = d.widest("clips", f"{g.n_groups} recordings")
        lines = [
            f"{g.metric} {clips} ({g.n_clips}): {first} {g.first:.4f}, {second} {g.second:.4f}",
            f"difference {d.value:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} over {units}; "
            f"p {g.p_value:.3g} if the two were swapped at random",
            f"likeliest tag: {c.n_changed} clips ({c.n_changed / c.n_clips:.1%}) are answered "
            f"differently; {c.n_mended} wrong -> right, {c.n_spoilt} right -> wrong, "
            f"McNemar p {c.p_value:.3g}",
        ]
        changed = self.by_tag[self.by_tag["change"].abs() > 0].head(10)
        lines += [f"by tag ({self.of_tag}):"] if len(changed) else []
        width = max((len(tag) for tag in changed["tag"]), default=0)
        lines += [
            f"  {row.tag:{width}} {row.first:.3f} -> {row.second:.3f} ({row.change:+.3f}), "
            f"{row.n_clips} clips"
            for row in changed.itertuples()
        ]
        return [*lines, *self.left_out]


def compare(
    first: Run,
    second: Run,
    *,
    metric: str,
    label_groups: Mapping[str, Sequence[str]],
    on: str,
    seed: int,
    n_resamples: int,
) -> Comparison:
    """Compare on the clips of role `on` and the tags that both have; labels are the second's.

    Raises:
        UserError: the runs are of different kinds, share too little, or the metric does not fit.
    """
    if first.is_multi_label != second.is_multi_label:
        one, several = sorted((first, second), key=lambda run: run.is_multi_label)
        raise UserError(f"{one.name} has one tag a clip, {several.name} several: not comparable")
    a, b = first.on(on), second.on(on)
    common = _Common.of(a, b)
    merge = merging(common.tags, label_groups)
    task = Task(merge.tags, first.is_multi_label, metric)
    targets = merge(targets_of(common.labels, common.tags))
    before, after = (
        Predictions.of(
            run.rows.loc[common.clips].assign(label=common.labels, source=common.sources),
            targets,
            merge(run.table.loc[common.clips, common.tags].to_numpy(np.float64)),
            task,
        )
        for run in (a, b)
    )
    return Comparison(
        names=(first.name, second.name),
        on=on,
        gain=gain(before, after, task, seed=seed, n_resamples=n_resamples),
        changes=Changes.between(before, after),
        by_tag=tag_changes(before, after, task),
        of_tag="average precision" if task.is_multi_label else "F1",
        left_out=common.left_out,
    )


@dataclass(frozen=True)
class _Common:
    """The tags and clips that two runs share, with labels and sources as the second has them."""

    tags: list[str]
    clips: list[str]
    labels: list[str]  # of those tags alone
    sources: list[str]
    left_out: list[str]

    @classmethod
    def of(cls, a: Run, b: Run) -> "_Common":
        tags = [tag for tag in b.tags if tag in a.tags]
        shared = b.rows.loc[[clip for clip in b.rows.index if clip in a.rows.index]]
        known = pd.Series([_known_part(label, tags) for label in shared["label"]], shared.index)
        judged = shared[known != ""]
        if len(tags) < 2 or judged.empty:
            found = f"{len(judged)} clips and {len(tags)} tags"
            raise UserError(f"{a.name} and {b.name} share {found}; too little to compare")
        left_out = []
        for run in (a, b):
            if n_lost := len(run.rows) - len(shared):
                left_out.append(f"left out: {n_lost} clips that only {run.name} has")
            if strange := [tag for tag in run.tags if tag not in tags]:
                left_out.append(f"left out: tags that only {run.name} has: {', '.join(strange)}")
        if n_lost := len(shared) - len(judged):
            left_out.append(f"left out: {n_lost} clips without a tag that both have")
        n_other = int((a.rows.loc[judged.index, "label"] != judged["label"]).sum())
        if n_other:
            left_out.append(f"{n_other} clips have another label in {a.name}; {b.name}'s is used")
        sources = list(judged["source"])
        return cls(tags, list(judged.index), list(known[judged.index]), sources, left_out)


def _known_part(label: str, tags: list[str]) -> str:
    return SEPARATOR.join(tag for tag in label.split(SEPARATOR) if tag in tags)
