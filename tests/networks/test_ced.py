"""CED: its published sizes, its positions, and what it makes of long clips."""

import pytest
import torch
from torch import nn

from earmark.networks import build
from tests.networks.small_networks import built, small


@pytest.mark.parametrize(
    ("size", "n_parameters", "millions"),
    # millions as in Table 1 of the paper, cut rather than rounded
    [
        ("tiny", 5_503_183, 5.5),
        ("mini", 9_696_655, 9.6),
        ("small", 21_622_543, 21.6),
        ("base", 85_711_759, 85.7),
    ],
)
def test_it_has_the_published_parameters(size: str, n_parameters: int, millions: float) -> None:
    with torch.device("meta"):
        network = build("ced", 527, {"size": size})
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == n_parameters
    assert found // 100_000 / 10 == millions
    norms = {key: m.eps for key, m in network.named_modules() if isinstance(m, nn.LayerNorm)}
    assert len(norms) == 2 * 12 + 2
    assert {eps for key, eps in norms.items() if key != "head.0"} == {1e-6}


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be one of tiny, mini, small, base; got 'huge'"):
        built("ced", {"size": "huge"})


def test_the_features_are_the_mean_of_those_over_time() -> None:
    network, _ = small("ced")
    x = torch.randn(2, 100, 64)
    over_time = network.eval().features_over_time(x)
    assert over_time.shape == (2, 6, 192)  # 100 // 16
    torch.testing.assert_close(over_time.mean(dim=1), network.forward_features(x))


def test_tokens_know_their_time_and_their_frequency() -> None:
    network, _ = small("ced")
    network.eval()
    x = torch.randn(1, 64, 64)
    features = network.forward_features(x)
    for axis in (1, 2):  # whole patches change places
        swapped = torch.cat([part.clone() for part in x.split(32, axis)][::-1], axis)
        assert (network.forward_features(swapped) - features).abs().max() > 1e-4
        with torch.no_grad():
            (network.time_pos_embed if axis == 1 else network.freq_pos_embed).zero_()
        features = network.forward_features(x)
        torch.testing.assert_close(network.forward_features(swapped), features)


def test_what_is_longer_than_its_positions_is_read_in_equal_parts() -> None:
    network, _ = small("ced")
    network.eval()
    x = torch.randn(1, 64 * 16, 64)  # one column more than there are positions
    parts = [network.features_over_time(part) for part in x.split(32 * 16, 1)]
    torch.testing.assert_close(network.features_over_time(x), torch.cat(parts, dim=1))
    whole = network.features_over_time(x[:, : 1012 + 11])  # 63 columns and a rest
    assert whole.shape == (1, 63, 192)
    assert (whole[:, :32] - parts[0]).abs().max() > 1e-4  # each token reads all 63


def test_frames_of_other_bands_are_refused() -> None:
    network, _ = small("ced")
    with pytest.raises(ValueError, match=r"expected \(clips, at least 16 frames, 64 mels\)"):
        network(torch.zeros(1, 32, 80))
