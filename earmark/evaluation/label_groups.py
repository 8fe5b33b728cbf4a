"""Tags that count as one when scored, such as the words that a task calls "unknown".

Shapes: B clips, K tags of the corpus, J tags as scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.errors import UserError
from earmark.evaluation.points import Floats, Ints
from earmark.wording import nearest


@dataclass(frozen=True)
class LabelGroups:
    """The tags as scored, and which of them each tag of the corpus is: `group_of` `(K,)`."""

    tags: list[str]
    group_of: Ints

    @classmethod
    def of(cls, tags: Sequence[str], groups: Mapping[str, Sequence[str]]) -> "LabelGroups":
        """Read `evaluate.label_groups` (name -> tags); without a group all tags stay as they are.

        Raises:
            UserError: a group names no tag, an unknown one, or one of another group; or its own
                name is a tag that is not in it.
        """
        owner = _owners(tags, groups)
        name_of = {tag: owner.get(tag, tag) for tag in tags}
        names = sorted(set(name_of.values()))
        index_of = {name: index for index, name in enumerate(names)}
        return cls(names, np.array([index_of[name_of[tag]] for tag in tags], dtype=np.int64))

    def __call__(self, values: Floats) -> Floats:
        """Combine the columns of `(B, K)` probabilities or targets by their maximum: `(B, J)`.

        So the most probable tag as scored is the group of the corpus' most probable tag
        (Speech Commands: 31 words scored as 12). Rows need not sum to 1 afterwards.
        """
        grouped = np.zeros((len(values), len(self.tags)), dtype=values.dtype)
        np.maximum.at(grouped.T, self.group_of, values.T)
        return grouped


def _owners(tags: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Tag -> its group, for the tags that are in one."""
    owner: dict[str, str] = {}
    for name, members in groups.items():
        key = f"params.yaml: evaluate.label_groups.{name}"
        if not members:
            raise UserError(f"{key}: names no tag; list some, or delete it")
        if name in tags and name not in members:
            raise UserError(f"{key}: {name} is a tag itself; list it, or choose another name")
        for tag in members:
            if tag not in tags:
                near = nearest(tag, tags)
                fix = f"did you mean {near}?" if near else "correct or delete it"
                raise UserError(f"{key}: {tag} is no tag of the corpus; {fix}")
            if tag in owner:
                raise UserError(f"{key}: {tag} is in {owner[tag]} already; name it once")
            owner[tag] = name
    return owner
