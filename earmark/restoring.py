"""Restore an artifact that is damaged: from DVC's cache, from git, or by its stage.

Metrics are outputs of stages that git keeps: what is committed may be of another run than this one.

DVC takes a read-only file for what its cache says it is. Where files of the workspace are hard
links to the cache, whoever damages one damages both, and `dvc checkout --force` then brings the
damage back. So the objects of the cache are compared with their names first.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.whole_files import discard
from earmark.wording import first_of

_GIT = ("git", "--literal-pathspecs")  # a name with * or : in it is a name


def restore(path: Path, layout: Layout) -> list[str]:
    """Bring back what is at `path`, or the output of a stage that it lies in.

    Args:
        path: of a file or folder, relative to the working directory or absolute.

    Returns:
        A line for each thing that was done.

    Raises:
        UserError: neither git nor DVC knows the path, a command of theirs failed, or several files
            of git would lose what was changed in them.
    """
    target = Path(os.path.normpath(Path.cwd() / path))
    if not target.is_relative_to(layout.root):
        raise UserError(f"{path}: not in {layout.root}; run this in the folder of its dvc.yaml")
    name = target.relative_to(layout.root).as_posix()
    if target == layout.root:
        raise UserError(f"{path}: is the whole repository; name the damaged file or folder in it")
    if done := _restore_outputs(name, layout):
        return done
    if not _succeeds(layout, *_GIT, "ls-files", "--error-unmatch", name):
        fix = "name what is in git, or an output of a stage of dvc.yaml"
        raise UserError(f"{name}: not known to git or DVC; {fix}")
    changed = _changed(layout, name)
    if len(changed) > 1:
        what = f"has {len(changed)} changed files, {first_of(changed, limit=10)}"
        raise UserError(f"{name}: {what}; name the damaged one")
    if not changed:
        return [f"{name}: is as git has it; if a file in it is damaged, name that file"]
    _run(layout, *_GIT, "checkout", "--", name)
    return [f"{changed[0]}: restored from git"]


class _Output(NamedTuple):
    """An output of a stage: a path relative to the root, and what dvc.lock says of it."""

    path: str
    stage: str
    is_cached: bool
    md5: str  # "" where the stage never ran
    damaged: list[Path]  # objects of the cache


def _restore_outputs(name: str, layout: Layout) -> list[str]:
    """Restore the output that a path lies in, or those below it; no line where there is none."""
    done, made = [], set[str]()
    for out in _outputs(name, layout):
        if out.stage in made:
            continue
        for path in out.damaged:
            discard(path)
        if out.damaged:
            counted = f"{len(out.damaged)} damaged objects"
            done.append(f"{out.path}: {counted} are removed from DVC's cache")
        if not out.is_cached and _is_in_git(out, layout):
            _run(layout, *_GIT, "checkout", "--", out.path)
            done.append(f"{out.path}: restored from git")
            continue
        discard(layout.root / out.path)
        checkout = (sys.executable, "-m", "dvc", "checkout", "--force", out.path)
        if out.is_cached and _succeeds(layout, *checkout):
            done.append(f"{out.path}: restored from DVC's cache")
            continue
        _run(layout, sys.executable, "-m", "dvc", "repro", "--single-item", out.stage)
        made.add(out.stage)
        done.append(f"{out.path}: made again by stage {out.stage}")
    return done


def _outputs(name: str, layout: Layout) -> list[_Output]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(layout.root)) as repo:
            path = str(layout.root / name)
            return [
                _Output(
                    Path(out.fs_path).relative_to(layout.root).as_posix(),
                    out.stage.addressing,
                    out.use_cache,
                    out.hash_info.value if out.hash_info else "",
                    [one for one in _objects(repo, out) if not _is_intact(one)],
                )
                for out in repo.find_outs_by_path(path, recursive=True, strict=False)
            ]
    except DvcException:  # no output; or its own files are damaged, which git then restores
        return []


def _is_in_git(out: _Output, layout: Layout) -> bool:
    """Whether git has what this workspace's run wrote, not that of another run."""
    command = ["git", "show", f":./{out.path}"]
    shown = subprocess.run(command, cwd=layout.root, capture_output=True, check=False)
    return shown.returncode == 0 and out.md5 in ("", hashlib.md5(shown.stdout).hexdigest())


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
    if not path.is_file():  # a folder where the object should be
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    return digest == f"{path.parent.name}{path.name.removesuffix('.dir')}"


def _changed(layout: Layout, name: str) -> list[str]:
    """The files of git at `name` that differ from what it would restore."""
    command = [*_GIT, "diff", "--name-only", "-z", "--", name]
    done = subprocess.run(command, cwd=layout.root, capture_output=True, text=True, check=False)
    return done.stdout.split("\0")[:-1]


def _succeeds(layout: Layout, *command: str) -> bool:
    done = subprocess.run(command, cwd=layout.root, capture_output=True, check=False)
    return done.returncode == 0


def _run(layout: Layout, *command: str) -> None:
    """Run a command whose output the user sees."""
    done = subprocess.run(command, cwd=layout.root, stdout=sys.stderr.fileno(), check=False)
    if done.returncode:
        shown = " ".join(command).replace(f"{sys.executable} -m ", "")
        raise UserError(f"{shown}: failed; fix what it reports")
