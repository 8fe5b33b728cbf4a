"""The filters in the first layers of a sample-level CNN (Lee, Kim, Park and Nam, "Raw
waveform-based audio classification using sample-level CNN architectures", 2017, section 4): the
waveform that activates each filter most, found by activation maximisation, and its spectrum.

The paper leaves many details open; those are as in the authors' public code.
Shapes: R starts, C filters of a layer, T samples, F frequency bins.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from earmark.analyses.drawing import keep
from earmark.analyses.filters_figures import layer_figure, overview_figure
from earmark.analyses.trained import Trained
from earmark.errors import UserError
from earmark.networks import Network
from earmark.networks.rese2multi import ReSE2Multi
from earmark.networks.samplecnn import SampleCNN
from earmark.seeding import rng_for
from earmark.taggers.device import Device

N_LAYERS = 6  # the paper's: six strides of 3 bring 729 samples down to one step
N_SAMPLES = 3**N_LAYERS
NOISE = 0.015  # the start: uniform noise from -NOISE to NOISE
N_STEPS, STEP = 18, 1.0
N_SHOWN = 8  # filters whose waveforms are drawn as well

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters of one layer, sorted by the frequency at which their spectrum is highest.

    A filter that no start activates (its activation stays 0) is silent: it has no peak and comes
    last.

    Attributes:
        index: (C,), the filters' numbers in the network.
        waveforms: (C, T), what activates them most, found from the first start.
        spectra: (C, F), log-compressed; the mean over the starts.
        peaks_hz: (C,), ascending; NaN for silent ones.
        activations: (C,), by their waveforms; the mean over the starts.
    """

    index: NDArray[np.int64]
    waveforms: Floats
    spectra: Floats
    peaks_hz: Floats
    activations: Floats


