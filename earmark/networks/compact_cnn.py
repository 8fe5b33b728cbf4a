"""A small CNN on log-mel frames for corpora of a few hundred clips: earmark's own, of no paper.

Shapes: B clips, N frames, M mel bins, C channels, K tags.
"""

from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_frames
from earmark.networks.layers import Float32Linear, glorot, he

STEM_KERNEL = 5
WIDTHS = (1, 2, 4, 8)  # of the stages, as multiples of base_width


class CompactCNN(Network):
    """Four stages of two convolutions, half as large from one to the next.

    The stem halves both axes at once, which spares three quarters of the work. The last map is
    averaged over the frequencies; over time its mean and its maximum are added, so that a lasting
    sound counts as well as a short one.
    Parameters for 10 tags: 296,938. docs/recipes.md has what it was compared with.
    """

    feature_types = frozenset({"logmel", "mfcc"})
    min_size = 2 ** len(WIDTHS)  # the stem and three pools halve both axes

    def __init__(self, n_tags: int, *, base_width: int = 16, dropout: float = 0.2) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for stage, width in enumerate(base_width * times for times in WIDTHS):
            if stage == 0:
                first = nn.Conv2d(1, width, STEM_KERNEL, 2, STEM_KERNEL // 2, bias=False)
            else:
                layers.append(nn.AvgPool2d(2))
                first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            for conv in (first, nn.Conv2d(width, width, 3, padding=1, bias=False)):
                layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.feature_dim = channels
        self.head = glorot(Float32Linear(channels, n_tags))
        he(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return what the last map (B, C) holds, of frames (B, N, M >= `min_size`)."""
        check_frames(x, min_size=self.min_size)
        maps: Tensor = self.features(x.unsqueeze(1))  # (B, C, N / 16, M / 16)
        over_time = maps.float().mean(3)  # (B, C, N / 16)
        return self.dropout(over_time.mean(2) + over_time.amax(2))  # type: ignore[no-any-return]
