"""Restore an artifact that is damaged: from git, from DVC's cache, or by its stage.

DVC takes a read-only file for what its cache says it is. Where files of the workspace are hard
links to the cache, whoever damages one damages both, and `dvc checkout --force` then brings the
damage back. So the objects of the cache are compared with their names first.
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.store import discard


def restore(path: Path, layout: Layout) -> list[str]:
    """Bring back what is at `path`, or the output of a stage that it lies in.

    Args:
        path: of a file or folder, relative to the working directory or absolute.

    Returns:
        A line for each thing that was done.

    Raises:
        UserError: neither git nor DVC knows the path, or a command of theirs failed.
    """
    target = Path.cwd() / path
    if not target.is_relative_to(layout.root):
        raise UserError(f"{path}: not in {layout.root}; run this in the folder of its dvc.yaml")
    name = target.relative_to(layout.root).as_posix()
    if _succeeds(layout, "git", "ls-files", "--error-unmatch", name):
        _run(layout, "git", "checkout", "--", name)
        return [f"{name}: restored from git"]
    return _restore_output(name, layout)


def _restore_output(name: str, layout: Layout) -> list[str]:
    from dvc.exceptions import OutputNotFoundError
    from dvc.repo import Repo

    with Repo(str(layout.root)) as repo:
        try:
            outs = repo.find_outs_by_path(str(layout.root / name), strict=False)
        except OutputNotFoundError:
            fix = "name what is in git, or an output of a stage of dvc.yaml"
            raise UserError(f"{name}: not known to git or DVC; {fix}") from None
        out = outs[0]
        whole, stage = Path(out.fs_path).relative_to(layout.root).as_posix(), out.stage.addressing
        damaged = [path for path in _objects(repo, out) if not _is_intact(path)]
    for path in damaged:
        path.unlink()
    done = [f"{whole}: {len(damaged)} damaged objects are removed from DVC's cache"]
    discard(layout.root / whole)
    if _succeeds(layout, sys.executable, "-m", "dvc", "checkout", "--force", whole):
        return [*(done if damaged else []), f"{whole}: restored from DVC's cache"]
    _run(layout, sys.executable, "-m", "dvc", "repro", "--single-item", stage)
    return [*(done if damaged else []), f"{whole}: made again by stage {stage}"]


def _objects(repo: Any, out: Any) -> Iterator[Path]:
    """The files of DVC's cache that an output consists of, as far as they are there."""
    cache, known = repo.cache.local, out.hash_info
    if not known or not (whole := Path(cache.oid_to_path(known.value))).exists():
        return
    if known.isdir:
        if not _is_intact(whole):
            yield whole
            return
        for _, _, inner in out.get_obj():
            if (path := Path(cache.oid_to_path(inner.value))).exists():
                yield path
    yield whole


def _is_intact(path: Path) -> bool:
    """Whether an object of the cache is what its name says: the md5 of its content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    return digest == f"{path.parent.name}{path.name.removesuffix('.dir')}"


def _succeeds(layout: Layout, *command: str) -> bool:
    done = subprocess.run(command, cwd=layout.root, capture_output=True, check=False)
    return done.returncode == 0


def _run(layout: Layout, *command: str) -> None:
    """Run a command whose output the user sees."""
    done = subprocess.run(command, cwd=layout.root, stdout=sys.stderr.fileno(), check=False)
    if done.returncode:
        shown = " ".join(command).replace(f"{sys.executable} -m ", "")
        raise UserError(f"{shown}: failed; fix what it reports")
