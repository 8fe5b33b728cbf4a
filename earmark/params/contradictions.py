"""What is wrong between keys of params.yaml that are each well formed."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from earmark.params import Extractor, Model, Params
from earmark.params.roster import EMBEDDING, FUSION, PATCHES, folds_of, members_of, recipe_of

Explain = Callable[[Any, Any], tuple[str, str]]  # pydantic's finding and the raw mapping


def contradictions(params: Params, explain: Explain) -> list[str]:
    """One line for each problem, which begins with the key's path and ends with the fix."""
    return [
        *_fold_problems(params),
        *_name_problems(params),
        *_group_problems(params),
        *_recipe_problems(params, explain),
        *_ensemble_problems(params),
    ]


def _fold_problems(params: Params) -> list[str]:
    problems = []
    names = params.fold_names
    if len(set(names)) != len(names):
        problems.append(f"folds: {params.folds}: a fold is named twice; name each once")
    valid = folds_of(params.cv)
    more = "" if params.cv.scheme == "first_last" else f", or raise cv.k (now {params.cv.k})"
    for fold in names:
        if fold not in valid:
            fix = f"give some of {', '.join(valid)}{more}"
            problems.append(f"folds: {fold!r} is not in cv.scheme {params.cv.scheme}; {fix}")
    return problems


def _name_problems(params: Params) -> list[str]:
    problems = []
    named = [(group, name) for group, models in params.models.items() for name in models]
    if not named:
        problems.append("models: the roster is empty; name at least one model under a feature")
    reserved = {"ensemble", "clips"} & {*params.extractors, *(name for _, name in named)}
    problems += [f"models: {n} is earmark's own name; take another" for n in sorted(reserved)]
    names = [name for _, name in named]
    problems += [
        f"models.{group}.{name}: the name is taken; every model needs its own"
        for group, name in named
        if name in params.extractors or names.count(name) > 1
    ]
    return problems


def _group_problems(params: Params) -> list[str]:
    """Models whose feature, extractor or backbones are not there."""
    problems = []
    for group, models in params.models.items():
        for name in models:
            problems += [
                f"features.{feature}: missing, but models.{group}.{name} reads it; add it"
                for feature in _features_read(params, group)
                if feature not in params.features
            ]
            if group == EMBEDDING and not params.extractors:
                fix = "add one to extractors"
                problems.append(f"models.{group}.{name}: there is no extractor; {fix}")
            if group == FUSION:
                problems += _backbone_problems(params, name)
    if params.extractors and PATCHES not in params.features:
        fix = "add `patches: {type: patches}`"
        problems.append(f"features.{PATCHES}: missing, but extractors read it; {fix}")
    return problems


def _features_read(params: Params, group: str) -> list[str]:
    if group == FUSION:
        return [params.fusion.audio, params.fusion.spec]
    return [PATCHES if group == EMBEDDING else group]


def _backbone_problems(params: Params, name: str) -> list[str]:
    """A fusion model finds its backbones by name."""
    backbones = {"audio": params.fusion.audio, "spec": params.fusion.spec}
    return [
        f"models.{FUSION}.{name}: it combines models.{feature}.{name}_{backbone}, which is not "
        "there; add it"
        for backbone, feature in backbones.items()
        if f"{name}_{backbone}" not in params.models.get(feature, {})
    ]


def _recipe_problems(params: Params, explain: Explain) -> list[str]:
    """What is wrong with `training` of an entry, once it is laid over the shared recipe."""
    entries: dict[str, Model | Extractor] = {
        f"models.{group}.{name}": entry
        for group, models in params.models.items()
        for name, entry in models.items()
    }
    entries |= {f"extractors.{name}": entry for name, entry in params.extractors.items()}
    problems = []
    for key, entry in entries.items():
        try:
            recipe_of(params, entry)
        except ValidationError as error:
            is_extractor = isinstance(entry, Extractor)
            shared = params.finetune if is_extractor else params.model
            own = entry.overrides if isinstance(entry, Extractor) else entry.training.overrides
            merged = {"model": {**shared.model_dump(), **own}}
            for problem in error.errors():
                found: Any = {**problem, "loc": ("model", *problem["loc"])}
                problems.append(f"{key}.training{explain(found, merged)[1].removeprefix('model')}")
    return problems


def _ensemble_problems(params: Params) -> list[str]:
    weights = params.ensemble.weights
    if isinstance(weights, str):
        return []
    members = members_of(params)
    problems = [
        f"ensemble.weights.{name}: no such member; there are {', '.join(members)}"
        for name in weights
        if name not in members
    ]
    missing = [name for name in members if name not in weights]
    if missing:
        problems.append(
            f"ensemble.weights: no weight for {', '.join(missing)}; add one (0 is fine)"
        )
    if not problems and sum(weights.values()) <= 0:
        problems.append("ensemble.weights: all are 0; give at least one member a weight")
    return problems
