"""The figures of the audit page, drawn from tables; nothing is shown or written."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.reports.figures import ACCENT, INK, PALE, WARM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_TAGS = 40  # of a noise matrix; more are illegible


def balance_figure(sizes: pd.DataFrame) -> "Figure":
    """Draw the clips of each class (columns tag, clips, verified), the largest on top."""
    figure, axes = _figure(8, 1.0 + 0.24 * len(sizes))
    rows = np.arange(len(sizes))
    axes.barh(rows, sizes["clips"], color=PALE, height=0.72, label="all")
    axes.barh(rows, sizes["verified"], color=ACCENT, height=0.36, label="verified")
    axes.set_yticks(rows, list(sizes["tag"]), fontsize=8, parse_math=False)
    axes.set_ylim(len(sizes) - 0.4, -0.6)
    axes.set_xlabel("training clips")
    figure.legend(loc="outside upper right", ncols=2, fontsize=9, frameon=False)
    _tidy(axes)
    return figure


def bandwidth_figure(sound: pd.DataFrame) -> "Figure":
    """Draw a dot per clip at its bandwidth (columns label, bandwidth_hz), one row per class."""
    by_class = sound.groupby("label")["bandwidth_hz"]
    order = by_class.median().sort_values().index
    figure, axes = _figure(8, 1.0 + 0.24 * len(order))
    for row, label in enumerate(order):
        values = np.sort(by_class.get_group(label).to_numpy()) / 1000
        # Spread by rank, so that equal values stay visible without random jitter.
        spread = 0.3 * (((np.arange(len(values)) * 0.618) % 1) * 2 - 1)
        axes.plot(values, row + spread, ".", color=ACCENT, ms=4, alpha=0.5)
        axes.plot(np.median(values), row, "|", color=WARM, ms=13, mew=2.5)
    axes.set_yticks(range(len(order)), [str(o) for o in order], fontsize=8, parse_math=False)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("bandwidth in kHz (dots: clips, bars: medians)")
    _tidy(axes)
    return figure


def noise_figure(counts: NDArray[np.int64], tags: list[str]) -> "Figure":
    """Draw counts (K, K) of label issues by given and suggested tag.

    Of more than 40 tags, those with the most disagreement are drawn.
    """
    off = counts * (1 - np.eye(len(tags), dtype=np.int64))
    if len(tags) > _MAX_TAGS:
        kept = np.sort(np.argsort(-(off.sum(axis=0) + off.sum(axis=1)))[:_MAX_TAGS])
        off, tags = off[np.ix_(kept, kept)], [tags[i] for i in kept]
    n = len(tags)
    side = 2.4 + 0.34 * n
    figure, axes = _figure(side + 0.6, side)
    image = axes.imshow(off, cmap="Oranges", vmin=0)
    axes.set_xticks(range(n), tags, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(n), tags, fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    axes.set(xlabel="suggested tag", ylabel="given label")
    for i, j in np.argwhere(off > 0):
        ink = "white" if off[i, j] > 0.6 * off.max() else INK
        axes.text(j, i, str(off[i, j]), ha="center", va="center", fontsize=8, color=ink)
    figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02).set_label("number of label issues")
    return figure


def _figure(width: float, height: float) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _tidy(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
