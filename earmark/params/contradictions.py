"""Keys of params.yaml that are each well formed and contradict one another."""

import difflib
from typing import get_args

from pydantic import ValidationError

from earmark.params import Extractor, ModelRecipe, Params, Recipe
from earmark.params.explanations import explain
from earmark.params.preparation import Round
from earmark.params.roster import (
    EMBEDDING,
    FUSION,
    NO_RECORDINGS,
    PATCHES,
    STUDENT,
    entries_of,
    folds_of,
    members_of,
    overrides_of,
    recipe_of,
    recipe_values,
    student_of,
    weights_of,
)
from earmark.wording import first_of, shown

MANY_FOLDS = 12  # that are listed
# Keys of a recipe that change nothing where no trained weights are below the head -> off.
OF_BACKBONES = {
    "backbone_lr_multiplier": 1.0,
    "layerwise_lr_decay": 1.0,
    "freeze_batch_norm": False,
}


def contradictions(params: Params) -> list[str]:
    """One line for each problem, which begins with the key's path and ends with the fix."""
    return [
        *_fold_problems(params),
        *_name_problems(params),
        *_group_problems(params),
        *_round_problems(params),
        *_filter_problems(params),
        *_recipe_problems(params),
        *_backbone_key_problems(params),
        *_student_problems(params),
        *_unlabelled_problems(params),
        *_ensemble_problems(params),
    ]


def _fold_problems(params: Params) -> list[str]:
    problems = []
    names = params.fold_names
    if len(set(names)) != len(names):
        problems.append(f"folds: {shown(params.folds)}: a fold is named twice; name each once")
    valid = folds_of(params.cv)
    more = "" if params.cv.scheme == "first_last" else f", or raise cv.k (now {params.cv.k})"
    for fold in names:
        if valid is not None and fold not in valid:
            fix = f"choose from {first_of(valid, limit=MANY_FOLDS)}{more}"
            problems.append(f"folds: {shown(fold)} is not in cv.scheme {params.cv.scheme}; {fix}")
    return problems


def _name_problems(params: Params) -> list[str]:
    models = [(group, name) for group, models in params.models.items() for name in models]
    if not models:
        return ["models: there is no model; add at least one under a feature"]
    names = [name for _, name in models]
    reserved = {"ensemble", "clips", STUDENT} & {*params.extractors, *names}
    problems = [f"models: {name} is a name of earmark's; take another" for name in sorted(reserved)]
    problems += [
        f"models.{group}.{name}: the name is taken; give every model and extractor its own"
        for group, name in models
        if name in params.extractors or names.count(name) > 1
    ]
    return problems


def _group_problems(params: Params) -> list[str]:
    """Models whose feature, extractor or backbones are not there."""
    problems = []
    for group, models in params.models.items():
        for name in models:
            key = f"models.{group}.{name}"
            problems += [
                f"features.{feature}: missing, but {key} reads it; {_feature_fix(params, feature)}"
                for feature in _features_read(params, group)
                if feature not in params.features
            ]
            if group == EMBEDDING and not params.extractors:
                problems.append(f"{key}: there is no extractor; add one to extractors")
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


def _feature_fix(params: Params, feature: str, *, but: tuple[str, ...] = ()) -> str:
    groups = [name for name in (*params.features, EMBEDDING, FUSION) if name not in but]
    near = difflib.get_close_matches(feature, groups, n=1)
    return f"did you mean {near[0]}? If not, add it" if near else "add it"


def _backbone_problems(params: Params, name: str) -> list[str]:
    """A fusion model finds its backbones by name."""
    backbones = {"audio": params.fusion.audio, "spec": params.fusion.spec}
    return [
        f"models.{FUSION}.{name}: its backbone models.{feature}.{name}_{backbone} is not there; "
        "add it"
        for backbone, feature in backbones.items()
        if f"{name}_{backbone}" not in params.models.get(feature, {})
    ]


