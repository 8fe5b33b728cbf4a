"""ReSE-2-Multi on waveforms: SampleCNN with residual blocks, squeeze and excitation, and several
levels (Lee, Kim, Park and Nam, "Raw waveform-based audio classification using sample-level CNN
architectures", 2017, Figure 1b and section 2; layers as in the authors' code).

Shapes: B clips, T samples, C channels, D values of all levels, K tags. Time is the last axis of
(B, C, 1, T).
"""

import torch
from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_waveform
from earmark.networks.layers import Conv1d, Float32Linear, glorot, scaled
from earmark.networks.samplecnn import ConvBlock, block_sizes

N_LEVELS = 3


class SqueezeExcitation(nn.Module):
    """Rescale each channel by a number from 0 to 1 that depends on the means of them all."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        squeeze, excite = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.gates = nn.Sequential(glorot(squeeze), nn.ReLU(), glorot(excite), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        gates: Tensor = self.gates(x.mean((2, 3)))  # (B, C)
        return x * gates[:, :, None, None]


class ReSEBlock(nn.Module):
    """Two convolutions, rescaled by channel; the input is added; ReLU and a max pool of `pool`.

    Where the channels change, the input goes through a 1x1 convolution and batch norm.
    """

    def __init__(
        self, channels: int, out: int, pool: int, alpha: float, dropout: float, bn_momentum: float
    ) -> None:
        super().__init__()

        def norm() -> nn.BatchNorm2d:
            return nn.BatchNorm2d(out, eps=1e-5, momentum=bn_momentum)

        conv1, conv2 = (he_uniform(Conv1d(size, out, pool)) for size in (channels, out))
        relu, drop = nn.ReLU(inplace=True), nn.Dropout(dropout)
        self.convs = nn.Sequential(conv1, norm(), relu, drop, conv2, norm())
        self.excitation = SqueezeExcitation(out, scaled(out, alpha))
        self.shortcut: nn.Module = nn.Identity()
        if channels != out:
            conv = nn.Conv2d(channels, out, 1)
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            self.shortcut = nn.Sequential(conv, norm())
        self.pool = nn.MaxPool2d((1, pool))

    def forward(self, x: Tensor) -> Tensor:
        y = self.excitation(self.convs(x)) + self.shortcut(x)
        pooled: Tensor = self.pool(torch.relu_(y))  # (B, C, 1, T / pool)
        return pooled


class ReSE2Multi(Network):
    """conv0 of stride 3, residual blocks with two convolutions, the last three blocks' maxima.

    Lengths, pools and channels are SampleCNN's, and a block's kernels are as long as its pool. The
    maxima over time of the last three blocks, 1,024 values, go through one dense layer to the tags;
    `multi=False` takes the last block's alone. `alpha` is the size of the excitation's hidden layer
    in channels, which the paper does not give: the authors' code has 16 about that year, which
    expands, and 0.125 for their journal paper (2019), which makes the network a sixth as large.
    `bn_momentum` as in SampleCNN.
    Parameters with alpha 16: 59,049 samples and 50 tags 26,980,146; 39,366 and 50 26,586,930;
    19,683 and 17 24,450,065; 16,000 and 31 24,071,199.
    """

    feature_types = frozenset({"waveform"})

    def __init__(
        self,
        n_tags: int,
        *,
        n_samples: int = 39366,
        alpha: float = 16.0,
        multi: bool = True,
        width: float = 1.0,
        block_dropout: float = 0.2,
        dropout: float = 0.5,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.n_samples = n_samples
        sizes = block_sizes(n_samples, width)
        self.conv0 = ConvBlock(1, sizes[0][0], 3, pool=1, stride=3, bn_momentum=bn_momentum)
        self.blocks = nn.ModuleList(
            ReSEBlock(channels, out, pool, alpha, block_dropout, bn_momentum)
            for channels, out, pool in sizes
        )
        self.n_levels = N_LEVELS if multi else 1
        n_values = sum(out for _, out, _ in sizes[-self.n_levels :])
        self.feature_dim = n_values
        self.head = nn.Sequential(
            glorot(nn.Linear(n_values, n_values)),
            nn.BatchNorm1d(n_values, eps=1e-5, momentum=bn_momentum),
            nn.ReLU(),
            nn.Dropout(dropout),
            glorot(Float32Linear(n_values, n_tags)),
        )

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the maxima over time of the last blocks, side by side, (B, D).

        Waveforms are (B, T) of exactly `n_samples`.
        """
        check_waveform(x, n_samples=self.n_samples)
        maps, maxima = self.conv0(x[:, None, None]), []  # (B, C, 1, T / 3)
        for block in self.blocks:
            maps = block(maps)
            maxima.append(maps.amax((2, 3)))
        return torch.cat(maxima[-self.n_levels :], 1)  # (B, D)


def he_uniform(conv: Conv1d) -> Conv1d:
    """Initialise as Keras' He-uniform, with zero biases."""
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
