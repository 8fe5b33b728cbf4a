"""Multi-level dense network on single segments (Xu, Smit and Kurimo, "The Aalto system", 2018,
section 4.1).

Shapes: B bags, P patches, D embedding dims, K tags.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from earmark.networks.attention import N_LAYERS, dense, tag_layer
from earmark.networks.inputs import check_bags
from earmark.networks.layers import Network


class SegmentDNN(Network):
    """Three dense layers, each classified by a soft-max; one more layer joins the three.

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
        self.levels = nn.ModuleList(tag_layer(n_units, n_tags, False) for _ in range(N_LAYERS))
        self.output = tag_layer(N_LAYERS * n_tags, n_tags, False)

    def forward(self, bags: Tensor) -> Tensor:
        """Tag bags (B, P, D) of any P."""
        check_bags(bags, n_inputs=self.n_inputs)
        x, classes = bags.flatten(0, 1), []  # (B * P, D)
        for layer, level in zip(self.backbone, self.levels, strict=True):
            x = layer(x)
            classes.append(level(x).softmax(1))
        logits = self.output(torch.cat(classes, 1))  # (B * P, K)
        logits = logits.log_softmax(1).unflatten(0, bags.shape[:2])  # (B, P, K)
        return torch.logsumexp(logits, 1) - math.log(bags.shape[1])  # (B, K)
