"""Losses and mixup.

Shapes: B clips, K tags.
"""

import numpy as np
from torch import Tensor
from torch.nn.functional import log_softmax


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of -sum_k target_k log softmax(logits)_k; targets `(B, K)` are floats."""
    return -(targets * log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def mixup(
    x: Tensor, targets: Tensor, *, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Blend a batch with a permuted copy of itself by one lambda ~ Beta(alpha, alpha).

    One lambda a batch is the authors' reference practice (Zhang et al., 2018); alpha 0 is off.
    """
    if alpha == 0 or len(x) < 2:
        return x, targets
    share = float(rng.beta(alpha, alpha))
    partner = rng.permutation(len(x))
    return share * x + (1 - share) * x[partner], share * targets + (1 - share) * targets[partner]
