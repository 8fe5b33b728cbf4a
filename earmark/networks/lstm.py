"""LSTM over a bag of embeddings (Xu, Smit and Kurimo, "The Aalto system", 2018, section 4.2).

Shapes: B bags, P patches, D embedding dims, H units, K tags.
"""

from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_bags
from earmark.networks.layers import Float32Linear, glorot


class LSTM(Network):
    """One layer of 600 units; its last step is tagged.

    Every patch of a bag is real, since short clips are repeated and not padded, so no step need
    be skipped. The paper names no dropout, and has none here.
    Parameters for 41 tags: 1,776,641, of which 2,400 are the second bias that PyTorch has.
    """

    feature_types = frozenset({"embedding"})

    def __init__(self, n_tags: int, *, n_inputs: int = 128, n_units: int = 600) -> None:
        super().__init__()
        self.n_inputs = n_inputs
        self.feature_dim = n_units
        self.lstm = nn.LSTM(n_inputs, n_units, batch_first=True)
        self.head = glorot(Float32Linear(n_units, n_tags))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last step (B, H), from bags (B, P, D) of any P."""
        check_bags(x, n_inputs=self.n_inputs)
        steps: Tensor = self.lstm(x)[0]  # (B, P, H)
        return steps[:, -1]  # (B, H)
