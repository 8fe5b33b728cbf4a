"""The look of the figures of all analyses, and how they are saved with their numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from earmark.layout import Layout
from earmark.records import write_table
from earmark.whole_files import whole_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160


@contextmanager
def analysis_folder(layout: Layout, name: str) -> Iterator[Path]:
    """Yield a folder that becomes data/analyses/<name>/ if the block ends without an error."""
    with whole_folder(layout.data / "analyses" / name) as part:
        yield part


def keep(folder: Path, name: str, figure: "Figure", **tables: pd.DataFrame) -> None:
    """Write `name`.png, and each of its tables as `name`_<key>.csv (`name`.csv for `numbers`)."""
    figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
    for key, table in tables.items():
        write_table(folder / f"{name}{'' if key == 'numbers' else f'_{key}'}.csv", table)


def new_figure(width: float, height: float) -> "Figure":
    """A figure of this size in inches; without pyplot, which keeps figures in memory."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def bare(axes: "Axes", *sides: str) -> None:
    """Remove the frame, except for the named sides."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in sides)
    axes.tick_params(labelsize=8)
