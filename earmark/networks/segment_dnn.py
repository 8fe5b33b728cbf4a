"""Multi-level dense network on single segments (Xu, Smit and Kurimo, "The Aalto system", 2018,
section 4.1).

Shapes: B bags, P patches, D embedding dims, L levels (3), U units of a dense layer, K tags.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from earmark.networks.attention import N_LAYERS, by_level, dense, level_features, tag_layer
from earmark.networks.base import Network
from earmark.networks.inputs import check_bags


class SegmentHead(nn.Module):
    """Classify every patch at each level, then over all levels; average over the patches."""

    def __init__(self, n_units: int, n_tags: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(tag_layer(n_units, n_tags, False) for _ in range(N_LAYERS))
        self.output = tag_layer(N_LAYERS * n_tags, n_tags, False)

    def forward(self, features: Tensor) -> Tensor:
        levels = zip(self.levels, by_level(features), strict=True)
        classes = [layer(x).softmax(1) for layer, x in levels]  # L x (B * P, K)
        logits = self.output(torch.cat(classes, 1))  # (B * P, K)
        logits = logits.log_softmax(1).unflatten(0, features.shape[:2])  # (B, P, K)
        return torch.logsumexp(logits, 1) - math.log(features.shape[1])  # (B, K)


class SegmentDNN(Network):
    """Three dense layers, each classified by a soft-max; one more layer reads the three outputs.

    Every patch of a bag is tagged by itself and the bag's probabilities are the mean of its
    patches', the paper's average over a clip. The logits are the logarithm of that mean, taken
    without leaving the logarithms, so that their soft-max is the mean; a bag of one patch is the
    paper's training unit. Tags that exclude each other only: a sigmoid of them means nothing.
    Parameters for 41 tags: 881,207.
    """

    feature_types = frozenset({"embedding"})

    def __init__(
        self, n_tags: int, *, n_inputs: int = 128, n_units: int = 600, dropout: float = 0.4
    ) -> None:
        super().__init__()
        self.n_inputs = n_inputs
        sizes = [n_inputs] + [n_units] * N_LAYERS
        self.backbone = nn.ModuleList(
            dense(n_in, n_out, dropout) for n_in, n_out in pairwise(sizes)
        )
        self.head = SegmentHead(n_units, n_tags)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the levels' hidden units (B, P, L, U), from bags (B, P, D) of any P."""
        check_bags(x, n_inputs=self.n_inputs)
        return level_features(self.backbone, x, levels=N_LAYERS)
