"""What pydantic finds wrong with params.yaml, as one line each: the key's path and the fix."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from earmark.params.section import Section
from earmark.wording import shown

# Old key -> new key, as a path from the section that held the old one, or from the top.
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
# By the key's new name: old value -> new value.
RENAMED_VALUES = {
    "aggregation": {"recrop": "confident_crop"},
    "crops_per_clip": {"random": "one"},
    "padding": {"end": "right", "repeat": "tile", "replicate": "tile_gap"},
    "sampler": {"balanced": "class_balanced"},
    "schedule": {"cycles": "cyclical", "stages": "multistep"},
}


LONGEST_KEY = 80  # letters that are shown of one


class _Problem(NamedTuple):
    type: str  # pydantic's
    key: str  # its path, with dots
    message: str


def explain(
    error: ValidationError, raw: Any, section: type[Section], *, prefix: str = ""
) -> list[str]:
    """One line for each key that is wrong.

    Args:
        raw: the mapping that was validated.
        section: what it was validated as.
        prefix: the path of `raw` in params.yaml; "" is the top.
    """
    found = [_explained(details, raw, section, prefix) for details in error.errors()]
    renamed = {key for problem in found for key in _new_keys(problem)}
    # The keys that hold keys that are wrong.
    mappings = {above for problem in found for above in _above(problem.key)}
    lines: dict[str, str] = {}
    for problem in found:
        # Of "a word or a mapping", only what is wrong inside a mapping that is there.
        if problem.type == "literal_error" and problem.key in mappings:
            continue
        if problem.type == "missing" and problem.key in renamed:
            continue  # it stands under its old name
        # Of "a number or a name", what is wrong with the name that is there.
        if problem.key not in lines or problem.type == "value_error":
            lines[problem.key] = f"{problem.key}: {problem.message}"
    return list(lines.values())


def _explained(details: Any, raw: Any, section: type[Section], prefix: str) -> _Problem:
    keys = _keys_of(details, raw)
    path = ".".join([prefix, *keys] if prefix else keys) or shown(details["input"])
    return _Problem(details["type"], path, _message(details, keys, section))


def _keys_of(details: Any, raw: Any) -> list[str]:
    """The path of a finding, without pydantic's names for the branches of a union."""
    keys, value = [], raw
    for key in details["loc"]:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            if details["type"] != "missing" or key is not details["loc"][-1]:
                continue
        keys.append(_printable(str(key)))
    return keys


def _above(key: str) -> list[str]:
    """The keys of the sections that hold a key."""
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _printable(key: str) -> str:
    """A key of the user's within a line."""
    return key if key.isprintable() and len(key) <= LONGEST_KEY else shown(key)


def _message(details: Any, keys: Sequence[str], section: type[Section]) -> str:
    value = details["input"]
    if details["type"] == "missing":
        return "missing; add it (profiles/base.yaml and demo.yaml show one)"
    if details["type"] == "extra_forbidden":
        return f"unknown key; {_suggestion(keys, value, section)}"
    if details["type"] in ("dict_type", "model_type"):
        return f"must be a mapping, not {shown(value)}; write {{}} for an empty one"
    if details["type"] == "invalid_key":
        return f"the key {shown(value)} is no text; put it in quotes, or delete it"
    message = str(details["msg"].removeprefix("Value error, "))
    if isinstance(value, dict | list):
        return message
    return f"{message}, not {shown(value)}{_renamed_value(keys[-1] if keys else '', value)}"


def _suggestion(keys: Sequence[str], value: Any, section: type[Section]) -> str:
    """The new name of an unknown key, or the nearest of the keys that are known there."""
    name = keys[-1]
    new = RENAMED.get(name, "")
    if keys[0] == "extractors" and name.startswith("init_"):
        return "an extractor starts from `weights` and `weights_sha256`"
    if new:
        return f"it is now called {new}{_renamed_value(new.split('.')[-1], value)}"
    known = sorted(_keys_in(section, keys[:-1]))
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known) or 'none'}"


def _renamed_value(name: str, value: Any) -> str:
    values: Mapping[str, str] = RENAMED_VALUES.get(name, {})
    is_renamed = isinstance(value, str) and value in values
    return f"; {value} is now called {values[value]}" if is_renamed else ""


def _new_keys(problem: _Problem) -> set[str]:
    """Where the value of a renamed key stands now, and the section that holds it."""
    section, _, name = problem.key.rpartition(".")
    if problem.type != "extra_forbidden" or name not in RENAMED:
        return set()
    new = RENAMED[name]
    first = new.split(".")[0]
    return {new} | {".".join(filter(None, [section, key])) for key in (new, first)}


def _keys_in(section: type[Section], keys: Sequence[str]) -> set[str]:
    """The keys of the section that a path leads to."""
    for key in keys:
        if key in section.model_fields:  # else a name of the user's own, such as a model's
            section = _section_in(section.model_fields[key].annotation) or section
    return set(section.model_fields)


def _section_in(annotation: Any) -> type[Section] | None:
    """The Section inside an annotation such as `dict[str, Extractor]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inner = (_section_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((section for section in inner if section is not None), None)