class OwnStatistics(nn.Module):
    """A batch norm that normalises each waveform by its own mean and variance over time.

    The authors do so, too: they run batch norm in training mode on a batch of one waveform. With
    the trained statistics, the waveform that activates a filter of conv0 most repeats itself every
    three samples, its stride, so that all spectra peak at a third of the sample rate. The
    drawback is in layers 5 and 6: with only 9 and 3 steps to normalise over, slow waves suffice.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def layers_of(network: Network) -> list[nn.Sequential]:
    """Return copies of the network from the waveform `(B, 1, 1, T)` up to each of its first layers.

    Layer 1 is conv0 and the others are blocks, each after its last ReLU and before its pooling.

    Raises:
        UserError: the network is neither a SampleCNN nor a ReSE-2-Multi.
    """
    if not isinstance(network, SampleCNN | ReSE2Multi):
        name = type(network).__name__
        raise UserError(f"this model is a {name}; choose one of samplecnn or rese2multi")
    whole = copy.deepcopy(network).eval().requires_grad_(False)
    layers: list[nn.Module] = [whole.conv0, *whole.blocks][:N_LAYERS]
    for layer in layers:
        _replace(layer, nn.BatchNorm2d, OwnStatistics)
    ends = copy.deepcopy(layers)
    for end in ends:
        _replace(end, nn.MaxPool2d, lambda _: nn.Identity())
    return [nn.Sequential(*layers[:i], end) for i, end in enumerate(ends)]


def maximise(layer: nn.Module, waveforms: Tensor) -> tuple[Tensor, Tensor]:
    """Change waveform c of `(C, T)` until it activates filter c most.

    Each step adds the gradient of the activation, divided by its root mean square.

    Args:
        layer: turns (C, 1, 1, T) into (C, C, 1, steps); an activation is its mean over time.
        waveforms: (C, T), the start.

    Returns:
        The waveforms (C, T), and their activations (C,).
    """
    for _ in range(N_STEPS):
        x = waveforms.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(_activations(layer, x).sum(), x)
        size = gradient.square().mean(1, keepdim=True).sqrt() + 1e-9
        waveforms = x.detach() + STEP * gradient / size
    with torch.no_grad():
        return waveforms, _activations(layer, waveforms)


def spectra_of(waveforms: Floats) -> Floats:
    """The spectra `(C, F)` of `(C, T)`: log10(1 + 10 |X|^2) of one Hann window, mean removed."""
    n_samples = waveforms.shape[1]
    window = np.hanning(n_samples + 1)[:-1]  # periodic
    centred = waveforms - waveforms.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred * window)) ** 2
    compressed: Floats = np.log10(1 + 10 * power)
    return compressed


def sort_by_peak(waveforms: Floats, activations: Floats, *, sample_rate: int) -> Filters:
    """Sort the filters of a layer by the frequency of their peak, equal ones by their number.

    Args:
        waveforms: (R, C, T), from R starts. The paper has one; the mean spectrum of several has
            the same peak, and less of the noise that each started from.
        activations: (R, C).
        sample_rate: of the waveforms, in Hz.
    """
    spectra = np.mean([spectra_of(one) for one in waveforms], axis=0)  # (C, F)
    mean_activations = activations.mean(axis=0)
    frequencies = np.fft.rfftfreq(waveforms.shape[2], 1 / sample_rate)
    peaks = np.where(mean_activations > 0, frequencies[spectra.argmax(axis=1)], np.nan)
    order = np.argsort(peaks, kind="stable")  # NaN is last
    sorted_ = (values[order] for values in (waveforms[0], spectra, peaks, mean_activations))
    return Filters(order, *sorted_)


def filters_of(
    layers: Sequence[nn.Module], device: Device, *, sample_rate: int, n_starts: int, seed: int
) -> list[Filters]:
    """The sorted filters of each layer of `layers_of`; each start has its own key of the seed.

    Args:
        layers: as `layers_of` returns them.
        device: to compute on.
        sample_rate: of the waveforms, in Hz.
        n_starts: random starts per filter.
        seed: of the whole pipeline.
    """
    filters = []
    with tqdm(total=len(layers) * n_starts, desc="filters", unit="start", disable=None) as bar:
        for number, layer in enumerate(layers, start=1):
            with torch.no_grad():
                n_filters = layer(torch.zeros(1, 1, 1, N_SAMPLES, device=device.name)).shape[1]
            by_start = []
            for start in range(n_starts):
                rng = rng_for(seed, "filters", number, start)
                noise = rng.uniform(-NOISE, NOISE, (n_filters, N_SAMPLES)).astype(np.float32)
                by_start.append(maximise(layer, torch.from_numpy(noise).to(device.name)))
                bar.update()
            waveforms, activations = (
                torch.stack(parts).cpu().numpy() for parts in zip(*by_start, strict=True)
            )
            filters.append(sort_by_peak(waveforms, activations, sample_rate=sample_rate))
    return filters


def write(trained: Trained, folder: Path, device: Device, *, n_starts: int, seed: int) -> list[str]:
    """Write a figure of each layer, and one of all layers, to `folder`; returns a line per layer.

    Raises:
        UserError: the network is neither a SampleCNN nor a ReSE-2-Multi.
    """
    layers = layers_of(trained.tagger.network)
    sample_rate = trained.tagger.input.options["target_hz"]
    by_layer = filters_of(layers, device, sample_rate=sample_rate, n_starts=n_starts, seed=seed)
    hz = np.fft.rfftfreq(N_SAMPLES, 1 / sample_rate)
    for number, filters in enumerate(by_layer, start=1):
        title = f"{trained.title}: layer {number}"
        _write_layer(folder, f"layer{number}", filters, hz, sample_rate=sample_rate, title=title)
    overview = overview_figure(
        [filters.spectra for filters in by_layer], hz=hz,
        peaks_hz=[filters.peaks_hz for filters in by_layer], title=trained.title,
    )  # fmt: skip
    keep(folder, "overview", overview, numbers=peaks_table(by_layer))
    return [_line(number, filters) for number, filters in enumerate(by_layer, start=1)]


def _write_layer(
    folder: Path, name: str, filters: Filters, hz: Floats, *, sample_rate: int, title: str
) -> None:
    shown = spread(int(np.isfinite(filters.peaks_hz).sum()), N_SHOWN)
    waveforms = filters.waveforms[shown]
    figure = layer_figure(
        filters.spectra, hz=hz, peaks_hz=filters.peaks_hz, index=filters.index, shown=shown,
        waveforms=waveforms, sample_rate=sample_rate, title=title,
    )  # fmt: skip
    seconds = np.arange(N_SAMPLES) / sample_rate
    keep(
        folder, name, figure,
        spectra=_columns("hz", hz, filters.index, filters.spectra),
        waveforms=_columns("second", seconds, filters.index[shown], waveforms),
    )  # fmt: skip


def spread(count: int, n_shown: int) -> NDArray[np.int64]:
    """At most `n_shown` distinct indices, evenly spread over `count`."""
    return np.unique(np.linspace(0, count - 1, min(n_shown, count)).round().astype(np.int64))


def peaks_table(by_layer: Sequence[Filters]) -> pd.DataFrame:
    """One row per filter: its layer, rank, number, peak and activation."""
    parts = [
        pd.DataFrame(
            {
                "layer": number,
                "rank": np.arange(len(filters.index)),
                "filter": filters.index,
                "peak_hz": filters.peaks_hz.round(3),
                "activation": filters.activations,
            }
        )
        for number, filters in enumerate(by_layer, start=1)
    ]
    return pd.concat(parts, ignore_index=True)


def _activations(layer: nn.Module, waveforms: Tensor) -> Tensor:
    """The mean activation of filter c by waveform c, `(C,)`."""
    activations: Tensor = layer(waveforms[:, None, None]).mean((2, 3)).diagonal()
    return activations


def _replace(module: nn.Module, old: type[Any], make: Callable[[Any], nn.Module]) -> None:
    """Replace every child of type `old`, at any depth, by `make(child)`."""
    for name, child in module.named_children():
        if isinstance(child, old):
            setattr(module, name, make(child))
        else:
            _replace(child, old, make)


def _columns(first: str, rows: Floats, index: NDArray[np.int64], values: Floats) -> pd.DataFrame:
    """`values` (C, rows) as one column per filter, in their order, after the column `first`."""
    columns = {f"filter_{i}": row.round(4) for i, row in zip(index.tolist(), values, strict=True)}
    return pd.DataFrame({first: rows.round(6), **columns})


def _line(number: int, filters: Filters) -> str:
    n_filters = len(filters.index)
    peaks_hz = filters.peaks_hz[np.isfinite(filters.peaks_hz)]
    n_silent = n_filters - len(peaks_hz)
    if not len(peaks_hz):
        return f"layer {number}: {n_filters} filters, all silent"
    silent = f", {n_silent} silent" if n_silent else ""
    low, median, high = np.quantile(peaks_hz, (0, 0.5, 1))
    return (
        f"layer {number}: {n_filters} filters{silent}, peaks from {low:.0f} to {high:.0f} Hz, "
        f"median {median:.0f} Hz"
    )
