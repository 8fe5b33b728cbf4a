"""Multi-level attention over a bag of embeddings (Xu, Smit and Kurimo, "The Aalto system", 2018,
section 3.4; the pooling is Kong et al.'s, "Audio Set classification with attention model", 2018).

Shapes: B bags, P patches, D embedding dims, L levels, U units of a dense layer, K tags.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_bags
from earmark.networks.layers import Float32Linear, check_choice, glorot

N_LAYERS = 3
ACTIVATIONS = ("softmax", "sigmoid")
EPSILON = 1e-7  # no patch's weight is zero, so their sum can be divided by


def squash(x: Tensor, activation: str) -> Tensor:
    """Bring (..., K) into [0, 1], either across the tags or each tag by itself."""
    return torch.softmax(x, -1) if activation == "softmax" else torch.sigmoid(x)


def dense(n_inputs: int, n_units: int, dropout: float) -> nn.Sequential:
    """Dense, batch norm, ReLU, dropout."""
    linear = glorot(nn.Linear(n_inputs, n_units))
    return nn.Sequential(linear, nn.BatchNorm1d(n_units), nn.ReLU(), nn.Dropout(dropout))


def tag_layer(n_inputs: int, n_tags: int, batch_norm: bool) -> nn.Sequential:
    """A float32 dense layer onto the tags, optionally followed by batch norm."""
    layers: list[nn.Module] = [glorot(Float32Linear(n_inputs, n_tags))]
    if batch_norm:
        layers.append(nn.BatchNorm1d(n_tags))
    return nn.Sequential(*layers)


def level_features(layers: nn.ModuleList, bags: Tensor, *, levels: int) -> Tensor:
    """Return what the last dense layers make of every patch of bags (B, P, D), (B, P, L, U)."""
    x, outputs = bags.flatten(0, 1), []  # (B * P, D): batch norm over bags and time
    for layer in layers:
        x = layer(x)
        outputs.append(x)  # (B * P, U)
    features = torch.stack(outputs[-levels:]).view(levels, *bags.shape[:2], -1)  # (L, B, P, U)
    return features.permute(1, 2, 0, 3)  # (B, P, L, U), a view


def by_level(features: Tensor) -> list[Tensor]:
    """Return the features (B, P, L, U) level by level, L times (B * P, U)."""
    return [level.flatten(0, 1) for level in features.unbind(2)]


class AttentionHead(nn.Module):
    """Classify every patch, f, and weigh it per tag, v, at each level; then tag the bag.

    As in the public code v is first squashed patch by patch (a soft-max is across the tags),
    clipped away from zero, and only then divided by its sum over time: it is no soft-max over time.
    The levels' outputs, side by side, go through one more dense layer.
    """

    def __init__(
        self, n_units: int, n_tags: int, *, levels: int, batch_norm: bool, f_act: str, v_act: str
    ) -> None:
        super().__init__()
        self.f_act, self.v_act = f_act, v_act
        self.f = nn.ModuleList(tag_layer(n_units, n_tags, batch_norm) for _ in range(levels))
        self.v = nn.ModuleList(tag_layer(n_units, n_tags, batch_norm) for _ in range(levels))
        self.output = tag_layer(levels * n_tags, n_tags, batch_norm)

    def classify_and_weigh(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return f and the attention p, each (L, B, P, K) in float32; p sums to 1 over P."""
        levels = by_level(features)  # L x (B * P, U)
        shape = len(levels), *features.shape[:2], -1
        f = torch.stack([layer(x) for layer, x in zip(self.f, levels, strict=True)])
        v = torch.stack([layer(x) for layer, x in zip(self.v, levels, strict=True)])
        f = squash(f, self.f_act).view(shape)  # (L, B, P, K)
        v = squash(v, self.v_act).view(shape)  # (L, B, P, K)
        v = v.clamp(EPSILON, 1 - EPSILON)
        return f, v / v.sum(2, keepdim=True)

    def forward(self, features: Tensor) -> Tensor:
        f, p = self.classify_and_weigh(features)
        pooled = (p * f).sum(2)  # (L, B, K)
        logits: Tensor = self.output(pooled.transpose(0, 1).flatten(1))  # (B, K)
        return logits


class MultiLevelAttention(Network):
    """Three dense layers on every patch; each of the last `levels` tags the bag by attention.

    The defaults follow the Aalto report, whose classification layers use soft-max; Yu et al.'s
    (2018) network is input_bn, head_bn, f_act="sigmoid", levels=2.
    What is a soft-max, a sum over time or a logit is float32 under autocast too.
    Parameters for 41 tags: 955,130.
    """

    feature_types = frozenset({"embedding"})
    head: AttentionHead

    def __init__(
        self,
        n_tags: int,
        *,
        n_inputs: int = 128,
        n_units: int = 600,
        levels: int = 3,
        dropout: float = 0.4,
        input_bn: bool = False,
        head_bn: bool = False,
        f_act: str = "softmax",
        v_act: str = "softmax",
    ) -> None:
        super().__init__()
        check_choice("f_act", f_act, ACTIVATIONS)
        check_choice("v_act", v_act, ACTIVATIONS)
        if not 1 <= levels <= N_LAYERS:
            raise ValueError(f"levels must be from 1 to {N_LAYERS}, got {levels}")
        self.n_inputs, self.levels = n_inputs, levels
        self.input_norm = nn.BatchNorm1d(n_inputs) if input_bn else nn.Identity()
        sizes = [n_inputs] + [n_units] * N_LAYERS
        self.backbone = nn.ModuleList(
            dense(n_in, n_out, dropout) for n_in, n_out in pairwise(sizes)
        )
        self.head = AttentionHead(
            n_units, n_tags, levels=levels, batch_norm=head_bn, f_act=f_act, v_act=v_act
        )

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the levels' hidden units (B, P, L, U), from bags (B, P, D) of any P."""
        check_bags(x, n_inputs=self.n_inputs)
        bags = self.input_norm(x.flatten(0, 1)).view(x.shape)  # (B, P, D)
        return level_features(self.backbone, bags, levels=self.levels)

    def attention(self, x: Tensor) -> Tensor:
        """Return each level's weight of each patch for each tag, (L, B, P, K)."""
        return self.head.classify_and_weigh(self.forward_features(x))[1]

    @property
    def attention_levels(self) -> list[str]:
        """The dense layers by number; with fewer levels than layers these are the last ones."""
        return [f"level {number}" for number in range(1, N_LAYERS + 1)][-self.levels :]
