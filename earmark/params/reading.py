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
from earmark.params import Params, Section
from earmark.params.contradictions import contradictions

# Keys and values that have another name now, by the old one.
RENAMED = {
    "base_learning_rate": "base_lr",
    "batches": "sampler",
    "checkpoint_seconds": "runtime.checkpoint_seconds",
    "drop_unverified": "noisy_label_drop",
    "edits": "label_corrections",
    "event_weight": "aux_weight",
    "fill": "input.padding",
    "frozen": "training.frozen",
    "init_from": "training.init_from",
    "init_sha256": "training.init_sha256",
    "lengths": "input.lengths",
    "max_learning_rate": "max_lr",
    "merge_tags": "label_groups",
    "mix": "class_mixing",
    "mixed_clips": "class_mixed_clips",
    "rate_decay": "lr_decay",
    "rule": "prediction.aggregation",
    "segment_patches": "input.segment_patches",
    "segment_samples": "input.segment_samples",
    "segment_seconds": "input.segment_seconds",
    "segments": "crops_per_clip",
    "stages": "multistep_stages",
    "trunk_rate": "backbone_lr_multiplier",
    "unknown_below": "rejection_threshold",
    "unverified_weight": "noisy_label_weight",
}
RENAMED_VALUES = {
    "balanced": "class_balanced",
    "cycles": "cyclical",
    "end": "right",
    "recrop": "confident_crop",
    "repeat": "tile",
    "replicate": "tile_gap",
    "stages": "multistep",
}


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
    return params, [f"{source}: {line}" for line in contradictions(params, explain)]


def _explanations(error: ValidationError, raw: Any) -> list[str]:
    """One line a place; of "a word or a mapping", what is wrong within a mapping that is there."""
    found = [(problem["type"], *explain(problem, raw)) for problem in error.errors()]
    lines: dict[str, str] = {}
    for kind, place, line in found:
        is_within = any(other.startswith(f"{place}.") for _, other, _ in found)
        if not (kind == "literal_error" and is_within):
            lines.setdefault(place, line)
    return list(lines.values())


def explain(problem: Any, raw: Any) -> tuple[str, str]:
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
    if problem["type"] == "literal_error" and problem["input"] in RENAMED_VALUES:
        message += f"; {problem['input']} is now called {RENAMED_VALUES[problem['input']]}"
    shown = "" if isinstance(problem["input"], dict | list) else f", not {problem['input']!r}"
    return place, f"{place}: {message}{shown}"


def _suggestion(keys: list[Any]) -> str:
    """The nearest known key to the last of `keys`, looked up in the models above."""
    if keys[-1] in RENAMED:
        return f"it is now called {RENAMED[keys[-1]]}"
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


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
