"""1-D ResNet on waveforms and its 2-D counterpart on log-mel or MFCC frames (Shan and Ren,
"Automatic audio tagging with 1D and 2D convolutional neural networks", 2018, section 2.2).

Shapes: B clips, T samples, N frames, M mel bins, C channels, K tags. Time is the last axis of
(B, C, 1, T) in one dimension, and the one before the last of (B, C, N, M) in two.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_frames, check_length
from earmark.networks.layers import Conv1d, Float32Linear, glorot, he, set_batch_norms

N_BLOCKS = 10
LONG_KERNEL, FOLD = 32, 4  # of the first block's two convolutions, and the steps at a time


def laid_out_as(y: Tensor, x: Tensor) -> Tensor:
    """Lay x out channels last if y is.

    A 1x1 kernel on one channel looks the same in both layouts, so that PyTorch falls back to the
    default one, and what follows would have to work on two layouts at once.
    """
    is_channels_last = y.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last) if is_channels_last else x


class ResidualBlock(nn.Module):
    """conv, BN, ReLU, conv, BN; the input is added and all goes through a ReLU.

    Where the convolutions change the channels or the length, so do a 1x1 convolution and a batch
    norm with the input.
    """

    def __init__(self, conv1: nn.Conv2d, conv2: nn.Conv2d) -> None:
        super().__init__()
        channels, out = conv1.in_channels, conv2.out_channels
        self.conv1, self.norm1 = conv1, nn.BatchNorm2d(out)
        self.conv2, self.norm2 = conv2, nn.BatchNorm2d(out)
        self.shortcut: nn.Conv2d | None = None
        if channels != out or max(conv1.stride) > 1:
            stride = conv1.stride[0], conv1.stride[1]
            self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.shortcut is not None:
            x = self.shortcut_norm(laid_out_as(y, self.shortcut(x)))
        return torch.relu_(y.add_(x))


class ResNet1d(Network):
    """Ten residual blocks in five stages, global max pooling over time, one linear layer.

    The paper has max pooling "between every two residual blocks", which halves time, and doubles
    the channels then. Read as "after every second block" that makes ResNet's usual five stages of
    two blocks, from 32 to 512 channels. `blocks_per_stage=1` is the other reading, a pool between
    any two neighbours: nine doublings, which leave the first blocks with `base_width` 2 or 4 if
    the last are to have 1,024 or 2,048 channels. The paper gives neither widths nor the order in
    a block; that is He et al.'s (2016), without biases.

    A step before the global maximum sees 322 samples, 7 ms at 44.1 kHz: all structure that is
    longer is left to the maximum. `stem_stride` shortens every map, 88,200 steps by 32 channels at
    first, and widens what a step sees.
    `bn_epsilon` and `bn_momentum` are PyTorch's; the paper's Keras has 0.001 and 0.01.
    Parameters for 41 tags: base width 32 3,900,681; 16 983,193; 64 15,538,665.
    """

    feature_types = frozenset({"waveform"})

    def __init__(
        self,
        n_tags: int,
        *,
        base_width: int = 32,
        blocks_per_stage: int = 2,
        stem_stride: int = 1,
        dropout: float = 0.1,
        bn_epsilon: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if N_BLOCKS % blocks_per_stage:
            raise ValueError(f"blocks_per_stage must divide {N_BLOCKS}, got {blocks_per_stage}")
        n_pools = N_BLOCKS // blocks_per_stage - 1
        self.min_samples = (2**n_pools - 1) * stem_stride + 1

        def block(index: int, channels: int, out: int) -> ResidualBlock:
            kernel, stride = (LONG_KERNEL, stem_stride) if index == 0 else (3, 1)
            fold = FOLD if index == 0 else 0
            conv1 = Conv1d(channels, out, kernel, stride=stride, bias=False, fold=fold)
            return ResidualBlock(conv1, Conv1d(out, out, kernel, bias=False, fold=fold))

        self.features = _stages(block, (1, 2), base_width, blocks_per_stage, dropout)
        self.feature_dim = base_width * 2**n_pools
        self.head = glorot(Float32Linear(self.feature_dim, n_tags))
        he(self)
        set_batch_norms(self, epsilon=bn_epsilon, momentum=bn_momentum)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the maxima over time (B, C), from waveforms (B, T >= `min_samples`)."""
        check_length(x, min_samples=self.min_samples)
        maps: Tensor = self.features(x[:, None, None])  # (B, C, 1, T / (stem_stride * 16))
        return maps.amax((2, 3))  # (B, C)


class ResNet2d(Network):
    """ResNet1d with 3x3 kernels, on frames.

    The paper compares a 2-D ResNet and gives none of its layers. This one keeps what is known of
    the 1-D network but for its first kernels; every pool halves time and frequency, at the places
    of the DenseNet's transitions.
    `bn_epsilon` and `bn_momentum` are PyTorch's; the paper's Keras has 0.001 and 0.01.
    Parameters for 41 tags: 11,200,041.
    """

    feature_types = frozenset({"logmel", "mfcc"})
    min_size = 16  # four pools halve both axes

    def __init__(
        self,
        n_tags: int,
        *,
        base_width: int = 32,
        dropout: float = 0.1,
        bn_epsilon: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()

        def block(_index: int, channels: int, out: int) -> ResidualBlock:
            conv1 = nn.Conv2d(channels, out, 3, padding=1, bias=False)
            return ResidualBlock(conv1, nn.Conv2d(out, out, 3, padding=1, bias=False))

        self.features = _stages(block, (2, 2), base_width, 2, dropout)
        self.feature_dim = base_width * 16
        self.head = glorot(Float32Linear(self.feature_dim, n_tags))
        he(self)
        set_batch_norms(self, epsilon=bn_epsilon, momentum=bn_momentum)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the maxima (B, C) of the last map, from frames (B, N, M >= `min_size`)."""
        check_frames(x, min_size=self.min_size)
        maps: Tensor = self.features(x.unsqueeze(1))  # (B, C, N / 16, M / 16)
        return maps.amax((2, 3))  # (B, C)


def _stages(
    block: Callable[[int, int, int], ResidualBlock],
    pool: tuple[int, int],
    width: int,
    blocks_per_stage: int,
    dropout: float,
) -> nn.Sequential:
    """The blocks, with a max pool, dropout and twice the channels after every stage but the last.

    `block` makes one from its index, its channels and those that it gives.
    """
    layers: list[nn.Module] = []
    channels = 1
    for index in range(N_BLOCKS):
        stage, index_in_stage = divmod(index, blocks_per_stage)
        if stage > 0 and index_in_stage == 0:
            layers += [nn.MaxPool2d(pool), nn.Dropout(dropout)]
        out = width * 2**stage
        layers.append(block(index, channels, out))
        channels = out
    return nn.Sequential(*layers)
