"""Reads params.yaml, and says all that is wrong with it at once.

Each problem is one line with the key's path and its fix.
"""

import difflib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from earmark.errors import UserError
from earmark.params import BACKBONES, KINDS, Extractor, Params, Section

READS = {"embedding": ("patches",), "fusion": tuple(BACKBONES.values())}  # else its own kind


def load_params(path: Path) -> Params:
    """Read and check params.yaml; every problem is reported at once.

    Raises:
        UserError: one line a problem, with the key's path and its fix.
    """
    params, problems = parse_params(read_yaml(path), path.name)
    if params is None or problems:
        raise UserError(*problems)
    return params


def read_yaml(path: Path) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fix = "run earmark from the folder of dvc.yaml, or `python -m earmark profile use demo`"
        raise UserError(f"{path}: not there; {fix}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def parse_params(raw: Any, source: str) -> tuple[Params | None, list[str]]:
    """Check a raw mapping; returns the params, if they have the right form, and all problems."""
    if not isinstance(raw, dict):
        return None, [f"{source}: empty or no mapping; `python -m earmark profile use demo`"]
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        return None, [f"{source}: {line}" for line in _explanations(error, raw)]
    return params, [f"{source}: {line}" for line in _contradictions(params)]


def _explanations(error: ValidationError, raw: Any) -> list[str]:
    """One line a place; of "a word or a mapping", what is wrong within a mapping that is there."""
    found = [(problem["type"], *_explain(problem, raw)) for problem in error.errors()]
    lines: dict[str, str] = {}
    for kind, place, line in found:
        is_within = any(other.startswith(f"{place}.") for _, other, _ in found)
        if not (kind == "literal_error" and is_within):
            lines.setdefault(place, line)
    return list(lines.values())


def _explain(problem: Any, raw: Any) -> tuple[str, str]:
    """The place of one of pydantic's findings, and one line that begins with it."""
    keys: list[Any] = []
    parent = raw
    for key in problem["loc"]:
        try:
            parent = parent[key]
        except (KeyError, IndexError, TypeError):
            if problem["type"] != "missing" or key is not problem["loc"][-1]:
                continue  # pydantic's name for a branch of a union, not a key of the file
        keys.append(key)
    place = ".".join(map(str, keys))
    if problem["type"] == "extra_forbidden":
        return place, f"{place}: unknown key; {_suggestion(keys)}"
    if problem["type"] == "missing":
        return place, f"{place}: missing; add it (profiles/base.yaml and demo.yaml show one)"
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(problem["input"], dict | list) else f", not {problem['input']!r}"
    return place, f"{place}: {message}{shown}"


def _suggestion(keys: list[Any]) -> str:
    """The nearest known key to the last of `keys`, looked up in the models above."""
    valid = sorted(_fields_at(Params, [str(key) for key in keys[:-1]]))
    near = difflib.get_close_matches(str(keys[-1]), valid, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(valid) or 'none'}"


def _fields_at(section: Any, keys: list[str]) -> set[str]:
    for key in keys:
        fields = getattr(section, "model_fields", {})
        annotation = fields[key].annotation if key in fields else section
        section = _section_in(annotation) or section
    return set(getattr(section, "model_fields", {}))


def _section_in(annotation: Any) -> type[Section] | None:
    """The Section inside an annotation such as `dict[str, Extractor]` or `Frames | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_in(inner)
        if found is not None:
            return found
    return None


def _contradictions(params: Params) -> list[str]:
    """What is wrong between keys that are each well formed."""
    return [
        *_fold_problems(params),
        *_roster_problems(params),
        *_ensemble_problems(params),
    ]


def _fold_problems(params: Params) -> list[str]:
    problems = []
    names = params.fold_names
    if len(set(names)) != len(names):
        problems.append(f"folds: {params.folds}: a fold is named twice; name each once")
    valid = params.cv.fold_names
    more = "" if params.cv.scheme == "first_last" else f", or raise cv.k (now {params.cv.k})"
    for fold in names:
        if fold not in valid:
            fix = f"give some of {', '.join(valid)}{more}"
            problems.append(f"folds: {fold!r} is not in cv.scheme {params.cv.scheme}; {fix}")
    return problems


def _roster_problems(params: Params) -> list[str]:
    problems = []
    named = [(kind, name) for kind in KINDS for name in params.models.of_kind(kind)]
    if not named:
        problems.append("models: the roster is empty; name at least one model under a kind")
    reserved = {"ensemble", "clips"} & {*params.extractors, *(name for _, name in named)}
    problems += [f"models: {n} is earmark's own name; take another" for n in sorted(reserved)]
    for kind, name in named:
        if name in params.extractors or [n for _, n in named].count(name) > 1:
            problems.append(f"models.{kind}.{name}: the name is taken; every model needs its own")
        problems += [
            f"features.{needed}: missing, but models.{kind}.{name} reads it; add it"
            for needed in READS.get(kind, (kind,))
            if getattr(params.features, needed) is None
        ]
        if kind == "fusion":
            problems += _backbone_problems(params, name)
        if kind == "embedding" and not params.extractors:
            problems.append(
                f"models.embedding.{name}: there is no extractor; add one to extractors"
            )
        entry = params.entry(kind, name)
        problems += _recipe_problems(params, entry, kind, f"models.{kind}.{name}")
    for name, extractor in params.extractors.items():
        problems += _recipe_problems(params, extractor, "patches", f"extractors.{name}")
    if params.extractors and params.features.patches is None:
        problems.append("features.patches: missing, but extractors read it; add `patches: {}`")
    return problems


def _backbone_problems(params: Params, name: str) -> list[str]:
    """A fusion model finds its backbones by name, and cuts both features at the same moment."""
    wave = params.features.wave44k
    if wave is not None and wave.target_hz != params.decode.sample_rate:
        return [
            f"features.wave44k.target_hz: {wave.target_hz}, but models.fusion.{name} needs that of "
            f"decode.sample_rate, {params.decode.sample_rate}, to cut both backbones at one moment"
        ]
    return [
        f"models.fusion.{name}: it joins models.{kind}.{name}_{backbone}, which is not there; add it"
        for backbone, kind in BACKBONES.items()
        if f"{name}_{backbone}" not in params.models.of_kind(kind)
    ]


def _recipe_problems(params: Params, entry: Any, kind: str, place: str) -> list[str]:
    """What is wrong with `training` of an entry, once it is laid over the shared recipe."""
    try:
        recipe = params.recipe(entry)
    except ValidationError as error:
        shared = params.finetune if isinstance(entry, Extractor) else params.model
        merged = {"model": {**shared.model_dump(), **entry.training}}
        lines = []
        for problem in error.errors():
            problem["loc"] = ("model", *problem["loc"])
            lines.append(f"{place}.training{_explain(problem, merged)[1].removeprefix('model')}")
        return lines
    is_spectral = kind in ("logmel", "patches", "fusion")
    problems = []
    if recipe.mixup_at == "waveform" and not (is_spectral or kind.startswith("wave")):
        problems.append(f"{place}: mixup_at waveform cannot be had from {kind}; set features")
    if (recipe.mask_frames or recipe.mask_bands) and not (is_spectral or kind == "mfcc"):
        problems.append(f"{place}: mask_frames and mask_bands mask no {kind}; set them to 0")
    return problems


def _ensemble_problems(params: Params) -> list[str]:
    weights = params.ensemble.weights
    if isinstance(weights, str):
        return []
    members = params.members()
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
