"""Outputs that could not be written in the end, refused before any work."""

from pathlib import Path

from earmark.errors import WrongUse


def refuse_in_the_way(out: Path) -> None:
    """Refuse to replace a file.

    Raises:
        WrongUse: something is there.
    """
    if out.exists():
        raise WrongUse(f"{out}: is there; name another file, or pass --overwrite")


def refuse_without_folder(out: Path) -> None:
    """Refuse an output whose folder is not there; it may be misspelt.

    Raises:
        WrongUse: it is missing.
    """
    folder = out.absolute().parent
    if not folder.is_dir():
        raise WrongUse(f"{out}: the folder {folder} is missing; make it")
