"""The figures of a report, drawn from tables; nothing is shown or written.

Figures are made without pyplot, which keeps them in memory and needs a global backend.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC_NAMES = {
    "map_at_3": "MAP@3",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "mean_average_precision": "mAP",
    "micro_f1": "micro F1",
}
INK, ACCENT, WARM, PALE = "#37474f", "#1f6fb2", "#d1603d", "#cfd8dc"
_COUNTED_TAGS = 20  # with more tags there is no room for counts in the cells


def confusion_figure(confusion: NDArray[np.integer[Any]], tags: Sequence[str]) -> "Figure":
    """Draw `(K, K)` counts as shares of the clips of each actual tag, one row per actual tag."""
    from matplotlib.colors import PowerNorm

    n_tags = len(tags)
    if confusion.shape != (n_tags, n_tags):
        raise ValueError(f"expected confusion ({n_tags}, {n_tags}), got {confusion.shape}")
    side = 2.4 + (0.42 if n_tags <= _COUNTED_TAGS else 0.2) * n_tags
    figure, axes = _figure(side + 0.6, side)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    # The square root keeps small shares visible, such as one clip in twenty.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    font = 9 if n_tags <= _COUNTED_TAGS else 7
    axes.set_xticks(range(n_tags), tags, rotation=90, fontsize=font, parse_math=False)
    axes.set_yticks(range(n_tags), tags, fontsize=font, parse_math=False)
    axes.set_xticks(np.arange(n_tags + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_tags + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=PALE, linewidth=0.4)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel="predicted", ylabel="actual")
    for i, j in np.argwhere(confusion > 0) if n_tags <= _COUNTED_TAGS else ():
        ink = "white" if shares[i, j] > 0.3 else INK
        axes.text(j, i, str(confusion[i, j]), ha="center", va="center", fontsize=8, color=ink)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("share of the clips of the actual tag")
    return figure


def learning_curve_figure(history: pd.DataFrame, metric: str = "map_at_3") -> "Figure":
    """Draw loss, a metric and learning rate over epochs: one row per model, one line per fold.

    Args:
        history: one row per epoch, with the columns epoch, train_loss, validation_loss, the
            metric, learning_rate (the mean over an epoch's updates; NaN where there are none),
            learning_rate_low and _high (a band about it) and, where there are several, model and
            fold.
        metric: a key of METRIC_NAMES.
    """
    history = history.assign(
        model=history.get("model", "model"), fold=history.get("fold", "0")
    ).sort_values(["model", "fold", "epoch"])
    models = history["model"].unique()
    figure, grid = _figure(10, 2.3 * len(models) + 0.5, rows=len(models), columns=3)
    for row, model in zip(np.reshape(grid, (-1, 3)), models, strict=True):
        for _, run in history[history["model"] == model].groupby("fold"):
            # A single epoch makes no line, so that short runs have a dot per epoch.
            style = {"linewidth": 1.1, "alpha": 0.75, "marker": "." if len(run) < 12 else ""}
            row[0].plot(run["epoch"], run["train_loss"], color=WARM, **style)
            row[0].plot(run["epoch"], run["validation_loss"], color=ACCENT, **style)
            row[1].plot(run["epoch"], run[metric], color=ACCENT, **style)
            row[2].plot(run["epoch"], run["learning_rate"], color=INK, **style)
            ends = (run["learning_rate_low"], run["learning_rate_high"])
            row[2].fill_between(run["epoch"], *ends, color=PALE, alpha=0.5, linewidth=0)
        row[0].set_ylabel(model, fontsize=9, parse_math=False)
        row[0].set_ylim(bottom=0)
        row[1].set_ylim(min(0.5, history[metric].min()), 1.01)
        if history.loc[history["model"] == model, "learning_rate"].notna().any():
            row[2].set_yscale("log")  # which needs a rate; what is fitted at once has none
        for axes in row:
            _tidy(axes, integer_x=True)
    first, last = np.reshape(grid, (-1, 3))[[0, -1]]
    names = ("loss", f"{METRIC_NAMES[metric]}, validation", "learning rate")
    for axes, name in zip(first, names, strict=True):
        axes.set_title(name, fontsize=10)
    for axes in last:
        axes.set_xlabel("epoch")
    first[0].legend(first[0].lines[:2], ["training", "validation"], fontsize=8, frameon=False)
    return figure


def reliability_figure(reliability: pd.DataFrame, *, title: str = "") -> "Figure":
    """Draw the share of right answers over confidence, a dot with its 95 % interval per bin.

    Args:
        reliability: one row per bin, with the columns confidence, share_right, n and
            probabilities (before or after the temperature).
        title: whose reliability it is.
    """
    figure, axes = _figure(5.2, 4.6)
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    looks = {"before": ("o", WARM), "after": ("s", ACCENT)}
    for when, (marker, color) in looks.items():
        bins = reliability[reliability["probabilities"] == when]
        share = bins["share_right"].to_numpy(float)
        low, high = _wilson(share, bins["n"].to_numpy(float))
        axes.errorbar(
            bins["confidence"],
            share,
            yerr=[share - low, high - share],
            fmt=f"{marker}-",
            color=color,
            ms=4,
            linewidth=1,
            elinewidth=0.7,
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel="confidence", ylabel="share of right answers")
    handles = [axes.plot([], [], f"{marker}-", color=color)[0] for marker, color in looks.values()]
    names = ["before the temperature", "after it"]
    figure.legend(handles, names, loc="outside upper right", ncols=2, fontsize=9, frameon=False)
    _tidy(axes)
    return figure


def _wilson(share: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ends of Wilson's 95 % interval of shares of n clips, `(2, bins)`."""
    z = 1.959964
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    ends = np.stack([middle - half, middle + half])
    return np.stack([np.minimum(ends[0], share), np.maximum(ends[1], share)])


def coverage_figure(coverage: pd.DataFrame, rejection_threshold: float) -> "Figure":
    """Draw accuracy over coverage: the share of clips that are answered, most confident first.

    The most confident 2 % are left out, since the accuracy of a few clips jumps.

    Args:
        coverage: one row per clip, with the columns confidence, coverage and accuracy.
        rejection_threshold: a line marks it, if it is above 0.
    """
    figure, axes = _figure(5.2, 4.6)
    curve = coverage[coverage["coverage"] >= min(0.02, coverage["coverage"].max())]
    axes.plot(curve["coverage"], curve["accuracy"], color=ACCENT, linewidth=1.2)
    low = curve["accuracy"].min()
    for confidence in (0.9, 0.7, 0.5):
        answered = curve[curve["confidence"] >= confidence]
        if len(answered):
            point = (answered["coverage"].iloc[-1], answered["accuracy"].iloc[-1])
            axes.plot(*point, "o", color=ACCENT, ms=4)
            above = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"confidence {confidence}", point, fontsize=8, **above)
    answered = coverage[coverage["confidence"] >= rejection_threshold]
    if rejection_threshold > 0 and len(answered):
        line = axes.axvline(answered["coverage"].iloc[-1], color=WARM, linewidth=1)
        name = f"rejection threshold {rejection_threshold}"
        figure.legend([line], [name], loc="outside upper right", fontsize=9, frameon=False)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(max(0, low - 0.1), 1 + 0.08 * (1.1 - low))
    axes.set(xlabel="coverage: share of clips that are answered", ylabel="accuracy of the answers")
    _tidy(axes)
    return figure


def _figure(
    width: float,
    height: float,
    *,
    rows: int = 1,
    columns: int = 1,
) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def _tidy(axes: "Axes", *, integer_x: bool = False) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both" if integer_x else "x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    if integer_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
