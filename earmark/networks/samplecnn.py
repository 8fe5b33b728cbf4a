"""SampleCNN on waveforms (Lee, Kim, Park and Nam, "Raw waveform-based audio classification using
sample-level CNN architectures", 2017, Table 1 and section 2; layers as in the authors' code).

Shapes: B clips, T samples, C channels, K tags. Time is the last axis of (B, C, 1, T): a 1 x k
two-dimensional convolution can run channels_last, a one-dimensional one cannot.
"""

from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_waveform
from earmark.networks.layers import Conv1d, Float32Linear, glorot, scaled

# What conv0's stride and four or more pools (128, 128, 256 and 512 channels) divide exactly.
WHOLE_SIZES = sorted([2 * 3**k for k in range(4, 15)] + [3**k for k in range(5, 16)])
MAX_SURPLUS = 1.25  # how far above such a size a waveform may be


def pool_sizes(n_samples: int) -> list[int]:
    """Return the pool of each block: threes while they fit, then a two if one is needed.

    conv0 strides by 3 and the blocks bring the rest down to exactly one step, the odd size last as
    in the authors' architecture files:

        59,049 = 3 * 3^9       19,683 = 3 * 3^8       6,561 = 3 * 3^7
        39,366 = 3 * 3^8 * 2   16,000 > 3 * 3^7 * 2   4,374 = 3 * 3^6 * 2

    Each pool drops its remainder, as 16,000 does here, so a size far above such a product would
    waste its end and is refused.
    """
    whole = max((size for size in WHOLE_SIZES if size <= n_samples), default=0)
    if n_samples > MAX_SURPLUS * whole:
        near = sorted(WHOLE_SIZES, key=lambda size: abs(size - n_samples))[:2]
        raise ValueError(
            f"n_samples {n_samples} does not reduce to one step by 3s and a last 2: it must be "
            f"3^k or 2 * 3^k, or up to 25 % above; {min(near)} and {max(near)} are the nearest"
        )
    steps, pools = n_samples // 3, []
    while steps > 1:
        pools.append(min(steps, 3))
        steps //= pools[-1]
    return pools


def block_sizes(n_samples: int, width: float) -> list[tuple[int, int, int]]:
    """Return channels in, channels out and pool of each block.

    128 channels after conv0 and in two blocks, 256 in the middle ones and 512 in the last, all
    times `width`.
    """
    pools = pool_sizes(n_samples)
    low, middle, top = (scaled(channels, width) for channels in (128, 256, 512))
    outs = [low, low, *[middle] * (len(pools) - 3), top]
    return list(zip([low, *outs[:-1]], outs, pools, strict=True))


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, ReLU and, unless `pool` is 1, a max pool of stride `pool`."""

    def __init__(
        self, channels: int, out: int, kernel: int, *, pool: int, stride: int, bn_momentum: float
    ) -> None:
        padding = (1, 1) if kernel == 3 and stride == 1 else (0, 0)
        fold = 1 if channels == 1 else 0  # conv0: three samples become three channels
        conv = Conv1d(channels, out, kernel, stride=stride, padding=padding, fold=fold)
        nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        norm = nn.BatchNorm2d(out, eps=1e-5, momentum=bn_momentum)
        layers: list[nn.Module] = [conv, norm]
        if kernel == 2:  # "same" is one zero at the right, as in TensorFlow
            layers.insert(0, nn.ZeroPad2d((0, 1, 0, 0)))
        if pool > 1:  # before the ReLU: the same maxima, and fewer values to rectify
            layers.append(nn.MaxPool2d((1, pool)))
        super().__init__(*layers, nn.ReLU(inplace=True))


class SampleCNN(Network):
    """conv0 of stride 3, blocks that pool by what they convolve with, a 1x1 layer, dropout.

    Channels are 128 for conv0 and two blocks, 256 for the middle blocks and 512 for the last, all
    times `width`. `bn_momentum` is the reference's (Keras' 0.99 is 0.01 here); a run of a few
    hundred updates needs 0.1, or validation reads statistics of the first updates.
    Parameters: 59,049 samples and 50 tags 1,869,874; 39,366 and 50 1,738,802; 19,683 and 17
    1,655,569; 16,000 and 31 1,531,679.
    """

    feature_types = frozenset({"waveform"})

    def __init__(
        self,
        n_tags: int,
        *,
        n_samples: int = 39366,
        width: float = 1.0,
        dropout: float = 0.5,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.n_samples = n_samples
        sizes = block_sizes(n_samples, width)
        low, top = sizes[0][0], sizes[-1][1]
        self.conv0 = ConvBlock(1, low, 3, pool=1, stride=3, bn_momentum=bn_momentum)
        self.blocks = nn.Sequential(
            *(
                ConvBlock(channels, out, pool, pool=pool, stride=1, bn_momentum=bn_momentum)
                for channels, out, pool in sizes
            )
        )
        self.last = ConvBlock(top, top, 1, pool=1, stride=1, bn_momentum=bn_momentum)
        self.feature_dim = top
        self.dropout = nn.Dropout(dropout)
        self.head = glorot(Float32Linear(top, n_tags))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last step (B, C), from waveforms (B, T) of exactly `n_samples`."""
        check_waveform(x, n_samples=self.n_samples)
        maps = self.conv0(x[:, None, None])  # (B, C, 1, T / 3)
        last: Tensor = self.last(self.blocks(maps))  # (B, C, 1, 1)
        return last.flatten(1)  # (B, C)

    def forward_head(self, features: Tensor) -> Tensor:
        """Return the logits (B, K); dropout stands before the last layer."""
        return super().forward_head(self.dropout(features))
