"""Losses of each clip, for one tag per clip, for several, and for an auxiliary task.

Shapes: B clips, K tags, A auxiliary labels.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from earmark.params import Recipe


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
    """Return `(B,)` for logits and targets `(B, K + A)`: tags first, then the auxiliary task.

    Computed in float32, whatever the logits are. Chen & Gupta, section 1.3, add an auxiliary
    soft-max over sound events and give no weight.
    """
    tag_loss = soft_cross_entropy if activation == "softmax" else binary_cross_entropy
    losses = tag_loss(logits[:, :n_tags], targets[:, :n_tags])
    if logits.shape[1] > n_tags and aux_weight:
        losses = losses + aux_weight * soft_cross_entropy(logits[:, n_tags:], targets[:, n_tags:])
    return losses


def smoothed(targets: Tensor, *, n_tags: int, activation: str, amount: float) -> Tensor:
    """Take `amount` of the certainty from targets `(B, K + A)`, and share it out evenly.

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
    losses: Tensor, unverified: Tensor, recipe: Recipe, *, clip_weights: Tensor | float = 1.0
) -> Tensor:
    """The mean of a batch's losses `(B,)`, in which unverified clips count for less.

    `unverified` is 1 where nobody verified the label, else 0, and between them for a mixture. Of
    those above 0.5 the share `noisy_label_drop` with the highest loss is dropped: a network learns
    what is right before it learns what is wrong (Han et al., "Co-teaching", 2018). `clip_weights`
    `(B,)` are further factors, those of rounds of self-verification.
    """
    weights = (1 - (1 - recipe.noisy_label_weight) * unverified) * clip_weights
    n_dropped = 0
    if recipe.noisy_label_drop:  # to count them, a GPU is waited for
        n_dropped = int(recipe.noisy_label_drop * int((unverified > 0.5).sum()))
    if n_dropped:
        ranked = losses.detach().masked_fill(unverified <= 0.5, -torch.inf)
        weights = weights.index_fill(0, ranked.topk(n_dropped).indices, 0.0)
    return (weights * losses).sum() / (len(losses) - n_dropped)
