"""CNN14 of the PANNs (Kong et al., "PANNs: Large-scale pretrained audio neural networks for audio
pattern recognition", IEEE/ACM TASLP 2020, Table I and section II.A).

Shapes: B segments, N frames, M mel bins (64), C channels, D dims (2048), K tags.
"""

from itertools import pairwise

from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_mel_frames
from earmark.networks.layers import Float32Linear, glorot, scaled

N_MELS = 64
CHANNELS = (64, 128, 256, 512, 1024, 2048)
MIN_FRAMES = 1 << (len(CHANNELS) - 1)  # all blocks but the last end in a 2 x 2 mean


class CNN14(Network):
    """Six blocks of two 3 x 3 convolutions, maximum plus mean over time, two dense layers.

    The features are what the first dense layer makes of the whole segment, 2048 values. Since a
    maximum over time comes before it, there are none of single moments. `blocks.N` are the
    published `conv_block{N + 1}`, and `head` is `fc_audioset`.
    Parameters with AudioSet's 527 classes: 80,753,615 (the paper's Table XII).
    """

    feature_types = frozenset({"panns_logmel"})

    def __init__(
        self, n_tags: int, *, width: float = 1.0, block_dropout: float = 0.2, dropout: float = 0.5
    ) -> None:
        super().__init__()
        channels = [1, *(scaled(n, width) for n in CHANNELS)]
        self.feature_dim = channels[-1]
        self.bn0 = nn.BatchNorm1d(N_MELS)
        self.blocks = nn.ModuleList(_Block(*pair) for pair in pairwise(channels))
        self.fc1 = glorot(nn.Linear(self.feature_dim, self.feature_dim))
        self.head = glorot(Float32Linear(self.feature_dim, n_tags))
        self.pool = nn.AvgPool2d(2)
        self.block_dropout, self.dropout = nn.Dropout(block_dropout), nn.Dropout(dropout)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features (B, D) of log-mel frames (B, N, 64), N at least 32."""
        check_mel_frames(x, min_frames=MIN_FRAMES, n_mels=N_MELS)
        maps = self.bn0(x.transpose(1, 2)).transpose(1, 2).unsqueeze(1)  # (B, 1, N, M)
        for block in self.blocks[:-1]:
            maps = self.block_dropout(self.pool(block(maps)))
        maps = self.block_dropout(self.blocks[-1](maps))
        moments = maps.mean(dim=3)  # (B, D, N / 32)
        pooled = moments.amax(dim=2) + moments.mean(dim=2)
        features: Tensor = self.fc1(self.dropout(pooled)).relu()
        return features


class _Block(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        for convolution in (self.conv1, self.conv2):
            nn.init.xavier_uniform_(convolution.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        y: Tensor = self.bn2(self.conv2(x)).relu()
        return y
