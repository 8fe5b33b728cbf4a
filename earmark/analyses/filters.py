"""What the first layers of a sample-level CNN listen to: each filter's favourite waveform, found by
activation maximisation, and its spectrum (Lee, Kim, Park and Nam, "Raw waveform-based audio
classification using sample-level CNN architectures", 2017, section 4).

The paper leaves much open; what it does not say is as in the authors' public code.
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
N_SHOWN = 8  # filters whose waveforms are drawn, too

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters of one layer, sorted by the frequency at which their spectrum is highest.

    A filter that no start could wake (its activation stays 0) is silent: it has no peak and stands
    at the end.

    Attributes:
        index: (C,), the filters' numbers in the network.
        waveforms: (C, T), what excites them, climbed to from the first start.
        spectra: (C, F), log-compressed; the mean over the starts.
        peaks_hz: (C,), rising; NaN for silent ones.
        activations: (C,), what the waveforms bring about; the mean over the starts.
    """

    index: NDArray[np.int64]
    waveforms: Floats
    spectra: Floats
    peaks_hz: Floats
    activations: Floats


class OwnStatistics(nn.Module):
    """A batch norm that normalises every waveform by its own mean and variance over time.

    So do the authors, who run batch norm as in training on a batch of one waveform. With the
    trained statistics instead, the waveform that excites a filter of conv0 most repeats itself
    every three samples, its stride: all spectra then peak at a third of the sample rate.
    The price is paid in layers 5 and 6: with 9 and 3 steps to normalise over, slow waves suffice.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def layers_of(network: Network) -> list[nn.Sequential]:
    """Return copies of the network from the waveform `(B, 1, 1, T)` up to each of its first layers.

    Layer 1 is conv0 and the others are blocks, read after their last ReLU and before their pool.

    Raises:
        UserError: the network is no SampleCNN or ReSE-2-Multi.
    """
    if not isinstance(network, SampleCNN | ReSE2Multi):
        found = type(network).__name__
        raise UserError(f"filters are drawn of samplecnn and rese2multi; this model is a {found}")
    whole = copy.deepcopy(network).eval().requires_grad_(False)
    layers: list[nn.Module] = [whole.conv0, *whole.blocks][:N_LAYERS]
    for layer in layers:
        _replace(layer, nn.BatchNorm2d, OwnStatistics)
    ends = copy.deepcopy(layers)
    for end in ends:
        _replace(end, nn.MaxPool2d, lambda _: nn.Identity())
    return [nn.Sequential(*layers[:i], end) for i, end in enumerate(ends)]


def maximise(layer: nn.Module, waveforms: Tensor) -> tuple[Tensor, Tensor]:
    """Climb from waveform c of `(C, T)` to what excites filter c most; also its activation, `(C,)`.

    The activation is the mean over time of `layer`, which turns (C, 1, 1, T) into (C, C, 1, steps).
    A step adds the gradient divided by its root mean square.
    """
    for _ in range(N_STEPS):
        climbing = waveforms.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(_activations(layer, climbing).sum(), climbing)
        size = gradient.square().mean(1, keepdim=True).sqrt() + 1e-9
        waveforms = climbing.detach() + STEP * gradient / size
    with torch.no_grad():
        return waveforms, _activations(layer, waveforms)


def spectra_of(waveforms: Floats) -> Floats:
    """Spectra `(C, F)` of `(C, T)`: log10(1 + 10 |X|^2) of one Hann frame without its mean."""
    n_samples = waveforms.shape[1]
    window = np.hanning(n_samples + 1)[:-1]  # periodic
    centred = waveforms - waveforms.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred * window)) ** 2
    compressed: Floats = np.log10(1 + 10 * power)
    return compressed


def sort_by_peak(waveforms: Floats, activations: Floats, *, sample_rate: int) -> Filters:
    """Sort a layer's filters by the frequency of their peak, the lower number first if equal.

    Args:
        waveforms: (R, C, T), from R starts. The paper takes one; the mean spectrum of several has
            the same peak and less of the noise that each began as.
        activations: (R, C).
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
    """The sorted filters of each of `layers_of` a network; every start is drawn by its own key."""
    found = []
    with tqdm(total=len(layers) * n_starts, desc="filters", unit="start", disable=None) as bar:
        for number, layer in enumerate(layers, start=1):
            with torch.no_grad():
                n_filters = layer(torch.zeros(1, 1, 1, N_SAMPLES, device=device.name)).shape[1]
            climbed = []
            for start in range(n_starts):
                rng = rng_for(seed, "filters", number, start)
                noise = rng.uniform(-NOISE, NOISE, (n_filters, N_SAMPLES)).astype(np.float32)
                climbed.append(maximise(layer, torch.from_numpy(noise).to(device.name)))
                bar.update()
            waveforms, activations = (
                torch.stack(parts).cpu().numpy() for parts in zip(*climbed, strict=True)
            )
            found.append(sort_by_peak(waveforms, activations, sample_rate=sample_rate))
    return found


