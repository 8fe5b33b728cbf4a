"""What each module of the repository imports, read from the source."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("earmark", "stages")


def module_path(name: str) -> Path | None:
    """The file of a module of ours, relative to the root; None if it is not a module."""
    base = Path(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if (ROOT / path).exists():
            return path
    return None


def imports_of(path: Path) -> set[Path]:
    """Files of ours that a file imports, at its top or inside a function."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in PACKAGES:
                parts = name.split(".")
                # importing a.b.c runs a/__init__.py and a/b/__init__.py too
                prefixes = [".".join(parts[: i + 1]) for i in range(len(parts))]
                found |= {p for p in map(module_path, prefixes) if p is not None}
    return found - {path}


@cache
def closure(path: Path) -> frozenset[Path]:
    """A file and all files of ours that it imports, directly or not."""
    seen, to_read = {path}, [path]
    while to_read:
        for found in imports_of(to_read.pop()) - seen:
            seen.add(found)
            to_read.append(found)
    return frozenset(seen)
