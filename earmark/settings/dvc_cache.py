"""Whether DVC's cache holds the files of the workspace, or a copy of each."""

from pathlib import Path
from tempfile import TemporaryDirectory

from earmark.layout import Layout


def cache_shares_files(layout: Layout) -> bool:
    """Whether what a stage writes is on the disk once, as `cache.type` and the disks allow.

    DVC goes through the types in their order. At hard links it lets the cache and the workspace
    have one file, where both are on one file system; at reflinks and copies it leaves a file that
    a stage wrote as it is, so that without reflinks there are two.

    Args:
        layout: of a repository with a folder .dvc.
    """
    from dvc.config import Config  # a third of a second

    settings = Config(str(layout.root / ".dvc"))["cache"]
    cache = _existing(layout.root / ".dvc" / settings.get("dir", "cache"))
    is_one_disk = cache.stat().st_dev == layout.root.stat().st_dev
    for type_ in settings.get("type", ["reflink", "copy"]):
        if type_ == "symlink" or (type_ == "hardlink" and is_one_disk):
            return True
        if type_ in ("reflink", "copy"):
            return type_ == "reflink" and is_one_disk and _has_reflinks(cache)
    return False


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def _has_reflinks(folder: Path) -> bool:
    from dvc_objects.fs.system import reflink

    try:
        with TemporaryDirectory(dir=folder) as name:
            Path(name, "source").write_bytes(b"1")
            reflink(str(Path(name, "source")), str(Path(name, "target")))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True
