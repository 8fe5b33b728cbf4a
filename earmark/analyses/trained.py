"""Trained members by name, for analyses."""

from dataclasses import dataclass

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger


@dataclass(frozen=True)
class Trained:
    """A member of one fold, and the extractor whose embeddings it reads; None without one."""

    member: str
    fold: str
    tagger: Tagger
    extractor: Tagger | None

    @property
    def title(self) -> str:
        return f"{self.member}, fold {self.fold}"


def trained_members(layout: Layout) -> dict[str, list[str]]:
    """Every trained member and extractor, with its folds."""
    models = layout.model("member", "fold").parent.parent
    folds_of: dict[str, list[str]] = {}
    for path in sorted(models.glob("*/*/model.json")):
        folds_of.setdefault(path.parent.parent.name, []).append(path.parent.name)
    return folds_of


def trained_folds(layout: Layout, member: str) -> list[str]:
    """The folds that a member is trained on, sorted.

    Raises:
        UserError: there is no such trained member.
    """
    members = trained_members(layout)
    if member not in members:
        known = f"choose one of {', '.join(members)}" if members else "nothing is trained yet"
        raise UserError(f"{member}: not trained; {known}, or run `dvc repro` or `dvc pull`")
    return members[member]


def load_trained(layout: Layout, member: str, fold: str | None, device: Device) -> Trained:
    """Load a member of a fold; without `fold`, of the first one that is trained.

    Raises:
        UserError: the member or the fold is not trained.
    """
    folds = trained_folds(layout, member)
    if fold is not None and fold not in folds:
        raise UserError(f"{member}: fold {fold} is not trained; choose one of {', '.join(folds)}")
    fold = fold or folds[0]
    tagger = Tagger.load(layout.model(member, fold), device)
    extractor = tagger.metadata.get("extractor")
    loaded = Tagger.load(layout.model(extractor, fold), device) if extractor else None
    return Trained(member, fold, tagger, loaded)
