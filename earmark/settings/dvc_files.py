"""Files of DVC that a kill or a full disk cut short: DVC writes them in place."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from earmark.errors import UserError, reason_of
from earmark.layout import Layout

DVC_FILES = (".dvc/config", "dvc.yaml", "dvc.lock", ".dvc/tmp/rwlock")
_STAGES_OF_EVERY_RUN = ("code", "decode", "plan", "ensemble", "evaluate", "audit")
_RUN_CACHE = "then `dvc repro` finds what is done in its run cache"


def dvc_problems(layout: Layout) -> list[str]:
    """What DVC itself could not read, one line each with the command that restores it."""
    checks: tuple[Callable[[Path], Any], ...]
    checks = (_check_config, _check_graph, _check_lock, _check_json)
    found = zip(DVC_FILES, checks, strict=True)
    return [line for name, check in found for line in _problems(layout.root, name, check)]


def graph_problems(layout: Layout) -> list[str]:
    """What is wrong with dvc.yaml alone: of one that is cut DVC runs the rest, and says nothing."""
    return _problems(layout.root, "dvc.yaml", _check_graph)


def _problems(root: Path, name: str, check: Callable[[Path], Any]) -> list[str]:
    if not (root / name).exists():
        return []
    try:
        check(root / name)
    except Exception as error:  # each parser has its own
        reason = reason_of(error).removeprefix(f"{root / name}: ")
        return [f"{name}: cut short or damaged ({reason}); {_fix(root, name)}"]
    return []


def _fix(root: Path, name: str) -> str:
    if name == ".dvc/tmp/rwlock":
        return f"run `rm {name}` while no dvc runs"
    listed = ["git", "ls-files", "--error-unmatch", name]
    known = subprocess.run(listed, cwd=root, capture_output=True, check=False).returncode == 0
    if name == "dvc.lock":
        return f"run `{f'git checkout -- {name}' if known else f'rm {name}'}`, {_RUN_CACHE}"
    return f"run `git checkout -- {name}`" if known else "take it from where this clone came from"


def _check_yaml(path: Path) -> Any:
    # Not `read_yaml`: the lock of a thousand stages is larger than any params.yaml, and the parser
    # in C reads it in a tenth of the time.
    content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise UserError("no stages in it")
    return content


def _check_graph(path: Path) -> None:
    stages = _check_yaml(path)["stages"]
    if missing := [name for name in _STAGES_OF_EVERY_RUN if name not in stages]:
        raise UserError(f"no stage {missing[0]} in it")


def _check_lock(path: Path) -> None:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    text = path.read_text(encoding="utf-8")
    COMPILED_LOCKFILE_SCHEMA(_check_yaml(path))
    if not text.endswith("\n"):  # which DVC always writes
        raise UserError("its last line is not whole")


def _check_config(path: Path) -> None:
    from dvc.config import Config

    Config(str(path.parent))


def _check_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))
