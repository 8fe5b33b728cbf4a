"""What a clip is on the whole, against numpy, whatever stands beside it in a batch."""

import numpy as np
import pytest
import torch

from earmark.networks.pooling import POOLINGS, pooled, pooled_dim
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
    clips = [torch.randn(n, 3) for n in (5, 1, 3)]
    batch = torch.full((3, 5, 3), torch.nan)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    together = pooled(batch, pooling)
    assert together.shape == (3, pooled_dim(3, pooling))
    for found, clip in zip(together, clips, strict=True):
        torch.testing.assert_close(found, pooled(clip[None], pooling)[0])
    assert together.isfinite().all(), "one row has a deviation and a step of 0"


def test_an_unknown_pooling_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="mean, mean_max, statistics; got 'median'"):
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
