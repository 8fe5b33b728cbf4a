"""VGGish against TensorFlow's layouts."""

import pytest
import torch
from torch import Tensor, nn

from earmark.networks import Network
from tests.networks.small_networks import SMALL, built, small


def test_vggish_flattens_time_frequency_channel_as_tensorflow_does() -> None:
    network, _ = small("vggish")
    network.double()
    for parameter in network.parameters():  # also the biases, which start at zero
        nn.init.normal_(parameter, std=0.2)
    patch = torch.randn(96, 64, dtype=torch.float64)
    torch.testing.assert_close(
        network.forward_features(patch[None])[0], tensorflow_vggish(network, patch)
    )


def tensorflow_vggish(network: Network, patch: Tensor) -> Tensor:
    """Compute one embedding in TensorFlow's layouts: maps (T, F, C), kernels (T, F, in, out)."""
    state = network.state_dict()
    x = patch[:, :, None]
    for index in (0, 3, 6, 8, 11, 13):
        kernel = state[f"features.{index}.weight"].permute(2, 3, 1, 0)
        padded = nn.functional.pad(x, (0, 0, 1, 1, 1, 1))
        n_frames, n_mels = x.shape[:2]
        x = state[f"features.{index}.bias"] + sum(
            padded[i : i + n_frames, j : j + n_mels] @ kernel[i, j]
            for i in range(3)
            for j in range(3)
        )
        x = x.relu()
        if index not in (6, 11):
            x = x.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).amax((1, 3))
    x = x.reshape(-1)  # (T, F, C) row by row
    for index in (0, 2, 4):
        x = (x @ state[f"embeddings.{index}.weight"].T + state[f"embeddings.{index}.bias"]).relu()
    return x


def test_vggish_without_its_last_relu_differs_only_below_zero() -> None:
    networks = []
    for activation in ("relu", "none"):
        torch.manual_seed(0)
        options = SMALL["vggish"][0] | {"embedding_activation": activation}
        networks.append(built("vggish", options).eval())
    relu, none = networks
    patches = torch.randn(3, 96, 64)
    embeddings = none.forward_features(patches)
    assert embeddings.min() < 0
    torch.testing.assert_close(relu.forward_features(patches), embeddings.relu())
    torch.testing.assert_close(relu(patches), none(patches))


@pytest.mark.parametrize("init", ["he", "vggish"])
def test_vggish_initialisation_has_its_spread(init: str) -> None:
    torch.manual_seed(0)
    network = built("vggish", {"width": 0.25, "init": init})
    weight = network.embeddings[0].weight.detach()
    if init == "vggish":
        assert weight.abs().max() <= 0.02
        assert weight.std() == pytest.approx(0.0088, rel=0.01)  # of 0.01 cut at two deviations
    else:
        assert weight.std() == pytest.approx((2 / weight.shape[1]) ** 0.5, rel=0.01)
