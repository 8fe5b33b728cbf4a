"""The clips and tags that several taggers have in common, so that they can be compared.

Shapes: B clips, K tags.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from earmark.errors import UserError
from earmark.evaluation.predictions import Predictions
from earmark.labels import SEPARATOR, Task


@dataclass(frozen=True)
class CommonClips:
    """The tags and clips of a split that all taggers have; labels and sources are the last's."""

    split: str
    task: Task
    clips: pd.DataFrame  # columns clip, label (of those tags alone) and source
    left_out: list[str]

    @classmethod
    def of(cls, taggers: Sequence[Predictions], split: str) -> "CommonClips":
        """Find what all taggers have in a split, and say what is left out.

        Raises:
            UserError: they share no clip, or fewer than two tags.
        """
        by_clip = [one.where(split=split).mean_by_clip() for one in taggers]
        last = by_clip[-1]
        tags = [tag for tag in last.task.tags if all(tag in one.task.tags for one in by_clip)]
        is_shared = np.all([last.clips["clip"].isin(one.clips["clip"]) for one in by_clip], axis=0)
        shared = last.clips.loc[is_shared, ["clip", "label", "source"]]
        known = shared["label"].map(lambda label: _without_other_tags(label, tags))
        judged = shared.assign(label=known)[known != ""]
        if len(tags) < 2 or judged.empty:
            names = " and ".join(one.name for one in by_clip)
            raise UserError(
                f"{names} share {len(judged)} {split} clips and {len(tags)} tags; "
                "name taggers of the same corpus"
            )
        left_out = [line for one in by_clip for line in _not_shared(one, len(shared), tags)]
        if n_lost := len(shared) - len(judged):
            left_out.append(f"left out: {n_lost} clips without a tag that all have")
        labels = shared["label"][judged.index].set_axis(judged["clip"])
        left_out += [line for one in by_clip[:-1] for line in _relabelled(one, labels, last.name)]
        return cls(split, Task(tags, last.task.is_multi_label, []), judged, left_out)

    def mean_of(self, side: Sequence[Predictions]) -> Predictions:
        """The mean of the taggers' probabilities, for these clips and tags."""
        selected = [self._select(one) for one in side]
        mean = np.mean([one.probabilities for one in selected], axis=0)
        name = ",".join(one.name for one in side)
        return replace(selected[0], name=name, probabilities=mean)

    def _select(self, tagger: Predictions) -> Predictions:
        one = tagger.where(split=self.split).mean_by_clip()
        rows = pd.Index(one.clips["clip"]).get_indexer(self.clips["clip"])
        columns = [one.task.tags.index(tag) for tag in self.task.tags]
        clips = one.clips.iloc[rows].assign(
            label=self.clips["label"].to_numpy(), source=self.clips["source"].to_numpy()
        )
        probabilities = one.probabilities[np.ix_(rows, columns)].astype(np.float64)
        selected = Predictions.of(tagger.name, self.task, clips, probabilities)
        return replace(selected, mean_temperature=tagger.mean_temperature)


def _without_other_tags(label: str, tags: Sequence[str]) -> str:
    return SEPARATOR.join(tag for tag in label.split(SEPARATOR) if tag in tags)


def _not_shared(one: Predictions, n_shared: int, tags: Sequence[str]) -> list[str]:
    """What is left out of a tagger since another does not have it."""
    lines = []
    if n_lost := len(one) - n_shared:
        lines.append(f"left out: {n_lost} clips of {one.name} that not all have")
    if others := [tag for tag in one.task.tags if tag not in tags]:
        lines.append(f"left out: tags of {one.name} that not all have: {', '.join(others)}")
    return lines


def _relabelled(one: Predictions, labels: pd.Series, last: str) -> list[str]:
    own = one.clips.set_index("clip")["label"].loc[labels.index]
    n_other = int((own != labels).sum())
    if not n_other:
        return []
    return [f"{n_other} clips have another label in {one.name}; that of {last} is used"]
