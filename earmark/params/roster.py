"""What follows from params: the folds of a scheme, a model's recipe, the members of the ensemble."""

from earmark.errors import UserError
from earmark.params.models import Extractor, Model
from earmark.params.params import Params
from earmark.params.preparation import CrossValidation
from earmark.params.recipe import Recipe

EMBEDDING, FUSION = "embedding", "fusion"  # the groups of models that are no features
PATCHES = "patches"  # the feature that extractors read


def folds_of(cv: CrossValidation) -> list[str]:
    """All folds of a scheme; `folds` of params.yaml chooses those that are run."""
    if cv.scheme == "first_last":
        return ["first", "last"]
    return [str(fold) for fold in range(cv.k)]


def model_of(params: Params, group: str, name: str) -> Model:
    """An entry of the roster.

    Raises:
        UserError: there is no such model.
    """
    entries = params.models.get(group, {})
    if name not in entries:
        raise UserError(
            f"params.yaml: models.{group}.{name}: no such model; choose one of {sorted(entries)}"
        )
    return entries[name]


def recipe_of(params: Params, entry: Model | Extractor) -> Recipe:
    """The shared recipe with the entry's own values laid over it."""
    if isinstance(entry, Extractor):
        return Recipe.model_validate({**params.finetune.model_dump(), **entry.overrides})
    return Recipe.model_validate({**params.model.model_dump(), **entry.training.overrides})


def member_name(model: str, extractor: str | None) -> str:
    return f"{model}-{extractor}" if extractor else model


def members_of(params: Params) -> dict[str, str]:
    """Member of the ensemble -> group; an embedding model is one member for each extractor."""
    members: dict[str, str] = {}
    for group, models in params.models.items():
        for name in models:
            if group == EMBEDDING:
                members |= {member_name(name, e): group for e in params.extractors}
            else:
                members[name] = group
    return dict(sorted(members.items()))
