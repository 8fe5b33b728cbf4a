"""What each module of the repository imports, read from the source."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("earmark", "stages")


def sources(*folders: str) -> list[Path]:
    """Every Python file below these folders, relative to the root."""
    return [p.relative_to(ROOT) for one in folders for p in sorted((ROOT / one).rglob("*.py"))]


def package_of(path: Path) -> str:
    """`training` of earmark/training/loop.py, `store` of earmark/store.py, and `stages`."""
    return path.parts[1].removesuffix(".py") if path.parts[0] == "earmark" else path.parts[0]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def names_imported(path: Path) -> set[str]:
    """Dotted names that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imports_of(path: Path) -> set[Path]:
    """Files of ours that a file imports, with the packages that they lie in."""
    files: set[Path] = set()
    for name in names_imported(path):
        parts = name.split(".")
        if parts[0] in PACKAGES:
            # importing a.b.c runs a/__init__.py and a/b/__init__.py too
            files |= {p for n in range(len(parts)) if (p := _module_path(parts[: n + 1]))}
    return files - {path}


def libraries_of(path: Path) -> set[str]:
    """Top-level names that a file imports and that are not ours."""
    return {name.split(".")[0] for name in names_imported(path)} - set(PACKAGES)


@cache
def closure(path: Path) -> frozenset[Path]:
    """A file and all files of ours that it imports, directly or not."""
    seen, to_read = {path}, [path]
    while to_read:
        new = imports_of(to_read.pop()) - seen
        seen |= new
        to_read += new
    return frozenset(seen)


def _module_path(parts: list[str]) -> Path | None:
    base = Path(*parts)
    paths = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in paths if (ROOT / path).exists()), None)
