"""The figure of attention over time: a recording's log-mel, and below it the attention of each tag.

Shapes: N frames, M mel bins, L levels, S steps in time, R drawn tags.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.analyses.drawing import bare, new_figure
from earmark.reports.figures import INK, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating[Any]]

RANGE_DB = 80.0  # below the loudest bin; the rest is drawn as silence
TICKS_HZ = (300, 1000, 3000, 10_000)
HUES = ("#1f6fb2", "#d1603d", "#3d8b6e", "#8a5fa8", "#b08a2e", "#5a6b75", "#b5487a", "#4a9fb5")


def attention_figure(
    log_mel: Floats,
    *,
    mel_hz: Floats,
    seconds: float,
    weights: Floats,
    edges_seconds: Floats,
    levels: Sequence[str],
    tags: Sequence[str],
    probabilities: Sequence[float],
    title: str,
) -> "Figure":
    """Draw the log-mel `(N, M)` in dB, and below it one row of attention per tag.

    A row shows the mean over the levels as an area and each level as a line. The dashed line is
    uniform attention. Time outside of all steps is grey: it was trimmed, or too short for a step.

    Args:
        log_mel: (N, M), in dB.
        mel_hz: (M,), the centres of the bins, ascending.
        seconds: the duration of the recording.
        weights: (L, S, R), each sums to 1 over S.
        edges_seconds: (S + 1,), the start and end of the steps.
        levels: names of the L levels.
        tags: names of the R tags.
        probabilities: (R,), of the tags.
        title: of the figure.

    Raises:
        ValueError: the shape of the weights does not fit the edges or the tags.
    """
    n_steps, n_tags = weights.shape[1:]
    if len(edges_seconds) != n_steps + 1 or n_tags != len(tags):
        raise ValueError(
            f"weights {weights.shape} do not fit {len(edges_seconds)} edges and {len(tags)} tags"
        )
    figure = new_figure(9, 2.9 + 0.78 * n_tags)
    rows = figure.subplots(1 + n_tags, 1, sharex=True, height_ratios=[2.6] + [0.8] * n_tags)
    figure.set_layout_engine("constrained", h_pad=0.03, hspace=0.02)
    _draw_log_mel(rows[0], log_mel, mel_hz, seconds)
    rows[0].set_title(title, fontsize=10, loc="left", color=INK, parse_math=False)
    top = max(1.15 * float(weights.max()), 1.6 / n_steps)
    for row, axes in enumerate(rows[1:]):
        hue = HUES[row % len(HUES)]
        _draw_attention(axes, weights[:, :, row], edges_seconds, hue, top)
        name = {"fontsize": 9, "color": hue, "parse_math": False, "transform": axes.transAxes}
        axes.text(1.015, 0.62, tags[row], va="center", weight="bold", **name)
        axes.text(1.015, 0.25, f"probability {probabilities[row]:.2f}", va="center", **name)
    for axes in rows:
        for start, end in ((0, edges_seconds[0]), (edges_seconds[-1], seconds)):
            axes.axvspan(start, max(start, end), color="#b7c1c7", alpha=0.45, linewidth=0)
        axes.set_xlim(0, seconds)
    rows[1 + n_tags // 2].set_ylabel("attention", fontsize=8)
    rows[-1].set_xlabel("seconds", fontsize=9)
    figure.supxlabel(_caption(levels), fontsize=7.5, color="#6b7880", x=0.01, ha="left")
    return figure


def _draw_log_mel(axes: "Axes", log_mel: Floats, mel_hz: Floats, seconds: float) -> None:
    peak = float(log_mel.max())
    n_mels = log_mel.shape[1]
    image = axes.imshow(
        log_mel.T, origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
        extent=(0, seconds, -0.5, n_mels - 0.5), vmin=peak - RANGE_DB, vmax=peak,
    )  # fmt: skip
    shown = [hz for hz in TICKS_HZ if mel_hz[0] <= hz <= mel_hz[-1]]
    places = np.interp(shown, mel_hz, np.arange(n_mels))
    axes.set_yticks(places, [f"{hz / 1000:g}" for hz in shown])
    axes.set_ylabel("kHz", fontsize=8)
    bare(axes)
    beside = axes.inset_axes((1.015, 0.0, 0.014, 1.0))
    bar = axes.figure.colorbar(image, cax=beside)
    bar.set_label("dB", fontsize=8)
    beside.tick_params(labelsize=7)
    bar.outline.set_visible(False)


def _draw_attention(axes: "Axes", weights: Floats, edges: Floats, hue: str, top: float) -> None:
    """The attention of a tag, `(L, S)`: the mean as an area of steps, each level as a thin line."""
    axes.stairs(weights.mean(0), edges, fill=True, color=hue, alpha=0.35, linewidth=0)
    for level, values in enumerate(weights):
        alpha = 0.35 + 0.65 * (level + 1) / len(weights)
        axes.stairs(values, edges, color=hue, linewidth=0.9, alpha=alpha, baseline=None)
    axes.plot(edges[[0, -1]], [1 / weights.shape[1]] * 2, "--", color=INK, linewidth=0.7)
    axes.set_ylim(0, top)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    bare(axes, "bottom", "left")


def _caption(levels: Sequence[str]) -> str:
    lines = f"lines: {', '.join(levels)}, the last one darkest; area: their mean; "
    uniform = "dashed: uniform attention; grey: outside of what the network reads"
    return (lines if len(levels) > 1 else "") + uniform
