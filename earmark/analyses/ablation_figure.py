"""The figure of the input ablation: the scores of each input alone, and within the fusion model."""

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
    ("fusion model, one input zero", {"fusion_spec_zero": WARM, "fusion_audio_zero": ACCENT}),
)
ALL = "all clips"


def ablation_figure(table: pd.DataFrame, *, overall: Mapping[str, float], title: str) -> "Figure":
    """Draw MAP@3 by category: the backbones (left), and the fusion model with one input (right).

    Rows are sorted by the lead of the audio backbone over the spectrum backbone. The fusion model
    relies on the better backbone where the colours of both panels are on the same side.

    Args:
        table: what `score_categories` returns.
        overall: MAP@3 of each system over all clips, drawn as a last row.
        title: of the figure.
    """
    order = (table["spec"] - table["audio"]).argsort(kind="stable")
    rows = table.iloc[order]
    values = {name: np.append(rows[name], overall[name]) for name in overall}
    ys = np.append(np.arange(len(rows)), len(rows) + 0.6)
    figure = new_figure(10, 1.5 + 0.23 * (len(rows) + 2))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, (name, colors) in zip((left, right), PANELS, strict=True):
        _dumbbells(axes, values, ys, colors)
        axes.axhline(len(rows) - 0.2, color=INK, linewidth=0.6)
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_xlabel("MAP@3", fontsize=9)
        axes.set_xlim(-0.02, 1.02)
    names = [f"{tag} ({n})" for tag, n in zip(rows["tag"], rows["n_clips"], strict=True)]
    left.set_yticks(ys, [*names, ALL], fontsize=8, parse_math=False)
    left.set_ylim(len(rows) + 1.2, -0.7)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", color=INK, parse_math=False)
    _legend(figure, left)
    return figure


def _dumbbells(
    axes: "Axes",
    values: Mapping[str, np.ndarray],
    ys: np.ndarray,
    colors: Mapping[str, str],
) -> None:
    """Two dots per row, a line in the colour of the higher one, and a mark for the fusion model."""
    (audio, warm), (spec, cold) = colors.items()
    ahead = values[audio] > values[spec]
    for mask, color in ((ahead, warm), (~ahead, cold)):
        axes.hlines(
            ys[mask], values[audio][mask], values[spec][mask], color=color, lw=2.2, alpha=0.3
        )
    axes.plot(values["fusion"], ys, "D", ms=7, mfc="none", mec=INK, mew=1.1)
    axes.plot(values[spec], ys, "o", color=cold, ms=6)
    axes.plot(values[audio], ys, "o", color=warm, ms=4)
    axes.grid(axis="both", color=PALE, linewidth=0.5)
    axes.set_axisbelow(True)
    bare(axes, "bottom")
    axes.tick_params(axis="y", length=0)


def _legend(figure: "Figure", axes: "Axes") -> None:
    handles = [
        *axes.plot([], [], "o", color=WARM, ms=4, label="audio alone"),
        *axes.plot([], [], "o", color=ACCENT, ms=6, label="spectrum alone"),
        *axes.plot([], [], "D", mfc="none", mec=INK, ms=7, label="fusion, both inputs"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
