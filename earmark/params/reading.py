"""Reads params.yaml, and reports all that is wrong with it at once.

Each problem is one line with the key's path and its fix.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from earmark.errors import UserError
from earmark.params import Params
from earmark.params.contradictions import contradictions
from earmark.params.explanations import explain
from earmark.wording import condensed

# A params.yaml of a hundred models has 50 kB, 5,000 values, and is seven levels deep. Beyond these
# limits a file is none, or aliases of aliases stand for more than memory holds.
MAX_BYTES = 1_000_000
MAX_VALUES = 100_000
MAX_DEPTH = 30
MAX_BITS = 1024  # of a whole number; Python refuses to print those of 4,300 digits


def load_params(path: Path) -> Params:
    """Read and check params.yaml; every problem is reported at once.

    Raises:
        UserError: one line for each problem, with the key's path and its fix.
    """
    return checked_params(read_yaml(path), path.name)


def checked_params(raw: Any, source: str) -> Params:
    """Check a raw mapping, likewise; messages begin with `source`."""
    params, problems = parse_params(raw, source)
    if params is None or problems:
        raise UserError(*problems)
    return params


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        UserError: it is missing, too large, or not valid YAML.
    """
    try:
        if (n_bytes := path.stat().st_size) > MAX_BYTES:
            fix = "is it the right file? A params.yaml has some thousand bytes"
            raise UserError(f"{path}: {n_bytes:,} bytes, more than {MAX_BYTES:,}; {fix}")
        text = path.read_bytes().decode("utf-8-sig")  # with or without a byte order mark
        content = YAML(typ="safe", pure=True).load(text)
        _count(content, 0, {})
    except FileNotFoundError:
        fix = "run earmark from the folder of dvc.yaml, or `python -m earmark profile use demo`"
        raise UserError(f"{path}: not there; {fix}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; move it away and write the file") from None
    except UnicodeDecodeError as error:
        fix = "save the file as UTF-8"
        raise UserError(f"{path}: not valid YAML: byte {error.start} is no UTF-8; {fix}") from None
    except RecursionError:
        fix = "undo what nests it"
        raise UserError(
            f"{path}: not valid YAML for params: nested more than {MAX_DEPTH} levels deep; {fix}"
        ) from None
    except MarkedYAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_located(error)}") from None
    except (YAMLError, ValueError, KeyError) as error:  # ruamel lets int() and others raise theirs
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return content


def _located(error: MarkedYAMLError) -> str:
    """What is wrong and where, without the excerpts of the file that ruamel adds."""
    mark, problem = error.problem_mark, error.problem or error.context or "cannot be read"
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + " ".join(str(problem).split())


def _count(value: Any, depth: int, counted: dict[int, int]) -> int:
    """How many values there are once every alias stands for its anchor's.

    Raises:
        ValueError: too many of them, or a number of too many digits.
        RecursionError: too many levels, or an anchor that holds itself.
    """
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError("a number has more than 300 digits; correct it")
    if not isinstance(value, dict | list | set | tuple):
        return 1
    if id(value) not in counted:
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count(item, depth + 1, counted) for item in inner)
    if counted[id(value)] > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES:,} values, its aliases written out; undo them")
    return counted[id(value)]


def parse_params(raw: Any, source: str) -> tuple[Params | None, list[str]]:
    """Check a raw mapping; returns the params, if they have the right form, and all problems."""
    if not isinstance(raw, dict):
        return None, [f"{source}: empty or no mapping; `python -m earmark profile use demo`"]
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        if after := _cut_after(raw):
            fix = f"`git checkout -- {source}`, or `python -m earmark profile use NAME`"
            return None, [f"{source}: ends with section {after}; it may be cut short: {fix}"]
        return None, condensed([f"{source}: {line}" for line in explain(error, raw, Params)])
    return params, condensed([f"{source}: {line}" for line in contradictions(params)])


def _cut_after(raw: dict[Any, Any]) -> str:
    """The last section of a file that lacks several at its end, and none before; "" for others."""
    sections = list(Params.model_fields)
    n_there = sum(name in raw for name in sections)
    is_cut = len(sections) - n_there > 1 and list(raw) == sections[:n_there]
    return sections[n_there - 1] if is_cut and n_there else ""


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
