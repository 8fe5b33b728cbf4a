"""CNNs on waveforms and on log-mel frames, made for fusion (Lederle and Wilhelm, "Combining
high-level features of raw audio waves and mel-spectrograms for audio tagging", 2018, Figure 2 of
their poster).

Shapes: B clips, T samples, N frames, M mel bins, C channels, D values of the pooled map, K tags.
Time is the last axis of (B, C, 1, T) in one dimension, and the one before the last of
(B, C, N, M) in two.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_waveform
from earmark.networks.layers import Conv1d, Float32Linear, glorot, he, scaled

AUDIO_GROUPS = ((32, 9, 16), (64, 9, 8), (128, 3, 8), (256, 3, 8))  # (channels, kernel, pool)
FUSION_SIZES = (512, 256, 256, 128)  # of the dense layers, from the poster's Figure 2
SPEC_GROUPS = (32, 64, 128, 256, 512, 512)  # channels; kernels are 3x3, pools 2x2


def group(conv1: nn.Conv2d, conv2: nn.Conv2d, pool: tuple[int, int]) -> nn.Sequential:
    """Two convolutions with ReLU, a max pool, and one batch norm: the paper has one a block.

    The pool stands before the second ReLU: the same maxima, and fewer values to rectify.
    """
    relu, norm = nn.ReLU(inplace=True), nn.BatchNorm2d(conv2.out_channels)
    return nn.Sequential(conv1, relu, conv2, nn.MaxPool2d(pool), relu, norm)


def dense_head(n_inputs: int, hidden: int, n_tags: int) -> nn.Sequential:
    """Dense, ReLU, batch norm, and the tags."""
    linear, output = glorot(nn.Linear(n_inputs, hidden)), glorot(Float32Linear(hidden, n_tags))
    return nn.Sequential(linear, nn.ReLU(), nn.BatchNorm1d(hidden), output)


class CNNAudio(Network):
    """cnn-audio: four groups of two 1-D convolutions, 512 units, the tags.

    The paper's poster shows four groups, 512 units, and batch norm once a block and after each
    dense layer. Kernels, channels and pools are ours: pools of 16 and 8 bring 2 s at 44.1 kHz
    down to ten steps, and the channels double as in VGG19, to which the paper likens its networks.
    Parameters for 41 tags: backbone 435,360; head 677,929 for 1 s at 44.1 kHz, 1,333,289 for 2 s,
    2,119,721 for 3 s.
    """

    feature_types = frozenset({"waveform"})
    feature_dim: int

    def __init__(
        self, n_tags: int, *, n_samples: int = 88200, width: float = 1.0, hidden: int = 512
    ) -> None:
        super().__init__()
        n_steps = n_samples
        for _, _, pool in AUDIO_GROUPS:
            n_steps //= pool
        if n_steps < 1:
            raise ValueError(f"n_samples must be at least {16 * 8**3}, got {n_samples}")
        self.n_samples = n_samples
        self.features = nn.Sequential()
        channels = 1
        for size, kernel, pool in AUDIO_GROUPS:
            out = scaled(size, width)
            fold = 2 if channels == 1 else 0
            convs = Conv1d(channels, out, kernel, fold=fold), Conv1d(out, out, kernel)
            self.features.append(group(*convs, (1, pool)))
            channels = out
        self.feature_dim = channels * n_steps
        self.head = dense_head(self.feature_dim, hidden, n_tags)
        he(self.features)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last pooled map (B, D), from waveforms (B, T) of exactly `n_samples`."""
        check_waveform(x, n_samples=self.n_samples)
        maps: Tensor = self.features(x[:, None, None])  # (B, C, 1, T / 8192)
        return maps.flatten(1)  # (B, D)


