"""Find predictions by the name that a user gives: a member, a folder, or a git revision."""

import tempfile
from dataclasses import replace
from pathlib import Path

from earmark.errors import DamagedError, UserError
from earmark.evaluation.predictions import (
    ENSEMBLE,
    METADATA,
    Predictions,
    read_metadata,
    read_predictions,
)
from earmark.layout import Layout

EXPECTED = (
    "a member, a folder, or a git revision or experiment (REVISION:MEMBER for one of its own)"
)


def locate_all(names: str, layout: Layout) -> list[Predictions]:
    """Read one name, or several with commas between them; see `locate_predictions`.

    Raises:
        UserError: a name is empty, is given twice, or cannot be read.
    """
    given = [name.strip() for name in names.split(",")]
    if "" in given or len(set(given)) < len(given):
        raise UserError(f"{names!r}: name each tagger once, with a comma between two")
    return [locate_predictions(name, layout) for name in given]


def locate_predictions(name: str, layout: Layout) -> Predictions:
    """Read `MEMBER`, `FOLDER[:MEMBER]` or `REVISION[:MEMBER]`; without a member, the ensemble.

    Raises:
        UserError: nothing of that name is there, or its results are not in DVC's cache.
    """
    first, _, member = name.partition(":")
    if (layout.ensemble / METADATA).exists() and name in _names(layout.ensemble):
        return _read(name, layout.ensemble, name)
    if Path(first).is_dir():
        folder = Path(first)
        inside = Layout(folder).ensemble
        return _read(name, inside if inside.is_dir() else folder, member or ENSEMBLE)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "ensemble"
        _fetch(first, layout, folder)
        try:
            return _read(name, folder, member or ENSEMBLE)
        except DamagedError as error:
            fix = f"run `git checkout {first} && dvc repro` in a clone of this repository"
            problem = f"{error.path.name} is damaged in DVC's cache ({error.reason})"
            raise UserError(f"{name}: its {problem}; {fix}") from None


def _names(folder: Path) -> list[str]:
    return [*read_metadata(folder)["members"], ENSEMBLE]


def _read(name: str, folder: Path, member: str) -> Predictions:
    if not (folder / METADATA).exists():
        raise UserError(f"{name}: no data/ensemble in it; run `dvc repro` there")
    if "is_multi_label" not in read_metadata(folder):
        raise UserError(f"{name}: made by an older earmark; run `dvc repro` there again")
    if member not in (names := _names(folder)):
        raise UserError(f"{name}: no member {member}; choose one of {', '.join(names)}")
    return replace(read_predictions(folder, member), name=name)


def _fetch(revision: str, layout: Layout, folder: Path) -> None:
    """Copy data/ensemble of a git revision or DVC experiment out of DVC's cache, or its remote."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError
    from dvc_data.index import DataIndexDirError

    inside = layout.ensemble.relative_to(layout.root).as_posix()
    try:
        files = DVCFileSystem(str(layout.root), rev=revision)
        files.get(inside, str(folder), recursive=True)
    except (SCMError, DvcException) as error:
        raise UserError(f"{revision}: {error}; name {EXPECTED}") from error
    except (OSError, DataIndexDirError) as error:
        fix = "run `dvc pull data/ensemble` at that revision, or `dvc repro`"
        raise UserError(f"{revision}: its {inside} is not available ({error}); {fix}") from error
