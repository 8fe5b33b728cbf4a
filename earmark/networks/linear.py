"""A linear classifier of what a clip is on the whole: logistic regression, as a network.

Shapes: B clips, N rows, D values of a row, P values of a pooled vector, K tags.
"""

import torch
from torch import Tensor

from earmark.networks.base import Network
from earmark.networks.inputs import check_rows
from earmark.networks.layers import Float32Linear, glorot
from earmark.networks.pooling import pooled, pooled_dim


class Linear(Network):
    """Rows pooled over time, standardised, and one linear layer.

    On embeddings of a network that learned other sound this is the usual probe of what it knows
    (Turian et al., "HEAR", 2022). With `pooling: modulation` of a spectrogram it is the baseline
    that a network must beat to be worth its training.

    `mean` and `deviation` of the training clips' pooled vectors are buffers, which the fit sets as
    it sets the layer.
    """

    feature_types = frozenset({"embedding", "logmel", "mfcc", "mn_logmel"})
    reads_whole_clips = True
    is_fitted_at_once = True
    mean: Tensor
    deviation: Tensor

    def __init__(self, n_tags: int, *, n_inputs: int = 128, pooling: str = "mean") -> None:
        super().__init__()
        self.n_inputs, self.pooling = n_inputs, pooling
        self.feature_dim = pooled_dim(n_inputs, pooling)
        self.register_buffer("mean", torch.zeros(self.feature_dim))
        self.register_buffer("deviation", torch.ones(self.feature_dim))
        self.head = glorot(Float32Linear(self.feature_dim, n_tags))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return standardised vectors (B, P) of rows (B, N, D) of any N; rows of NaN are none."""
        check_rows(x, n_inputs=self.n_inputs)
        return (pooled(x, self.pooling) - self.mean) / self.deviation
