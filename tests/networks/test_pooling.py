"""What a clip is on the whole, against numpy, whatever stands beside it in a batch."""

import numpy as np
import pytest
import torch

from earmark.networks.pooling import POOLINGS, modulation_spectrum, pooled, pooled_dim
from tests.networks.small_networks import small


def test_statistics_are_those_of_numpy_column_by_column() -> None:
    x = torch.randn(2, 7, 3)
    rows = x[1].numpy()
    steps = np.abs(np.diff(rows, axis=0)).mean(axis=0)
    expected = [rows.mean(axis=0), rows.std(axis=0), rows.min(axis=0), rows.max(axis=0), steps]
    found = pooled(x, "statistics")[1].numpy()
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pooled(x, "mean")[1].numpy(), expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        pooled(x, "mean_max")[1].numpy(), np.concatenate([expected[0], expected[3]]), rtol=1e-5
    )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_rows_of_nan_after_a_shorter_clip_are_none(pooling: str) -> None:
    clips = [torch.randn(n, 3) for n in (270, 1, 230, 30)]
    batch = torch.full((4, 270, 3), torch.nan)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    together = pooled(batch, pooling)
    assert together.shape == (4, pooled_dim(3, pooling))
    for found, clip in zip(together, clips, strict=True):
        torch.testing.assert_close(found, pooled(clip[None], pooling)[0])
    assert together.isfinite().all(), "one row has a deviation and a step of 0"


def test_modulation_is_statistics_and_the_modulation_spectrum() -> None:
    x = torch.randn(2, 130, 40)
    expected = torch.cat(
        [pooled(x, "statistics")[1], modulation_spectrum(x, torch.tensor([90, 130]))[1]]
    )
    torch.testing.assert_close(pooled(x, "modulation")[1], expected)


def test_a_beat_is_found_at_its_rate_in_its_columns_and_told_from_a_flutter() -> None:
    torch.manual_seed(0)
    time = torch.arange(250.0)
    x = 0.1 * torch.randn(250, 64)
    x[:, 20:22] += torch.sin(2 * np.pi * 0.12 * time)[:, None]  # 6 Hz at 50 rows a second
    x[:, 40:42] += torch.randn(250, 1)
    spectrum = modulation_spectrum(x[None], torch.tensor([250])).view(
        14, 32
    )  # bands and peaks of pairs of columns
    bands, peaks = spectrum[:11], spectrum[11:]
    assert bands[:, 10].argmax() == 6, "bin 12 of 0.5 Hz each lies from 11 to 15"
    assert bands[6].argmax() == 10
    assert peaks[0, 10] > peaks[0].median() + 0.5
    assert peaks[0, 20] < peaks[0, 10] - 0.3, "a flutter is as strong, without a rate"
    later = modulation_spectrum(x[None, 7:], torch.tensor([243])).view(14, 32)
    torch.testing.assert_close(later[6, 10], bands[6, 10], atol=0.1, rtol=0)


def test_the_power_of_a_sine_is_that_of_its_window() -> None:
    time = torch.arange(300.0)
    x = torch.sin(2 * np.pi * 0.2 * time)[:, None].repeat(1, 4)  # bin 20 of 100
    window = torch.hann_window(100)
    power = torch.fft.rfft(window * torch.sin(2 * np.pi * 0.2 * time[:100])).abs() ** 2
    spectrum = modulation_spectrum(x[None], torch.tensor([300])).view(14, 4)
    torch.testing.assert_close(spectrum[7], power[15:21].mean().log().repeat(4), atol=1e-3, rtol=0)


def test_an_unknown_pooling_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="mean, mean_max, statistics, modulation; got 'median'"):
        small("linear", pooling="median")


def test_a_linear_networks_logits_are_of_the_standardised_vector() -> None:
    network, shape = small("linear")
    network.mean.normal_()
    network.deviation.uniform_(1, 2)
    x = torch.randn(4, *shape)
    vectors = (pooled(x, "statistics") - network.mean) / network.deviation
    torch.testing.assert_close(network(x), vectors @ network.head.weight.T + network.head.bias)
    assert set(network.state_dict()) == {"mean", "deviation", "head.weight", "head.bias"}


def test_an_mlp_is_trained_on_clips_of_any_length() -> None:
    network, _ = small("mlp", pooling="statistics")
    x = torch.randn(4, 6, 20)
    x[1, 2:] = torch.nan
    network(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
