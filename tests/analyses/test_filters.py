"""The waveform that activates a filter most is result, and filters are sorted by its peak."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import AxesImage
from torch import Tensor, nn
from typer.testing import CliRunner

from earmark.analyses import commands, drawing, filters
from earmark.analyses.filters import Filters, OwnStatistics, layers_of, maximise, sort_by_peak
from earmark.analyses.filters_figures import layer_figure, overview_figure
from earmark.analyses.trained import Trained
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.networks import build
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger

CPU = Device(name="cpu", precision="float32", channels_last=False)
RATE = 16_000
N = filters.N_SAMPLES
SMALL = {"n_samples": 4374, "width": 0.05}


def noise(n_filters: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(-0.015, 0.015, (n_filters, N)).astype(np.float32))


def tuned(frequencies_hz: list[float], taps: int = 121) -> nn.Sequential:
    """Linear filters, each tuned to one frequency, and a ReLU."""
    time = (np.arange(taps) - taps // 2) / RATE
    kernels = [np.hanning(taps) * np.cos(2 * np.pi * hz * time) for hz in frequencies_hz]
    conv = nn.Conv2d(1, len(kernels), (1, taps), bias=False)
    conv.weight.data = torch.tensor(np.array(kernels), dtype=torch.float32)[:, None, None]
    return nn.Sequential(conv.requires_grad_(False), nn.ReLU())


def maximised(layer: nn.Module, n_filters: int, n_starts: int = 1) -> Filters:
    climbed = [maximise(layer, noise(n_filters, seed)) for seed in range(n_starts)]
    waveforms, activations = (torch.stack(parts).numpy() for parts in zip(*climbed, strict=True))
    return sort_by_peak(waveforms, activations, sample_rate=RATE)


def test_a_tuned_linear_filter_is_activated_most_by_its_frequency() -> None:
    tuned_hz = [3000.0, 700.0, 6200.0, 1500.0]
    result = maximised(tuned(tuned_hz), 4)
    assert result.index.tolist() == [1, 3, 0, 2]
    # A Hann kernel of 121 taps is 4 / 121 of the rate wide: its peak is found well within that.
    np.testing.assert_allclose(result.peaks_hz, sorted(tuned_hz), atol=RATE / 121)


def test_maximising_raises_the_activation_of_every_filter() -> None:
    layer = tuned([500.0, 2500.0, 5000.0])
    start = noise(3)
    before = layer(start[:, None, None]).mean((2, 3)).diagonal()
    _, after = maximise(layer, start)
    assert (after > 100 * before).all()


def test_filters_are_sorted_by_peak_and_equal_ones_by_number_and_silent_ones_last() -> None:
    time = np.arange(N) / RATE
    sines = [np.sin(2 * np.pi * bin_ * RATE / N * time) for bin_ in (200, 30, 30, 5)]
    result = sort_by_peak(np.array([sines]), np.array([[1.0, 1, 1, 0]]), sample_rate=RATE)
    assert result.index.tolist() == [1, 2, 0, 3]
    np.testing.assert_allclose(result.peaks_hz, np.array([30, 30, 200, np.nan]) * RATE / N)
    np.testing.assert_array_equal(result.waveforms[0], sines[1])
    assert result.activations.tolist() == [1, 1, 1, 0]


def test_the_spectrum_of_a_sine_is_the_logarithm_of_its_power_and_a_constant_has_none() -> None:
    sine = 2 + 3 * np.cos(2 * np.pi * 100 * np.arange(N) / N)
    spectrum = filters.spectra_of(np.array([sine, np.full(N, 7.0)]))
    assert spectrum.shape == (2, 365)
    # The middle of a Hann window's transform is half as many samples, a real sine has half of them.
    assert spectrum[0, 100] == pytest.approx(np.log10(1 + 10 * (3 * N / 4) ** 2))
    assert spectrum[0].argmax() == 100
    assert np.abs(spectrum[1]).max() < 1e-9


def test_the_mean_spectrum_of_several_starts_has_less_noise() -> None:
    one, eight = (maximised(tuned([2000.0, 4000.0]), 2, n_starts=n) for n in (1, 8))
    away = slice(300, 365)  # where neither filter hears anything but what it began as
    assert eight.spectra[:, away].std() < one.spectra[:, away].std()


@pytest.mark.parametrize("name", ["samplecnn", "rese2multi"])
def test_the_first_six_layers_are_conv0_and_five_blocks_without_their_last_pool(name: str) -> None:
    network = build(name, 3, SMALL)
    waveforms = torch.zeros(2, 1, 1, N)
    shapes = [layer(waveforms).shape for layer in layers_of(network)]
    assert [shape[3] for shape in shapes] == [243, 243, 81, 27, 9, 3]
    assert [shape[1] for shape in shapes] == [6, 6, 6, 13, 13, 13]


def test_a_copied_layer_equals_that_of_the_network_except_for_its_norms() -> None:
    network = build("samplecnn", 3, SMALL).eval()
    x = noise(5)[:, None, None]
    conv, norm, relu = network.conv0  # type: ignore[misc, union-attr]
    y = conv(x)
    own = (y - y.mean(3, keepdim=True)) / (y.var(3, keepdim=True, correction=0) + norm.eps).sqrt()
    expected = relu(own * norm.weight[:, None, None] + norm.bias[:, None, None])
    torch.testing.assert_close(layers_of(network)[0](x), expected, atol=1e-5, rtol=1e-4)
    assert not any(isinstance(module, OwnStatistics) for module in network.modules())
    assert isinstance(norm, nn.BatchNorm2d)


def test_with_trained_statistics_conv0_always_peaks_at_a_third_of_the_sample_rate() -> None:
    torch.manual_seed(0)
    conv0 = build("samplecnn", 3, SMALL).eval().requires_grad_(False).conv0
    assert isinstance(conv0, nn.Module)
    plain = maximised(conv0, 6)
    np.testing.assert_allclose(plain.peaks_hz, RATE / 3, atol=RATE / N)


def test_other_networks_are_refused() -> None:
    with pytest.raises(
        UserError, match="this model is a SoundNet; choose one of samplecnn or rese2multi"
    ):
        layers_of(build("soundnet", 3, {}))


def test_a_refused_command_says_why_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    input_ = Input(
        feature="logmel", type_name="logmel", options={}, sample_rate=44_100, lengths=[64],
        padding="right",
        silence=[0.0], mean=[0.0], std=[1.0],
    )  # fmt: skip
    tagger = Tagger.new("cnn2d", {"base_width": 2}, tags=["a", "b"], input_=input_)
    tagger.save(layout.model("m", "0"), {})
    monkeypatch.setattr(commands, "_start", lambda: (layout, SimpleNamespace(seed=1), CPU))
    done = CliRunner().invoke(commands.app, ["filters", "m"])
    assert isinstance(done.exception, UserError)
    assert "this model is a CNN2d" in str(done.exception)
    assert list((tmp_path / "data" / "analyses").iterdir()) == []


def test_shown_filters_are_spread_from_first_to_last() -> None:
    assert filters.spread(64, 8).tolist() == [0, 9, 18, 27, 36, 45, 54, 63]
    assert filters.spread(3, 8).tolist() == [0, 1, 2]
    assert filters.spread(0, 8).tolist() == []


def test_the_frequency_axis_ends_at_half_the_input_rate() -> None:
    hz = np.fft.rfftfreq(N, 1 / RATE)
    spectra = np.random.default_rng(0).random((5, len(hz)))
    peaks = np.sort(hz[spectra.argmax(1)])
    shown = np.array([0, 4])
    figure = layer_figure(
        spectra, hz=hz, peaks_hz=peaks, index=np.arange(5), shown=shown,
        waveforms=np.zeros((2, N)), sample_rate=RATE, title="a_b $x$",
    )  # fmt: skip
    (image,) = figure.subfigs[0].axes[0].images
    assert isinstance(image, AxesImage)
    np.testing.assert_array_equal(image.get_array(), spectra.T)
    assert image.get_extent() == [-0.5, 4.5, 0, hz[-1] / 1000]
    overview = overview_figure([spectra] * 6, hz=hz, peaks_hz=[peaks] * 6, title="t")
    curves = overview.subfigs[1].axes[0].lines
    assert len(curves) == 1 + 6
    np.testing.assert_array_equal(curves[1].get_ydata(), peaks)


def test_the_folder_holds_a_figure_per_layer_and_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "DPI", 30)  # small pictures are quick
    monkeypatch.setattr(filters, "N_LAYERS", 2)
    monkeypatch.setattr(filters, "N_SHOWN", 2)
    input_ = Input(
        feature="wave16k", type_name="waveform", options={"target_hz": RATE}, sample_rate=44_100,
        lengths=[4374],
        padding="right", silence=[0.0], mean=[0.0], std=[32_768.0],
    )  # fmt: skip
    torch.manual_seed(0)
    tagger = Tagger.new("samplecnn", SMALL, tags=["a", "b"], input_=input_)
    lines = filters.write(Trained("m", "0", tagger, None), tmp_path, CPU, n_starts=1, seed=1)
    assert [line.split(",")[0] for line in lines] == ["layer 1: 6 filters", "layer 2: 6 filters"]
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"layer1.png", "layer2.png", "overview.png"}
    peaks = pd.read_csv(tmp_path / "overview.csv")
    spectra = pd.read_csv(tmp_path / "layer2_spectra.csv")
    assert spectra["hz"].tolist() == pytest.approx(np.fft.rfftfreq(N, 1 / RATE), abs=1e-5)
    of_layer = peaks[peaks["layer"] == 2]
    assert list(spectra.columns[1:]) == [f"filter_{number}" for number in of_layer["filter"]]
    for number, peak_hz in zip(of_layer["filter"], of_layer["peak_hz"], strict=True):
        highest = spectra["hz"][spectra[f"filter_{number}"].argmax()]
        assert highest == pytest.approx(peak_hz, abs=1e-2)
