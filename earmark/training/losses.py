"""Losses of each clip, for one tag a clip, for several, and for a second task beside them.

Shapes: B clips, K tags, E events of a second task.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return `(B,)`: -sum_k target_k log softmax(logits)_k; targets `(B, K)` are floats."""
    return -(targets * log_softmax(logits.float(), dim=1)).sum(dim=1)


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return `(B,)`: the mean over the tags of each tag's cross-entropy, as in Keras."""
    losses = binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return losses.mean(dim=1)


def clip_losses(
    logits: Tensor, targets: Tensor, *, n_tags: int, activation: str, aux_weight: float
) -> Tensor:
    """Return `(B,)` for logits and targets `(B, K + E)`: tags first, then the second task.

    Chen & Gupta, section 1.3.2, add an auxiliary soft-max over sound events and give no weight.
    """
    tag_loss = soft_cross_entropy if activation == "softmax" else binary_cross_entropy
    losses = tag_loss(logits[:, :n_tags], targets[:, :n_tags])
    if logits.shape[1] > n_tags and aux_weight:
        losses = losses + aux_weight * soft_cross_entropy(logits[:, n_tags:], targets[:, n_tags:])
    return losses


def smoothed(targets: Tensor, *, n_tags: int, activation: str, amount: float) -> Tensor:
    """Take `amount` of the certainty from targets `(B, K + E)`, and share it out evenly.

    Over the classes of a soft-max (Szegedy et al., 2016); of a sigmoid between yes and no.
    """
    if not amount:
        return targets
    even = torch.full_like(targets, 0.5)
    if activation == "softmax":
        even[:, :n_tags] = 1 / n_tags
    if targets.shape[1] > n_tags:
        even[:, n_tags:] = 1 / (targets.shape[1] - n_tags)
    return (1 - amount) * targets + amount * even


def batch_loss(
    losses: Tensor, doubt: Tensor, *, noisy_label_weight: float, drop_share: float
) -> Tensor:
    """The mean of a batch's losses `(B,)`, in which doubtful clips count for less.

    `doubt` is 1 for an unverified clip, 0 for a verified one, and between them for a mixture. Of
    those above 0.5 the share with the highest loss is dropped: a network learns what is right
    before it learns what is wrong (Han et al., "Co-teaching", 2018).
    """
    weights = 1 - (1 - noisy_label_weight) * doubt
    n_dropped = int(drop_share * int((doubt > 0.5).sum()))
    if n_dropped:
        ranked = losses.detach().masked_fill(doubt <= 0.5, -torch.inf)
        weights = weights.index_fill(0, ranked.topk(n_dropped).indices, 0.0)
    return (weights * losses).sum() / (len(losses) - n_dropped)