def _round_problems(params: Params) -> list[str]:
    """Rounds follow one another, and a model of the roster that reads a feature checks labels."""
    rounds, (group, model) = params.rounds, (params.label_rounds.feature, params.label_rounds.model)
    if not rounds:
        return []
    problems = []
    if rounds != list(get_args(Round))[: len(rounds)]:
        choices = "[], [i], [i, ii] or [i, ii, iii]"
        problems.append(f"rounds: {shown(rounds)}: they follow one another; write {choices}")
    if group not in params.features:
        fix = f"choose from {first_of(list(params.features), limit=20)}"
        problems.append(f"label_rounds.feature: there is no feature {group}; {fix}")
    elif model not in params.models.get(group, {}):
        models = [f"{g}.{m}" for g in params.features for m in params.models.get(g, {})]
        fix = f"choose from {first_of(models, limit=20)}" if models else "add one"
        problems.append(f"label_rounds.model: there is no model models.{group}.{model}; {fix}")
    return problems


def _filter_problems(params: Params) -> list[str]:
    """Centres of equalisers that no sound of the working rate reaches."""
    highest, half = params.class_mixing.same_class.center_hz[1], params.decode.sample_rate / 2
    if highest <= half:
        return []
    return [
        f"class_mixing.same_class.center_hz: {highest}; it must be at most {half:g}, half of "
        "decode.sample_rate"
    ]


def _recipe_problems(params: Params) -> list[str]:
    """What is wrong with `training` of an entry, once it is laid over the shared recipe."""
    problems = []
    for key, entry in entries_of(params).items():
        try:
            recipe_of(params, entry)
        except ValidationError as error:
            values = recipe_values(params, entry)
            section = Recipe if isinstance(entry, Extractor) else ModelRecipe
            problems += explain(error, values, section, prefix=f"{key}.training")
    return problems


def _backbone_key_problems(params: Params) -> list[str]:
    """What an entry itself asks of a trained backbone that it does not start from."""
    problems = []
    for key, entry in entries_of(params).items():
        weights = "weights" if isinstance(entry, Extractor) else "training.init_from"
        own = {} if weights_of(params, entry)[0] else overrides_of(entry)
        problems += [
            f"{key}.training.{name}: {shown(own[name])}, but all starts from random values; "
            f"set {key}.{weights}, or delete the line"
            for name, off in OF_BACKBONES.items()
            if own.get(name, off) != off
        ]
    return problems


def _student_problems(params: Params) -> list[str]:
    """What an entry of `models` may ask for, and a student may not: it has no validation clips."""
    if (student := student_of(params)) is None:
        return []
    if len(params.student) > 1:
        there = first_of(list(params.student), limit=MANY_FOLDS)
        return [f"{STUDENT}: there is one student, and this names {there}; keep one of them"]
    feature, entry = student
    key, problems = f"{STUDENT}.{feature}", []
    if feature not in params.features:
        fix = _feature_fix(params, feature, but=(EMBEDDING, FUSION))
        problems.append(f"{key}: there is no feature {feature} in features; {fix}")
    none = "it is trained on all clips, and none is left to choose on"
    if entry.training.overrides.get("epoch_choice", "last") != "last":
        problems.append(f"{key}.training.epoch_choice: {none}; set it to last")
    if entry.prediction.aggregation == "best_out_of_fold":
        problems.append(f"{key}.prediction.aggregation: {none}; set it to mean")
    return problems


def _unlabelled_problems(params: Params) -> list[str]:
    """DVC would take no name for the whole workspace."""
    if params.unlabelled:
        return []
    return [f"unlabelled: is empty; write {NO_RECORDINGS} where there is no folder"]


def _ensemble_problems(params: Params) -> list[str]:
    weights = params.ensemble.weights
    if isinstance(weights, str):
        return []
    members = members_of(params)
    problems = [
        f"ensemble.weights.{name}: no such member; choose from {first_of(list(members), limit=20)}"
        for name in weights
        if name not in members
    ]
    missing = [name for name in members if name not in weights]
    if missing:
        problems.append(
            f"ensemble.weights: no weight for {first_of(missing, limit=10)}; add one (0 is fine)"
        )
    if not problems and sum(weights.values()) <= 0:
        problems.append("ensemble.weights: all are 0; give at least one member a weight")
    return problems
