"""What a tagger said of its clips: of this workspace, of another folder, or of a git revision.

Shapes: B clips, K tags.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.store import read_json, read_table

FORM = "a member, a folder, or a git revision or experiment (REVISION:MEMBER for one of its own)"


@dataclass(frozen=True)
class Run:
    """One member's, or the ensemble's, probabilities: `table` has a column per tag."""

    name: str
    rows: pd.DataFrame
    table: pd.DataFrame
    is_multi_label: bool

    @property
    def tags(self) -> list[str]:
        return list(self.table.columns)

    def on(self, role: str) -> "Run":
        """The labelled clips of a role; one that several folds held out has their mean opinion."""
        keep = np.asarray((self.rows["role"] == role) & (self.rows["label"] != ""))
        rows, table = self.rows[keep].set_index("clip"), self.table[keep]
        means = table.groupby(rows.index.to_numpy()).mean()
        firsts = rows[~rows.index.duplicated()].loc[means.index]
        return Run(self.name, firsts, means, self.is_multi_label)


def read_run(where: str, layout: Layout) -> Run:
    """Read `MEMBER`, `FOLDER[:MEMBER]` or `REVISION[:MEMBER]`; without a member, the ensemble.

    Raises:
        UserError: nothing of that name is there, or its results are not in DVC's cache.
    """
    place, _, member = where.partition(":")
    here = layout.ensemble
    if (here / "ensemble.json").exists() and where in _names(here):
        return _read(where, here, where)
    if Path(place).is_dir():
        folder = Path(place)
        inside = Layout(folder).ensemble
        return _read(where, inside if inside.is_dir() else folder, member or "ensemble")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "ensemble"
        _fetch(place, layout, folder)
        return _read(where, folder, member or "ensemble")


def _names(folder: Path) -> list[str]:
    return [*read_json(folder / "ensemble.json")["members"], "ensemble"]


def _read(name: str, folder: Path, member: str) -> Run:
    if not (folder / "ensemble.json").exists():
        raise UserError(f"{name}: no data/ensemble in it; run `dvc repro` there")
    about = read_json(folder / "ensemble.json")
    if "is_multi_label" not in about:
        raise UserError(f"{name}: made by an older earmark; run `dvc repro` there again")
    if member not in (names := _names(folder)):
        raise UserError(f"{name}: no member {member}; there are {', '.join(names)}")
    rows, table = (read_table(folder / f"{part}.parquet") for part in ("clips", member))
    return Run(name, rows, table, about["is_multi_label"])


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
        raise UserError(f"{revision}: {error}; name {FORM}") from error
    except (OSError, DataIndexDirError) as error:
        fix = "run `dvc pull data/ensemble` at that revision, or `dvc repro`"
        raise UserError(f"{revision}: its {inside} is not to be had ({error}); {fix}") from error
