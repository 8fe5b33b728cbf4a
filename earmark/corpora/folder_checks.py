"""What in the folder of a corpus must not be read, or stops DVC: links out of it, pipes, names."""

import os
import stat
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from earmark.sound.recordings import name_of, path_of
from earmark.wording import counted

# Kind of a file that DVC cannot hash -> its name, the plural, what comes of it and how to fix it.
_UNHASHABLE = {
    "pipe": ("pipe", "pipes", "DVC would wait for it for ever; delete it"),
    "socket": ("socket", "sockets", "DVC cannot read it; delete it"),
    "device": ("device", "devices", "DVC would read it for ever; delete it"),
    "dangling": ("link to nothing", "links to nothing", "DVC cannot read it; delete it"),
    "unreadable": (
        *("file or folder without read permission", "files or folders without read permission"),
        "DVC cannot read it; run `chmod -R u+rX` on it",
    ),
}
_NOT_UTF8, _BEHIND_LINK = "not_utf8", "behind_link"
_KINDS = {
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def link_problems(paths: Iterable[str], root: Path) -> list[str]:
    """One line on the clips that lie outside of the root, behind a link, if there are any.

    Args:
        paths: of the clips table. The root may be a link itself.
    """
    real_path = cache(os.path.realpath)
    home = real_path(root)
    outside: dict[str, Path] = {}
    for name in paths:
        path = path_of(root, name)
        real = Path(real_path(path.parent), path.name)  # not each file's whole path anew
        if os.path.islink(real):  # noqa: PTH114 -- Path's fails where a name is too long
            real = Path(os.path.realpath(real))
            if not os.path.lexists(real):  # folder_problems has a line on links to nothing
                continue
        if not real.is_relative_to(home):
            outside[name] = real
    if not outside:
        return []
    first, target = next(iter(outside.items()))
    more = f", and links of {len(outside) - 1} more clips do so" if len(outside) > 1 else ""
    fix = "copy it into the root, or set corpus.links_outside: true if you trust the links"
    return [
        f"corpus: clip {first}: a link leads to {name_of(target)}, outside of the corpus root "
        f"{root}{more}; {fix}"
    ]


def folder_problems(root: Path, *, in_repository: bool) -> tuple[list[str], list[str]]:
    """What will stop `dvc repro` before any stage runs, as DVC hashes all that is in the root.

    Args:
        in_repository: whether .dvcignore applies to the root. There it hides names that are not
            UTF-8 from DVC, which fails with them.

    Returns:
        Problems, then warnings, a line for each kind of file.
    """
    names_of_kind = _scan(root)
    problems = []
    for kind, (one, many, fix) in _UNHASHABLE.items():
        if names := names_of_kind.get(kind):
            problems.append(f"corpus.root: {_such_as(names, root, one, many)}: {fix}")
    warnings = []
    if names := names_of_kind.get(_NOT_UTF8):
        text = f"corpus.root: {_such_as(names, root, 'name', 'names')} that is not UTF-8"
        fix = f"rename them, as with `convmv -f latin1 -t utf8 -r --notest {root}`"
        if in_repository:
            warnings.append(f"{text}: DVC leaves them out and notices no change of them; {fix}")
        else:
            problems.append(f"{text}: DVC cannot hash them; {fix}")
    if names := names_of_kind.get(_BEHIND_LINK):
        text = _such_as(names, root, "link to a folder", "links to folders")
        fix = "after a change there run `dvc repro --force decode`"
        warnings.append(f"corpus.root: {text} outside: DVC does not look into it; {fix}")
    return problems, warnings


def _such_as(names: list[str], root: Path, one: str, many: str) -> str:
    return f"{counted(len(names), one, many)} in {root}, such as {names[0]}"


def _scan(root: Path) -> dict[str, list[str]]:
    """Kind -> names of all below the root that are not plain files and folders."""
    names_of_kind: dict[str, list[str]] = {}
    home = os.path.realpath(root)
    for parent, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            path = Path(parent, name)
            if kind := _kind_of(path, home):
                names_of_kind.setdefault(kind, []).append(name_of(path.relative_to(root)))
    return names_of_kind


def _kind_of(path: Path, home: str) -> str:
    try:
        mode = path.stat().st_mode
    except OSError:
        # Path's own raises an error in a folder that must not be searched.
        return "dangling" if os.path.islink(path) else "unreadable"  # noqa: PTH114
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        return kind
    if not os.access(path, os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK):
        return "unreadable"
    if any("\udc80" <= character <= "\udcff" for character in path.name):
        return _NOT_UTF8
    is_linked_folder = stat.S_ISDIR(mode) and path.is_symlink()
    if is_linked_folder and not Path(os.path.realpath(path)).is_relative_to(home):
        return _BEHIND_LINK
    return ""
