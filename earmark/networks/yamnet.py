"""YAMNet, MobileNet V1 over log-mel patches (Plakal and Ellis, TensorFlow's models repository,
research/audioset/yamnet; Howard et al., "MobileNets", 2017, Table 1).

Shapes: B segments, N frames, M mel bins (64), P patches, C channels, D dims (1024), K tags.
"""

from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_mel_frames
from earmark.networks.layers import Float32Linear, he, scaled

N_MELS = 64
PATCH_FRAMES, PATCH_HOP = 96, 48
BN_EPSILON = 1e-4
STEM = 32
# Stride and channels of each depthwise convolution with the 1 x 1 convolution that follows it.
SEPARABLE = (
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    *((1, 512),) * 5,
    (2, 1024),
    (1, 1024),
)


class YAMNet(Network):
    """A convolution and thirteen separable ones over patches of 0.96 s, and a linear layer.

    The features are the mean over the maps, 1024 values, and over the patches, one each 0.48 s.
    Parameters with AudioSet's 521 classes: 3,740,425; the published network has no scales in its
    batch norms, 10,944 fewer.
    """

    feature_types = frozenset({"yamnet_logmel"})

    def __init__(self, n_tags: int, *, width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(STEM, width)
        layers = [_convolution(1, channels, 3, stride=2)]
        for stride, out in SEPARABLE:
            layers.append(_convolution(channels, channels, 3, stride=stride, groups=channels))
            layers.append(_convolution(channels, scaled(out, width), 1))
            channels = scaled(out, width)
        self.features = nn.Sequential(*layers)
        self.feature_dim = channels
        self.head = Float32Linear(channels, n_tags)
        he(self)

    def stages(self) -> list[list[str]]:
        """Return the names of all parameters in stages; a separable convolution is one."""
        stem, *halves, head = super().stages()
        pairs = zip(halves[::2], halves[1::2], strict=True)
        return [stem, *(depthwise + pointwise for depthwise, pointwise in pairs), head]

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features (B, D) of log-mel frames (B, N, 64), N at least 96."""
        return self.features_over_time(x).mean(dim=1)

    def features_over_time(self, x: Tensor) -> Tensor:
        """Return the features of each patch, (B, P, D), of log-mel frames (B, N, 64)."""
        check_mel_frames(x, min_frames=PATCH_FRAMES, n_mels=N_MELS)
        patches = x.unfold(1, PATCH_FRAMES, PATCH_HOP).transpose(2, 3)  # (B, P, 96, M)
        maps: Tensor = self.features(patches.flatten(0, 1).unsqueeze(1))  # (B * P, D, 3, 2)
        return maps.mean(dim=(2, 3)).reshape(*patches.shape[:2], -1)


def _convolution(
    channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution, batch norm and ReLU, with TensorFlow's "same" padding of sizes that the stride
    divides: with a stride of 2 a single zero, at the end."""
    start, end = (0, 1) if stride == 2 else (kernel // 2, kernel // 2)
    return nn.Sequential(
        nn.ZeroPad2d((start, end, start, end)),
        nn.Conv2d(channels, out, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=BN_EPSILON),
        nn.ReLU(inplace=True),
    )
