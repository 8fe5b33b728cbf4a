"""The picture of the input ablation: what each input is worth alone, and within the joint model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from earmark.analyses.drawing import bare, new_figure
from earmark.reports.figures import ACCENT, INK, PALE, WARM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (
    ("each backbone alone", {"audio": WARM, "spec": ACCENT}),
    ("joint model, one input zero", {"joint_spec_zero": WARM, "joint_audio_zero": ACCENT}),
)
ALL = "all clips"


def ablation_figure(table: pd.DataFrame, *, overall: Mapping[str, float], title: str) -> "Figure":
    """Draw MAP@3 by category: the backbones at the left, the joint model with half its input right.

    Rows are sorted by how much the audio backbone is ahead of the spectrum's, so that the joint model
    leans on the better backbone where the colours of both panels lie on the same side. `table` has the
    columns of `score_categories`, `overall` the value over all clips, drawn as a last row.
    """
    order = (table["spec"] - table["audio"]).argsort(kind="stable")
    rows = table.iloc[order]
    values = {name: np.append(rows[name], overall[name]) for name in overall}
    places = np.append(np.arange(len(rows)), len(rows) + 0.6)
    figure = new_figure(10, 1.5 + 0.23 * (len(rows) + 2))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, (name, colors) in zip((left, right), PANELS, strict=True):
        _dumbbells(axes, values, places, colors)
        axes.axhline(len(rows) - 0.2, color=INK, linewidth=0.6)
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_xlabel("MAP@3", fontsize=9)
        axes.set_xlim(-0.02, 1.02)
    names = [f"{tag} ({n})" for tag, n in zip(rows["tag"], rows["n_clips"], strict=True)]
    left.set_yticks(places, [*names, ALL], fontsize=8, parse_math=False)
    left.set_ylim(len(rows) + 1.2, -0.7)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", color=INK, parse_math=False)
    _legend(figure, left)
    return figure


def _dumbbells(
    axes: "Axes",
    values: Mapping[str, np.ndarray],
    places: np.ndarray,
    colors: Mapping[str, str],
) -> None:
    """Two dots a row, tied by a line in the higher one's colour, and the joint model's mark."""
    (audio, warm), (spec, cold) = colors.items()
    ahead = values[audio] > values[spec]
    for mask, color in ((ahead, warm), (~ahead, cold)):
        axes.hlines(
            places[mask], values[audio][mask], values[spec][mask], color=color, lw=2.2, alpha=0.3
        )
    axes.plot(values["joint"], places, "D", ms=7, mfc="none", mec=INK, mew=1.1)
    axes.plot(values[spec], places, "o", color=cold, ms=6)
    axes.plot(values[audio], places, "o", color=warm, ms=4)
    axes.grid(axis="both", color=PALE, linewidth=0.5)
    axes.set_axisbelow(True)
    bare(axes, "bottom")
    axes.tick_params(axis="y", length=0)


def _legend(figure: "Figure", axes: "Axes") -> None:
    handles = [
        *axes.plot([], [], "o", color=WARM, ms=4, label="audio alone"),
        *axes.plot([], [], "o", color=ACCENT, ms=6, label="spectrum alone"),
        *axes.plot([], [], "D", mfc="none", mec=INK, ms=7, label="joint, both inputs"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
