"""The figures of learned filters: sorted spectra of one layer, and of all layers side by side.

Shapes: C filters, F frequency bins, S filters with a drawn waveform, T samples.
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
    from matplotlib.image import AxesImage

Floats = NDArray[np.floating[Any]]

TICKS_HZ = (30, 100, 300, 1000, 3000, 10_000, 20_000)


def layer_figure(
    spectra: Floats,
    *,
    hz: Floats,
    peaks_hz: Floats,
    index: NDArray[np.int64],
    shown: NDArray[np.int64],
    waveforms: Floats,
    sample_rate: int,
    title: str,
) -> "Figure":
    """Draw the spectra `(C, F)` of a layer, and beside them the waveforms of some filters.

    Args:
        spectra: (C, F), sorted by `peaks_hz`.
        hz: (F,), the frequencies of the bins.
        peaks_hz: (C,), ascending.
        index: (C,), the numbers of the filters.
        shown: (S,), the rows whose waveforms are drawn; the lowest peak is at the bottom.
        waveforms: (S, T), of these rows.
        sample_rate: of the waveforms, in Hz.
        title: of the figure.
    """
    figure = new_figure(11, 4.6)
    parts: Any = figure.subfigures(1, 2, width_ratios=[1.25, 1])
    left, right = parts
    axes = left.subplots()
    image = _spectra(axes, spectra, hz)
    axes.plot(shown, np.full(len(shown), hz[-1] / 1000), "v", color=INK, ms=5, clip_on=False)
    axes.set_xlabel("filter, sorted by the frequency of its peak", fontsize=9)
    axes.set_ylabel("kHz", fontsize=9)
    axes.set_title(title, fontsize=10, loc="left", color=INK, pad=10, parse_math=False)
    bar = left.colorbar(image, ax=axes, pad=0.02, fraction=0.035, aspect=30)
    bar.set_label("log power", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    milliseconds = np.arange(waveforms.shape[1]) * 1000 / sample_rate
    grid = np.atleast_1d(right.subplots(max(len(shown), 1), 1, sharex=True))
    for row, waveform, axes in zip(shown[::-1], waveforms[::-1], grid, strict=False):
        axes.plot(milliseconds, waveform, color="#7b2382", linewidth=0.6)
        axes.set(yticks=[], xlim=(0, milliseconds[-1]))
        name = f"filter {index[row]}\n{peaks_hz[row]:,.0f} Hz"
        axes.text(1.01, 0.5, name, fontsize=7.5, color=INK, va="center", transform=axes.transAxes)
        bare(axes)
        axes.tick_params(bottom=False)
    grid[0].set_title("waveforms that activate them most", fontsize=9, loc="left", color=INK)
    grid[-1].tick_params(bottom=True)
    grid[-1].set_xlabel("milliseconds", fontsize=9)
    return figure


def overview_figure(
    spectra: Sequence[Floats], *, hz: Floats, peaks_hz: Sequence[Floats], title: str
) -> "Figure":
    """Draw the sorted spectra of every layer, and the curves of their peaks.

    The dashed curve is the mel scale, with which the paper compares the layers.

    Args:
        spectra: (C, F) of each layer.
        hz: (F,), the frequencies of the bins.
        peaks_hz: (C,) of each layer, ascending.
        title: of the figure.
    """
    figure = new_figure(13, 5.6)
    parts: Any = figure.subfigures(1, 2, width_ratios=[2.15, 1])
    left, right = parts
    grid = np.ravel(left.subplots(2, -(-len(spectra) // 2), sharey=True, squeeze=False))
    for number, (axes, of_layer) in enumerate(zip(grid, spectra, strict=False), start=1):
        _spectra(axes, of_layer, hz)
        axes.set_title(f"layer {number}", fontsize=9, color=INK, pad=4)
    for axes in grid[len(spectra) :]:
        axes.set_visible(False)
    left.supylabel("kHz", fontsize=9, color=INK)
    left.supxlabel("filter, sorted by the frequency of its peak", fontsize=9, color=INK)
    _peak_curves(right.subplots(), peaks_hz, hz)
    right.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=4)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", color=INK, parse_math=False)
    return figure


def _peak_curves(axes: "Axes", peaks_hz: Sequence[Floats], hz: Floats) -> None:
    """The sorted peaks of every layer, on a logarithmic axis, and the mel scale."""
    from matplotlib import colormaps

    lowest, top = float(hz[1]), float(hz[-1])  # the logarithm of 0 Hz is undefined
    mels = np.linspace(0, 2595 * np.log10(1 + top / 700), 200)
    mel_hz = 700 * (10 ** (mels / 2595) - 1)
    axes.plot(np.linspace(0, 1, 200)[1:], mel_hz[1:], "--", color=INK, lw=1, label="mel scale")
    for number, peaks in enumerate(peaks_hz, start=1):
        active = np.maximum(peaks[np.isfinite(peaks)], lowest)
        shares = (np.arange(len(active)) + 0.5) / max(len(active), 1)
        color = colormaps["plasma"](0.88 * (number - 1) / max(len(peaks_hz) - 1, 1))
        axes.plot(shares, active, color=color, linewidth=1.8, label=f"layer {number}")
    axes.set_yscale("log")
    axes.set(xlim=(0, 1), ylim=(lowest * 0.9, top * 1.05))
    ticks = [tick for tick in TICKS_HZ if lowest <= tick <= top]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xlabel("share of the layer's filters", fontsize=9, color=INK)
    axes.set_ylabel("frequency of the peak, Hz", fontsize=9, color=INK)
    axes.set_title("peaks of the filters of each layer", fontsize=9, color=INK, pad=4)
    axes.grid(color=PALE, linewidth=0.6)
    bare(axes, "bottom", "left")
    axes.minorticks_off()


def _spectra(axes: "Axes", spectra: Floats, hz: Floats) -> "AxesImage":
    # Noise stays dark: what matters is how far a peak stands out of it.
    low, high = np.quantile(spectra, (0.5, 0.999))
    image = axes.imshow(
        spectra.T, origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
        extent=(-0.5, len(spectra) - 0.5, hz[0] / 1000, hz[-1] / 1000), vmin=low,
        vmax=max(high, low + 1e-6),
    )  # fmt: skip
    bare(axes)
    return image
