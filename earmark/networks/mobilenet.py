"""MobileNetV3 for audio (Schmid, Koutini and Widmer, "Efficient large-scale audio tagging via
transformer-to-CNN knowledge distillation", ICASSP 2023; Howard et al., "Searching for MobileNetV3",
2019, Table 1). At width 0.4 and 1.0 it is their mn04 and mn10, whose weights know AudioSet.

Shapes: B segments, N frames, M mel bins (128), C channels, D features, K tags.
"""

from typing import NamedTuple

from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_frames
from earmark.networks.layers import Float32Linear

MULTIPLE = 8  # of which all numbers of channels are
# 1e-3 and 0.01 are TensorFlow's, which the published weights were trained with.
BN_EPSILON, BN_MOMENTUM = 1e-3, 0.01


class Block(NamedTuple):
    """An inverted residual block, at width 1: channels in, inside and out, and so on."""

    channels: int
    kernel: int
    expanded: int
    out: int
    is_excited: bool
    activation: type[nn.Module]
    stride: int


BLOCKS = (
    Block(16, 3, 16, 16, False, nn.ReLU, 1),
    Block(16, 3, 64, 24, False, nn.ReLU, 2),
    Block(24, 3, 72, 24, False, nn.ReLU, 1),
    Block(24, 5, 72, 40, True, nn.ReLU, 2),
    Block(40, 5, 120, 40, True, nn.ReLU, 1),
    Block(40, 5, 120, 40, True, nn.ReLU, 1),
    Block(40, 3, 240, 80, False, nn.Hardswish, 2),
    Block(80, 3, 200, 80, False, nn.Hardswish, 1),
    Block(80, 3, 184, 80, False, nn.Hardswish, 1),
    Block(80, 3, 184, 80, False, nn.Hardswish, 1),
    Block(80, 3, 480, 112, True, nn.Hardswish, 1),
    Block(112, 3, 672, 112, True, nn.Hardswish, 1),
    Block(112, 5, 672, 160, True, nn.Hardswish, 2),
    Block(160, 5, 960, 160, True, nn.Hardswish, 1),
    Block(160, 5, 960, 160, True, nn.Hardswish, 1),
)
HIDDEN = 1280


class MobileNet(Network):
    """Fifteen inverted residual blocks over a log-mel of 128 bands, and two dense layers.

    The features are the mean over time and frequency, 384 values at width 0.4. The names below
    `features` are those of the published weights (fschmid56/EfficientAT); their `classifier.2` and
    `classifier.5` are `head.0` and `head.3` here. Any length works.
    Parameters at width 0.4 with AudioSet's 527 classes: 983,599.
    """

    feature_types = frozenset({"mn_logmel"})

    def __init__(self, n_tags: int, *, width: float = 0.4, dropout: float = 0.2) -> None:
        super().__init__()
        stem = rounded(BLOCKS[0].channels * width)
        last = rounded(BLOCKS[-1].out * width)
        self.feature_dim = rounded(6 * last)
        self.features = nn.Sequential(
            _convolution(1, stem, 3, nn.Hardswish, stride=2),
            *(_Inverted(block, width) for block in BLOCKS),
            _convolution(last, self.feature_dim, 1, nn.Hardswish),
        )
        hidden = rounded(HIDDEN * width)
        self.head = nn.Sequential(
            nn.Linear(self.feature_dim, hidden),
            nn.Hardswish(),
            nn.Dropout(dropout),
            Float32Linear(hidden, n_tags),
        )
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features (B, D) of log-mel frames (B, N, M)."""
        return self._maps(x).mean(dim=(2, 3))

    def features_over_time(self, x: Tensor) -> Tensor:
        """Return the mean over frequency alone, (B, N / 32, D), of log-mel frames (B, N, M)."""
        return self._maps(x).mean(dim=2).transpose(1, 2)

    def _maps(self, x: Tensor) -> Tensor:
        check_frames(x, min_size=1)
        maps: Tensor = self.features(x.transpose(1, 2).unsqueeze(1))
        return maps  # (B, D, M / 32, N / 32)


class _Inverted(nn.Module):
    """Expand by a 1 x 1, filter each channel alone, weigh the channels, and project back."""

    def __init__(self, block: Block, width: float) -> None:
        super().__init__()
        channels, expanded, out = (
            rounded(n * width) for n in (block.channels, block.expanded, block.out)
        )
        layers: list[nn.Module] = []
        if expanded != channels:
            layers.append(_convolution(channels, expanded, 1, block.activation))
        layers.append(
            _convolution(
                expanded,
                expanded,
                block.kernel,
                block.activation,
                stride=block.stride,
                groups=expanded,
            )
        )
        if block.is_excited:
            layers.append(_Excitation(expanded))
        layers.append(_convolution(expanded, out, 1, nn.Identity))
        self.block = nn.Sequential(*layers)
        self.is_residual = block.stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.is_residual else y


class _Excitation(nn.Module):
    """Squeeze and excitation over the channels, named as in the published weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([_Gate(channels, rounded(channels / 4))])

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.conc_se_layers[0](x.mean(dim=(2, 3)))  # (B, C)
        return x * gate[:, :, None, None]


class _Gate(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x).relu()).sigmoid()  # type: ignore[no-any-return]


def rounded(channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, but not below 0.9 of it.

    >>> rounded(25.6), rounded(8.4), rounded(3.2)
    (24, 8, 8)
    """
    nearest = max(MULTIPLE, int(channels + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return nearest + MULTIPLE if nearest < 0.9 * channels else nearest


def _convolution(
    channels: int,
    out: int,
    kernel: int,
    activation: type[nn.Module],
    *,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=BN_EPSILON, momentum=BN_MOMENTUM),
        activation(),
    )
