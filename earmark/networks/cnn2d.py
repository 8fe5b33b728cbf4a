"""Plain 2-D CNN on log-mel or MFCC frames (Shan and Ren, "Automatic audio tagging with 1D and 2D
convolutional neural networks", 2018, section 2.2.1).

Shapes: B clips, N frames, M mel bins, C channels, K tags.
"""

from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_frames
from earmark.networks.layers import Float32Linear, glorot, he, set_batch_norms

N_STAGES = 5


class CNN2d(Network):
    """Five stages of two 3x3 convolutions, global max pooling, one linear layer.

    The paper compares "CNNs without short-cut connections" and gives none of their layers. This one
    has the kernels, widths, pools and dropout of the package's 2-D ResNet, one block a stage and no
    shortcuts: beside that one and the DenseNet, which pools at the same places, it shows what their
    connections between layers are worth.
    `bn_epsilon` and `bn_momentum` are PyTorch's; the paper's Keras has 0.001 and 0.01.
    Parameters for 41 tags: 4,734,665.
    """

    feature_types = frozenset({"logmel", "mfcc"})
    min_size = 2 ** (N_STAGES - 1)  # every pool halves both axes

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
        layers: list[nn.Module] = []
        channels = 1
        for stage in range(N_STAGES):
            if stage > 0:
                layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
            for _ in range(2):
                out = base_width * 2**stage
                conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
                layers += [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
                channels = out
        self.features = nn.Sequential(*layers)
        self.feature_dim = channels
        self.head = glorot(Float32Linear(channels, n_tags))
        he(self)
        set_batch_norms(self, epsilon=bn_epsilon, momentum=bn_momentum)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the maxima (B, C) of the last map, from frames (B, N, M >= `min_size`)."""
        check_frames(x, min_size=self.min_size)
        maps: Tensor = self.features(x.unsqueeze(1))  # (B, C, N / 16, M / 16)
        return maps.amax((2, 3))  # (B, C)
