"""SoundNet's backbone with a new head (Aytar, Vondrick and Torralba, "SoundNet: learning sound
representations from unlabeled video", 2016, eight-layer network; fine-tuned by Shan and Ren,
"Automatic audio tagging with 1D and 2D convolutional neural networks", 2018, section 2.2.2).

Shapes: B clips, T samples, C channels, S steps of the last layer, K tags.
"""

from torch import Tensor, nn

from earmark.networks.base import Network, Published
from earmark.networks.inputs import check_length
from earmark.networks.layers import (
    Conv1d,
    Float32Linear,
    check_choice,
    glorot,
    he,
    scaled,
)

# (channels, kernel, pool) of conv1 to conv7; every stride is 2, and half a kernel of zeros stands
# at either side, so n steps become n // 2 + 1 and, after the pool, that divided by it.
LAYERS = (
    (16, 64, 8),
    (32, 32, 8),
    (64, 16, 1),
    (128, 8, 1),
    (256, 4, 4),
    (512, 4, 1),
    (1024, 4, 1),
)
HEAD_KERNEL = 4
LONG_KERNEL, FOLD = 32, 2  # from which kernel on how many steps are computed at a time: faster


def shortest(steps: int) -> int:
    """Return the length of the shortest waveform with so many steps in the last layer."""
    for _, _, pool in reversed(LAYERS):
        steps = max(1, 2 * (steps * pool - 1))
    return steps


def conv_layer(channels: int, out: int, kernel: int, pool: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU and, unless `pool` is 1, a max pool of stride `pool`."""
    padding = kernel // 2, kernel // 2
    fold = FOLD if kernel >= LONG_KERNEL else 0
    conv = Conv1d(channels, out, kernel, stride=2, padding=padding, fold=fold)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(out)]
    if pool > 1:  # before the ReLU: the same maxima, and fewer values to rectify
        layers.append(nn.MaxPool2d((1, pool)))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


class SoundNet(Network):
    """Seven convolutions of stride 2, then a head that is new.

    The weights are named as in a PyTorch port (smallflyingpig/SoundNet_Pytorch): `conv1.0` is a
    convolution, `conv1.1` its batch norm, and so on to conv7; at width 1 the published values fit
    once their kernels, k x 1 there, are turned to 1 x k. conv8 is left out: it needs ten seconds.

    `head="conv"` is the authors' recipe for fine-tuning, a convolution of kernel 4; 2 s at
    44.1 kHz end in four steps just as their 5 s at 22.05 kHz do, so it has one output, and the
    mean of them for longer waveforms. `head="max"` takes the maximum over time and one linear
    layer, for what is shorter than 78,302 samples.

    The published weights were trained on samples from -256 to 256: `input_scale` brings those in
    [-1, 1] there. They were trained at 22.05 kHz; Shan and Ren give them 44.1 kHz all the same.
    Parameters: backbone 2,874,320; for 41 tags the conv head has 167,977, the max head 42,025.
    """

    feature_types = frozenset({"waveform"})
    published = Published("soundnet", "Shan & Ren, section 2.3", ("conv",))

    def __init__(
        self,
        n_tags: int,
        *,
        head: str = "conv",
        width: float = 1.0,
        input_scale: float = 256.0,
    ) -> None:
        super().__init__()
        check_choice("head", head, ("conv", "max"))
        self.head_kernel = HEAD_KERNEL if head == "conv" else 0
        self.min_samples = shortest(max(1, self.head_kernel))
        self.input_scale = input_scale
        channels = 1
        for number, (out, kernel, pool) in enumerate(LAYERS, start=1):
            layer = conv_layer(channels, scaled(out, width), kernel, pool)
            self.add_module(f"conv{number}", layer)
            channels = scaled(out, width)
        self.head = glorot(Float32Linear(channels * max(1, self.head_kernel), n_tags))
        he(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return conv7's map (B, C, S), from waveforms (B, T >= `min_samples`)."""
        check_length(x, min_samples=self.min_samples)
        maps = self.input_scale * x[:, None, None]  # (B, 1, 1, T)
        for number in range(1, len(LAYERS) + 1):
            maps = self.get_submodule(f"conv{number}")(maps)
        return maps.squeeze(2)  # (B, C, S)

    def forward_head(self, features: Tensor) -> Tensor:
        """Return the logits (B, K) of conv7's map (B, C, S)."""
        if not self.head_kernel:
            return super().forward_head(features.amax(2))
        windows = features.unfold(2, self.head_kernel, 1)  # (B, C, S - 3, 4)
        logits: Tensor = self.head(windows.transpose(1, 2).flatten(2))  # (B, S - 3, K)
        return logits.mean(1)  # (B, K)
