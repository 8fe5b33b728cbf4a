"""One hidden layer on what a clip is on the whole.

Shapes: B clips, N rows, D values of a row, P values of a pooled vector, U units, K tags.
"""

from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_rows
from earmark.networks.layers import Float32Linear, glorot
from earmark.networks.pooling import pooled, pooled_dim


class MLP(Network):
    """Rows pooled over time, standardised by batch norm, a hidden layer, and the tags.

    For embeddings whose classes no plane divides, or mixup and label noise that `linear` does not
    know; it is trained by epochs.
    """

    feature_types = frozenset({"embedding", "logmel", "mfcc", "mn_logmel"})
    reads_whole_clips = True

    def __init__(
        self,
        n_tags: int,
        *,
        n_inputs: int = 128,
        pooling: str = "mean",
        n_units: int = 256,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.n_inputs, self.pooling = n_inputs, pooling
        self.feature_dim = n_units
        n_pooled = pooled_dim(n_inputs, pooling)
        self.input_norm = nn.BatchNorm1d(n_pooled, affine=False)
        self.hidden = nn.Sequential(
            glorot(nn.Linear(n_pooled, n_units)), nn.ReLU(), nn.Dropout(dropout)
        )
        self.head = glorot(Float32Linear(n_units, n_tags))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return hidden units (B, U), from rows (B, N, D) of any N; rows of NaN are none."""
        check_rows(x, n_inputs=self.n_inputs)
        hidden: Tensor = self.hidden(self.input_norm(pooled(x, self.pooling)))  # (B, U)
        return hidden
