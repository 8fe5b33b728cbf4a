"""Reads params.yaml, and reports all that is wrong with it at once.

Each problem is one line with the key's path and its fix.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from earmark.errors import UserError
from earmark.params import Params
from earmark.params.contradictions import contradictions
from earmark.params.explanations import explain


def load_params(path: Path) -> Params:
    """Read and check params.yaml; every problem is reported at once.

    Raises:
        UserError: one line for each problem, with the key's path and its fix.
    """
    params, problems = parse_params(read_yaml(path), path.name)
    if params is None or problems:
        raise UserError(*problems)
    return params


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        UserError: it is missing or not valid YAML.
    """
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
        return None, [f"{source}: {line}" for line in explain(error, raw, Params)]
    return params, [f"{source}: {line}" for line in contradictions(params)]


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