def write(trained: Trained, folder: Path, device: Device, *, n_starts: int, seed: int) -> list[str]:
    """Draw every layer, and all of them side by side, into `folder`; returns a line a layer."""
    layers = layers_of(trained.tagger.network)
    sample_rate = trained.tagger.input.options["target_hz"]
    every = filters_of(layers, device, sample_rate=sample_rate, n_starts=n_starts, seed=seed)
    hz = np.fft.rfftfreq(N_SAMPLES, 1 / sample_rate)
    lines = []
    for number, found in enumerate(every, start=1):
        title = f"{trained.title}: layer {number}"
        shown = spread(int(np.isfinite(found.peaks_hz).sum()), N_SHOWN)
        figure = layer_figure(
            found.spectra, hz=hz, peaks_hz=found.peaks_hz, index=found.index, shown=shown,
            waveforms=found.waveforms[shown], sample_rate=sample_rate, title=title,
        )  # fmt: skip
        keep(
            folder, f"layer{number}", figure,
            spectra=_columns("hz", hz, found.index, found.spectra),
            waveforms=_columns("second", np.arange(N_SAMPLES) / sample_rate, found.index[shown],
                               found.waveforms[shown]),
        )  # fmt: skip
        lines.append(_line(number, found))
    overview = overview_figure(
        [found.spectra for found in every], hz=hz, peaks_hz=[found.peaks_hz for found in every],
        title=trained.title,
    )  # fmt: skip
    keep(folder, "overview", overview, numbers=peaks_table(every))
    return lines


def spread(count: int, n_shown: int) -> NDArray[np.int64]:
    """At most `n_shown` of `count` places, evenly spread over them, none twice."""
    return np.unique(np.linspace(0, count - 1, min(n_shown, count)).round().astype(np.int64))


def peaks_table(every: Sequence[Filters]) -> pd.DataFrame:
    """One row a filter: its layer, rank, number, peak and activation."""
    parts = [
        pd.DataFrame(
            {
                "layer": number,
                "rank": np.arange(len(found.index)),
                "filter": found.index,
                "peak_hz": found.peaks_hz.round(3),
                "activation": found.activations,
            }
        )
        for number, found in enumerate(every, start=1)
    ]
    return pd.concat(parts, ignore_index=True)


def _activations(layer: nn.Module, waveforms: Tensor) -> Tensor:
    """Filter c's mean activation by waveform c, `(C,)`."""
    activations: Tensor = layer(waveforms[:, None, None]).mean((2, 3)).diagonal()
    return activations


def _replace(module: nn.Module, kind: type[Any], make: Callable[[Any], nn.Module]) -> None:
    """Put `make(child)` in the place of every child, however deep, that is of a kind."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, make(child))
        else:
            _replace(child, kind, make)


def _columns(first: str, rows: Floats, index: NDArray[np.int64], values: Floats) -> pd.DataFrame:
    """`values` (C, rows) as one column a filter, in their order, after the column `first`."""
    columns = {f"filter_{i}": row.round(4) for i, row in zip(index.tolist(), values, strict=True)}
    return pd.DataFrame({first: rows.round(6), **columns})


def _line(number: int, found: Filters) -> str:
    awake = found.peaks_hz[np.isfinite(found.peaks_hz)]
    n_silent = len(found.index) - len(awake)
    silent = f", {n_silent} silent" if n_silent else ""
    if not len(awake):
        return f"layer {number}: {len(found.index)} filters, all silent"
    low, middle, high = np.quantile(awake, (0, 0.5, 1))
    return (
        f"layer {number}: {len(found.index)} filters{silent}, peaks from {low:.0f} to {high:.0f} "
        f"Hz, half of them under {middle:.0f} Hz"
    )