class CNNSpec(Network):
    """cnn-spec: six groups of two 3x3 convolutions, 512 units, the tags.

    Six groups and 512 units are the poster's; channels, kernels, pools and 128 mel bins are ours,
    after VGG19: six pools leave 2 of 128 mel bins, and 2 of the 173 frames of 2 s.
    Parameters for 41 tags: backbone 9,434,272; head 546,857 for 87 frames (1 s), 1,071,145 for 173
    (2 s), 2,119,721 for 259 (3 s).
    """

    feature_types = frozenset({"logmel", "mfcc"})
    feature_dim: int
    min_size = 2 ** len(SPEC_GROUPS)  # every pool halves both axes

    def __init__(
        self,
        n_tags: int,
        *,
        n_frames: int = 173,
        n_mels: int = 128,
        width: float = 1.0,
        hidden: int = 512,
    ) -> None:
        super().__init__()
        if min(n_frames, n_mels) < self.min_size:
            raise ValueError(
                f"n_frames and n_mels must be at least {self.min_size}, got {n_frames} and {n_mels}"
            )
        self.n_frames, self.n_mels = n_frames, n_mels
        self.features = nn.Sequential()
        channels = 1
        for size in SPEC_GROUPS:
            out = scaled(size, width)
            conv1 = nn.Conv2d(channels, out, 3, padding=1)
            self.features.append(group(conv1, nn.Conv2d(out, out, 3, padding=1), (2, 2)))
            channels = out
        self.feature_dim = channels * (n_frames // self.min_size) * (n_mels // self.min_size)
        self.head = dense_head(self.feature_dim, hidden, n_tags)
        he(self.features)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last pooled map (B, D), from frames (B, N, M) of the network's size."""
        if x.ndim != 3 or x.shape[1:] != (self.n_frames, self.n_mels):
            raise ValueError(
                f"expected (clips, {self.n_frames} frames, {self.n_mels} mels), "
                f"got {tuple(x.shape)}"
            )
        maps: Tensor = self.features(x.unsqueeze(1))  # (B, C, N / 64, M / 64)
        return maps.flatten(1)  # (B, D)


class CNNComb(Network):
    """cnn-comb: dense layers on the last pooled maps of a trained cnn-audio and cnn-spec.

    The backbones are frozen: their parameters are not trained and they stay in evaluation mode, so
    that their batch norm keeps what it learnt. The options are theirs, so that their weights fit
    in as `audio.*` and `spec.*`. Dense layers are 512, 256, 256, 128 and the tags (the poster's
    Figure 2), each but the last with ReLU and batch norm.
    Head parameters for 41 tags: 1,417,769 for 1 s, 2,597,417 for 2 s, 4,432,425 for 3 s.
    """

    feature_types = frozenset({"fusion"})

    def __init__(
        self,
        n_tags: int,
        *,
        n_samples: int = 88200,
        audio_width: float = 1.0,
        n_frames: int = 173,
        n_mels: int = 128,
        spec_width: float = 1.0,
    ) -> None:
        super().__init__()
        self.audio = CNNAudio(1, n_samples=n_samples, width=audio_width, hidden=1)
        self.spec = CNNSpec(1, n_frames=n_frames, n_mels=n_mels, width=spec_width, hidden=1)
        for backbone in (self.audio, self.spec):
            del backbone.head
            backbone.requires_grad_(False)
        self.feature_dim = self.audio.feature_dim + self.spec.feature_dim
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([self.feature_dim, *FUSION_SIZES]):
            layers += [glorot(nn.Linear(n_in, n_out)), nn.ReLU(), nn.BatchNorm1d(n_out)]
        self.head = nn.Sequential(*layers, glorot(Float32Linear(FUSION_SIZES[-1], n_tags)))

    def train(self, mode: bool = True) -> "CNNComb":
        """Set the head's mode; the backbones stay in evaluation mode."""
        super().train(mode)
        self.audio.eval()
        self.spec.eval()
        return self

    def forward_features(self, x: tuple[Tensor, Tensor]) -> Tensor:
        """Return both pooled maps side by side, (B, D).

        Waveforms are (B, T) and frames (B, N, M), of the same segments.
        """
        waveform, frames = x
        with torch.no_grad():
            maps = [self.audio.forward_features(waveform), self.spec.forward_features(frames)]
        return torch.cat(maps, 1)  # (B, D)
