"""What follows from params: folds of a scheme, a model's recipe, members of the ensemble."""

from typing import Any

from earmark.errors import UserError
from earmark.params.models import Extractor, Model, Network, Student
from earmark.params.params import Params
from earmark.params.preparation import CrossValidation
from earmark.params.recipe import ModelRecipe, Recipe

EMBEDDING, FUSION = "embedding", "fusion"  # the groups of models that are no features
STUDENT = "student"  # the section of params.yaml, and its name among the models
NO_RECORDINGS = "profiles/no_recordings.txt"  # of `unlabelled` where the student has no folder
ALL = "all"  # the clips that a student trains on, in the place of a fold's name
SPECTRAL_POOLINGS = ("statistics", "modulation")  # what `linear` and `mlp` pool spectra by
PATCHES = "patches"  # the feature that extractors read


def folds_of(cv: CrossValidation) -> list[str] | None:
    """All folds of a scheme, of which `folds` of params.yaml chooses those that are run.

    None for official folds, whose names the corpus alone knows.
    """
    if cv.scheme == "official":
        return None
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


def entries_of(params: Params) -> dict[str, Model | Extractor]:
    """Every model, extractor and student by its key path in params.yaml."""
    models = {
        f"models.{group}.{name}": model
        for group, models in params.models.items()
        for name, model in models.items()
    }
    extractors = {f"extractors.{name}": entry for name, entry in params.extractors.items()}
    students = {f"{STUDENT}.{feature}": entry for feature, entry in params.student.items()}
    return {**models, **extractors, **students}


def overrides_of(entry: Model | Extractor) -> dict[str, Any]:
    """The values of an entry that stand in for those of the shared recipe."""
    return entry.training if isinstance(entry, Extractor) else entry.training.overrides


def recipe_values(params: Params, entry: Model | Extractor) -> dict[str, Any]:
    """The shared recipe with the entry's own values laid over it; these may be unsound."""
    shared = params.finetune if isinstance(entry, Extractor) else params.model
    own = overrides_of(entry)
    if isinstance(entry, Student):  # it trains on every clip, so none is left to choose an epoch on
        own = {"epoch_choice": "last", **own}
    return {**shared.model_dump(), **own}


def recipe_of(params: Params, entry: Model | Extractor) -> Recipe:
    """The recipe that an entry is trained by.

    Raises:
        pydantic.ValidationError: one of the entry's own values is unsound.
    """
    section = Recipe if isinstance(entry, Extractor) else ModelRecipe
    return section.model_validate(recipe_values(params, entry))


def student_of(params: Params) -> tuple[str, Student] | None:
    """The feature that the student reads, and its entry; None where there is no student."""
    return next(iter(params.student.items()), None)


def weights_of(params: Params, entry: Model | Extractor) -> tuple[str, str]:
    """The weight file that training starts from and its sha256, both "" for random values."""
    if isinstance(entry, Extractor):
        return entry.weights, entry.weights_sha256
    values = recipe_values(params, entry)
    return values["init_from"], values["init_sha256"]


def reads_all(entry: Model) -> bool:
    """Whether the segment of a model is the clip itself."""
    return "all" in (entry.input.segment_seconds, entry.input.segment_patches)


def member_name(model: str, extractor: str | None) -> str:
    """The name of a member of the ensemble: the model's, and its extractor's where it has one."""
    return f"{model}-{extractor}" if extractor else model


def members_of(params: Params) -> dict[str, str]:
    """Member of the ensemble -> group; an embedding model is one member per extractor."""
    members: dict[str, str] = {}
    for group, models in params.models.items():
        for name in models:
            if group == EMBEDDING:
                members |= {member_name(name, e): group for e in params.extractors}
            else:
                members[name] = group
    return dict(sorted(members.items()))


def is_baseline(network: Network) -> bool:
    """Whether a network is what others must beat: a linear one on statistics of a spectrogram."""
    return network.name == "linear" and network.options.get("pooling") in SPECTRAL_POOLINGS


def baselines_of(params: Params) -> list[str]:
    """The members whose networks are baselines, by name."""
    return sorted(
        name
        for models in params.models.values()
        for name, entry in models.items()
        if is_baseline(entry.network)
    )
