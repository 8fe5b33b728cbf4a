"""What stands behind the digests of code.json, and what makes one stale."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from earmark.code_digests.keys import CODE_JSON, NAMED_STAGES, Code, Key
from earmark.code_digests.versions import ABSENT, installed_version, not_installed
from earmark.errors import UserError

RUN_CODE = "`dvc repro` (it runs the stage code first)"
FORCE_CODE = "`dvc repro --force --single-item code`, then `dvc repro`"


def check(
    root: Path,
    params: Mapping[str, Any],
    stage: str,
    name: str = "",
    *,
    version_of: Callable[[str], str] = installed_version,
) -> str:
    """Refuse to run a stage whose key in code.json is not that of the present code.

    `dvc repro --single-item STAGE` does not run the stage `code`, so each stage asks for itself.

    Args:
        root: the folder that holds dvc.yaml.
        params: the plain mapping of params.yaml.
        stage: a stage's module, such as `train`.
        name: the model, feature, extractor or adapter whose key it is; without one, all keys of the
            stage are checked (`augment` has one for each feature).
        version_of: says the version of a library or program.

    Returns:
        The digest, or those of all the stage's keys in one text.

    Raises:
        UserError: One line that says what changed and what to run.
    """
    code = Code(root, params, version_of=version_of)
    keys = _keys_of(code, stage, name)
    if not (old := read_code_json(root)):
        raise UserError(f"{CODE_JSON} is not there, or cannot be read; run {RUN_CODE}")
    digests = []
    for key in keys:
        refuse_absent(code.versions(code.modules(key)))
        digests.append(code.digest(key))
        if _digest_in(old, key) != digests[-1]:
            changes = _changes(code, key, old)
            is_version = all(change.startswith("version") for change in changes)
            what = ", ".join(changes[:3]) + (", ..." if len(changes) > 3 else "")
            raise UserError(
                f"the code behind {key} changed since code.json was written ({what}); "
                f"run {FORCE_CODE if is_version else RUN_CODE}"
            )
    code.keep()
    return " ".join(digests)


def refuse_absent(versions: Mapping[str, str]) -> None:
    """Refuse to go on without a library or program, given {name: version}."""
    if absent := [name for name, version in versions.items() if version == ABSENT]:
        raise UserError(*map(not_installed, absent))


def explain(
    root: Path,
    params: Mapping[str, Any],
    key: str = "",
    *,
    old: Mapping[str, Any],
    version_of: Callable[[str], str] = installed_version,
) -> list[str]:
    """Lines that say what stands behind a key, or one line for each key.

    Args:
        root: The folder that holds dvc.yaml.
        params: The plain mapping of params.yaml.
        key: `train.NAME`, or a stage of dvc.yaml such as `train_logmel@NAME-0`; "" for all.
        old: The content of code.json to compare with, such as the committed one.
        version_of: Says the version of a library or program.
    """
    code = Code(root, params, version_of=version_of)
    if not key:
        return [_line(code, one, old) for one in code.keys]
    lines = []
    for one in _keys_of(code, *_parsed(key)):
        modules = code.modules(one)
        versions = [f"{name} {version}" for name, version in code.versions(modules).items()]
        lines += [_line(code, one, old), f"  {len(modules)} modules; {', '.join(versions)}"]
        if _digest_in(old, one) != code.digest(one):
            lines += [f"  {change}" for change in _changes(code, one, old)]
        lines += [f"  {code.source(path).digest}  {path}" for path in sorted(modules)]
    return lines


def version_problems(
    root: Path, *, version_of: Callable[[str], str] = installed_version
) -> list[str]:
    """Versions in code.json that are not those of this machine, one line each.

    DVC runs the stage `code` again when requirements.txt changes, but does not see what is
    installed.
    """
    problems = []
    for name, version in read_code_json(root).get("versions", {}).items():
        here = version_of(name) if name != "python" else version  # it counted until 0.1.0
        if here == ABSENT:
            problems.append(not_installed(name))
        elif here != version:
            fix = "" if version == ABSENT else "install the former, or "
            problems.append(
                f"code.json: written with {name} {version}, but {here} is here; {fix}run "
                f"{FORCE_CODE}"
            )
    return problems


def _digest_in(content: Mapping[str, Any], key: Key) -> str:
    """What code.json has for a key; "" where it has none."""
    entry = content.get(key.stage, "")
    return str(entry.get(key.name, "") if isinstance(entry, Mapping) else entry)


def committed(root: Path) -> dict[str, Any]:
    """code.json as the last commit has it; the one at hand where none was committed."""
    shown = subprocess.run(
        ["git", "show", f"HEAD:./{CODE_JSON}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode:
        return read_code_json(root)
    content: dict[str, Any] = json.loads(shown.stdout)
    return content


def read_code_json(root: Path) -> dict[str, Any]:
    """What stage `code` wrote; empty where it never ran, or the file is damaged."""
    try:
        content = json.loads((root / CODE_JSON).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # no json, or no text
        return {}
    return content if isinstance(content, dict) else {}


def _line(code: Code, key: Key, old: Mapping[str, Any]) -> str:
    new = code.digest(key)
    before = _digest_in(old, key)
    return f"{key}  {new}" + ("" if before == new else f"  stale, was {before or 'not there'}")


def _parsed(key: str) -> tuple[str, str]:
    """Stage and name of `train.NAME`, `train_GROUP@NAME-FOLD`, `features@NAME` and `trim`."""
    if "@" not in key:
        stage, _, name = key.partition(".")
        return stage, name
    stage, _, axes = key.partition("@")
    if stage == "demo":  # one key for all corpora
        return stage, ""
    for template in ("train", "predict"):
        stage = template if stage.startswith(f"{template}_") else stage
    return stage, axes.split("-")[0]


def _keys_of(code: Code, stage: str, name: str) -> list[Key]:
    if name:
        return [code.key(stage, name)]
    keys = [key for key in code.keys if key.stage == stage]
    if not keys and stage not in NAMED_STAGES:  # such as `augment: {}`, which has no effect
        there = ", ".join(dict.fromkeys(key.stage for key in code.keys))
        raise UserError(f"code: no stage {stage!r}; there are {there}")
    return keys


def _changes(code: Code, key: Key, old: Mapping[str, Any]) -> list[str]:
    """What differs behind a key from an older code.json."""
    old_modules: Mapping[str, str] = old.get("modules", {})
    old_versions: Mapping[str, str] = old.get("versions", {})
    modules = code.modules(key)
    if not _digest_in(old, key):
        return [f"no {key} in code.json"]
    changes = []
    for path in sorted(modules):
        if path not in old_modules:
            changes.append(f"new: {path}")
        elif old_modules[path] != code.source(path).digest:
            changes.append(f"changed: {path}")
    # code.json has no list of modules for each key, so these may have belonged to another one
    changes += [f"gone: {path}" for path in sorted(old_modules) if not (code.root / path).exists()]
    for name, version in code.versions(modules).items():
        if (before := old_versions.get(name, "not used")) != version:
            changes.append(f"version: {name} {before} -> {version}")
    return changes or ["params.yaml or a registry names another class, or an import went"]
