"""2-D DenseNet on log-mel or MFCC frames (Shan and Ren, "Automatic audio tagging with 1D and 2D
convolutional neural networks", 2018, section 2.2.1).

Shapes: B clips, N frames, M mel bins, C channels, K tags.
"""

import torch
from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_frames
from earmark.networks.layers import Float32Linear, check_choice, glorot, set_batch_norms


class DenseUnit(nn.Module):
    """Batch norm, ReLU, 3x3 convolution; its `growth` new channels are appended to its input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv(torch.relu_(self.norm(x)))  # (B, growth, N, M)
        return torch.cat([x, new], dim=1)  # (B, C + growth, N, M)


def transition_layer(transition: str, channels: int, compressed: int) -> nn.Module:
    """Halve time and frequency between two blocks; "conv1" and "conv3" also change the channels."""
    if transition == "pool":
        return nn.AvgPool2d(2)
    norm, relu, pool = nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.AvgPool2d(2)
    if transition == "conv3":
        conv = nn.Conv2d(channels, compressed, 3, padding=1, bias=False)
        return nn.Sequential(norm, relu, conv, pool)
    # A 1x1 convolution and a mean over time and frequency commute: pooling first is 4 x cheaper.
    return nn.Sequential(norm, relu, pool, nn.Conv2d(channels, compressed, 1, bias=False))


class DenseNet(Network):
    """Dense blocks of BN-ReLU-conv3x3 units, global max pooling, one linear layer.

    The paper fixes five blocks of four units, growth 32 and 3x3 kernels everywhere, and is silent
    on the transitions. `transition="pool"` is the literal reading (a 1x1 kernel would break
    "all 3x3", and no convolution is named between the blocks), and it is the cheaper one: on
    ESC-10 it was level with "conv3" within noise at 60 % of the time. "conv1" is the transition of
    Huang et al. (2017); both convolutions keep `theta` of the channels, which "pool" cannot.
    `bn_epsilon` and `bn_momentum` are PyTorch's; the paper's Keras has 0.001 and 0.01.
    Parameters for 41 tags: pool 2,165,289; conv3 with theta 0.5 1,817,869; conv1 with 0.5 993,293.
    """

    feature_types = frozenset({"logmel", "mfcc"})

    def __init__(
        self,
        n_tags: int,
        *,
        n_blocks: int = 5,
        units: int = 4,
        growth: int = 32,
        stem_channels: int = 64,
        transition: str = "pool",
        theta: float = 1.0,
        bn_epsilon: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        check_choice("transition", transition, ("pool", "conv1", "conv3"))
        if transition == "pool" and theta != 1.0:
            raise ValueError(
                f"transition 'pool' keeps every channel: theta must be 1.0, got {theta}"
            )
        self.min_size = 2 ** (n_blocks - 1)  # every transition halves both axes
        self.features, channels = _features(
            n_blocks, units, growth, stem_channels, transition, theta
        )
        self.norm = nn.BatchNorm2d(channels)
        self.feature_dim = channels
        self.head = glorot(Float32Linear(channels, n_tags))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        set_batch_norms(self, epsilon=bn_epsilon, momentum=bn_momentum)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the maxima (B, C) of the last map, from frames (B, N, M >= `min_size`)."""
        check_frames(x, min_size=self.min_size)
        maps = self.features(x.unsqueeze(1))  # (B, C, N / min_size, M / min_size)
        return torch.relu_(self.norm(maps)).amax((2, 3))  # (B, C)


def _features(
    n_blocks: int, units: int, growth: int, channels: int, transition: str, theta: float
) -> tuple[nn.Sequential, int]:
    """Stem, blocks and transitions, and the number of channels that they end in."""
    layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1, bias=False)]
    for block in range(n_blocks):
        if block > 0:
            compressed = int(channels * theta)
            layers.append(transition_layer(transition, channels, compressed))
            channels = compressed
        for _ in range(units):
            layers.append(DenseUnit(channels, growth))
            channels += growth
    return nn.Sequential(*layers), channels
