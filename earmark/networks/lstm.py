"""LSTM over a bag of embeddings (Xu, Smit and Kurimo, "The Aalto system", 2018, section 4.2).

Shapes: B bags, P patches, D embedding dims, H units, K tags.
"""

import torch
from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_bags
from earmark.networks.layers import Float32Linear, glorot


class LSTM(Network):
    """One layer of 600 units; its last step is tagged.

    The paper reads clips of any length. The bags of a batch are as long as the longest, with NaN
    after the patches of the others; each is tagged at its own last patch. Two bags that mixup mixes
    become one of the shorter one's length. The paper names no dropout, and has none here.
    Parameters for 41 tags: 1,776,641, of which 2,400 are the second bias that PyTorch has.
    """

    feature_types = frozenset({"embedding"})
    reads_whole_clips = True

    def __init__(self, n_tags: int, *, n_inputs: int = 128, n_units: int = 600) -> None:
        super().__init__()
        self.n_inputs = n_inputs
        self.feature_dim = n_units
        self.lstm = nn.LSTM(n_inputs, n_units, batch_first=True)
        self.head = glorot(Float32Linear(n_units, n_tags))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last step (B, H), from bags (B, P, D) of any P; patches of NaN are none."""
        check_bags(x, n_inputs=self.n_inputs)
        is_patch = ~x[..., 0].isnan()  # (B, P)
        steps: Tensor = self.lstm(x.masked_fill(~is_patch[..., None], 0.0))[0]  # (B, P, H)
        last = is_patch.sum(1) - 1  # (B,)
        return steps[torch.arange(len(x), device=x.device), last]  # (B, H)
