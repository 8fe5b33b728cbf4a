"""Files and folders that appear whole or not at all, whenever their writer is killed."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PART = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.(part|old)")  # what is not whole yet, or no more


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well, and only then."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _remove_abandoned_parts(path)
    part.mkdir(parents=True)
    try:
        yield part
        _reach_disk(part)
        retired = part.with_suffix(".old")
        if path.is_dir() and not path.is_symlink():
            path.replace(retired)
        else:  # a file where the folder should be
            path.unlink(missing_ok=True)
        part.replace(path)
        _sync(path.parent)
        discard(retired)
    except BaseException as error:
        discard(part)
        _name(error, path)
        raise


def _reach_disk(folder: Path) -> None:
    """Let all files of a folder reach the disk, each file and folder once."""
    for here, _, names in os.walk(folder):
        for path in (*(Path(here, name) for name in names), Path(here)):
            if not path.is_symlink():
                _sync(path)


def _sync(path: Path) -> None:
    """Let the content of a file, or the names in a folder, reach the disk.

    A rename may otherwise be on the disk before what it names: after a power failure the file has
    its length, and zeros.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:  # some file systems of networks have no fsync of a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(file)


def discard(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def whole_name(path: Path) -> str:
    """The name of a file or folder; of a part the name that it will have, or had."""
    match = _PART.fullmatch(path.name)
    return match["name"] if match else path.name


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the disk knows no links.

    Neither is written to from then on.
    """
    try:
        target.hardlink_to(source)
    except OSError:  # or the file has too many names already
        shutil.copyfile(source, target)


def move_into_place(part: Path, path: Path) -> None:
    """Rename a file that is whole to `path`; after a power failure, too, it is there or is not."""
    if path.is_dir():  # a folder where the file should be
        raise IsADirectoryError(errno.EISDIR, "a folder is where this file should be", str(path))
    _sync(part)
    part.replace(path)
    _sync(path.parent)


def _remove_abandoned_parts(path: Path) -> None:
    """Delete what killed processes left beside `path`, but nothing of another live process.

    A part with the id of this process was left by an older one: a container reuses the ids.
    """
    for part in path.parent.glob(".*.*"):
        match = _PART.fullmatch(part.name)
        if not match or match["name"] != path.name:
            continue
        if int(match["pid"]) == os.getpid() or not _is_alive(int(match["pid"])):
            discard(part)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` when the block ends well, and only then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _remove_abandoned_parts(path)
    try:
        yield part
        move_into_place(part, path)
    except OSError as error:
        _name(error, path)
        raise
    finally:
        discard(part)


def _name(error: BaseException, path: Path) -> None:
    """Say what could not be written: the system's error of a full disk names no file."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(path)
