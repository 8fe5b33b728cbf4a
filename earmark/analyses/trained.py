"""Trained members by name, for analyses."""

from dataclasses import dataclass

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.store import read_json
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger


@dataclass(frozen=True)
class Trained:
    """A member's network of one fold, and the extractor whose embeddings it reads, if it does."""

    member: str
    fold: str
    tagger: Tagger
    extractor: Tagger | None

    @property
    def title(self) -> str:
        return f"{self.member}, fold {self.fold}"


def trained_members(layout: Layout) -> dict[str, list[str]]:
    """Every member, and extractor, that is trained here, with its folds."""
    models = layout.model("member", "fold").parent.parent
    found: dict[str, list[str]] = {}
    for path in sorted(models.glob("*/*/model.json")):
        found.setdefault(path.parent.parent.name, []).append(path.parent.name)
    return found


def trained_folds(layout: Layout, member: str) -> list[str]:
    """The folds that a member is trained for, sorted.

    Raises:
        UserError: there is none, or no such member.
    """
    members = trained_members(layout)
    if member not in members:
        known = f"there are {', '.join(members)}" if members else "nothing is trained here yet"
        raise UserError(f"{member}: no trained model; {known}; run `dvc repro`, or `dvc pull`")
    return members[member]


def load_trained(layout: Layout, member: str, fold: str | None, device: Device) -> Trained:
    """Load a member's network, of the first trained fold where none is named.

    Raises:
        UserError: the member, or the fold, is not trained here.
    """
    folds = trained_folds(layout, member)
    if fold is not None and fold not in folds:
        raise UserError(f"{member}: fold {fold} is not trained; choose one of {', '.join(folds)}")
    fold = fold or folds[0]
    folder = layout.model(member, fold)
    extractor = read_json(folder / "model.json").get("extractor")
    below = Tagger.load(layout.model(extractor, fold), device) if extractor else None
    return Trained(member, fold, Tagger.load(folder, device), below)
