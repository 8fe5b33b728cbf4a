"""VGGish, tagging one log-mel patch (Hershey et al., "CNN architectures for large-scale audio
classification", 2017; Xu, Smit and Kurimo, "The Aalto system", 2018, section 2 and Table 1).

Shapes: B patches, N frames (96), M mel bins (64), C channels, D embedding dims, K tags.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from earmark.networks.base import Network, Published
from earmark.networks.layers import Float32Linear, check_choice, glorot, scaled

N_FRAMES, N_MELS = 96, 64
STAGES = ((64,), (128,), (256, 256), (512, 512))  # channels; each stage ends in a 2x2 max pool


def convolutions(
    stages: Sequence[Sequence[int]], width: float, *, channels: int = 1, batch_norm: bool = False
) -> nn.Sequential:
    """3x3 convolutions with ReLU, and a pool after each stage.

    For STAGES they are numbered as in torchvggish: weights at 0, 3, 6, 8, 11, 13.
    """
    layers: list[nn.Module] = []
    for stage in stages:
        for out in stage:
            layers.append(nn.Conv2d(channels, scaled(out, width), 3, padding=1))
            channels = scaled(out, width)
            layers += [nn.BatchNorm2d(channels)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class VGGish(Network):
    """Six convolutions and three dense layers to an embedding, then `hidden` units and the tags.

    The names of the backbone's weights, `features.*` and `embeddings.*`, and the order in which it
    flattens are those of the published PyTorch port (harritaylor/torchvggish), so at width 1 its
    file loads unchanged with `load_state_dict(..., strict=False)`; the head is new.

    `embedding_activation="relu"` ends the embedding in a ReLU, as the code of 2017 to 2020 does;
    "none" leaves it out, as later code does, and the head then starts with it.

    `init="vggish"` is the original's truncated normal of 0.01. It suits the published weights and
    millions of patches: each layer shrinks what it passes on, and the logits of different patches
    then differ by 2e-6 at width 1 and 5e-10 at width 1/8. On eight noisy patterns neither left the
    loss of chance in 60 and 200 updates; "he", the default, which keeps the scale from layer to
    layer, had learnt them by then.
    Parameters: backbone 72,141,184; with 100 hidden units and 41 tags 72,158,225.
    """

    feature_types = frozenset({"patches"})
    published = Published("vggish", "Xu et al., section 2.2", ("features.", "embeddings."))

    def __init__(
        self,
        n_tags: int,
        *,
        width: float = 1.0,
        fc: int = 4096,
        embedding_dim: int = 128,
        embedding_activation: str = "relu",
        hidden: int = 100,
        init: str = "he",
    ) -> None:
        super().__init__()
        check_choice("embedding_activation", embedding_activation, ("relu", "none"))
        check_choice("init", init, ("he", "vggish"))
        self.feature_dim = embedding_dim
        self.features = convolutions(STAGES, width)
        flat = scaled(STAGES[-1][-1], width) * (N_FRAMES // 16) * (N_MELS // 16)
        sizes = [flat, scaled(fc, width), scaled(fc, width), embedding_dim]
        dense = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
        self.embeddings = nn.Sequential(*dense[: None if embedding_activation == "relu" else -1])
        self.head = nn.Sequential(
            glorot(Float32Linear(embedding_dim, hidden)),
            nn.ReLU(),
            glorot(Float32Linear(hidden, n_tags)),
        )
        for module in (*self.features, *self.embeddings):
            _initialise(module, init)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the embeddings (B, D) of patches (B, 96, 64)."""
        if x.ndim != 3 or x.shape[1:] != (N_FRAMES, N_MELS):
            raise ValueError(
                f"expected (patches, {N_FRAMES} frames, {N_MELS} mels), got {tuple(x.shape)}"
            )
        maps = self.features(x.unsqueeze(1))  # (B, C, 6, 4)
        # The published weights expect channels last: (time, frequency, channel).
        flat = maps.permute(0, 2, 3, 1).flatten(1)  # (B, 6 * 4 * C)
        embeddings: Tensor = self.embeddings(flat)  # (B, D)
        return embeddings

    def forward_head(self, features: Tensor) -> Tensor:
        """Return the logits (B, K) of embeddings (B, D), which go through a ReLU first."""
        return super().forward_head(torch.relu(features))


def _initialise(module: nn.Module, init: str) -> None:
    """Draw a backbone layer's weights and set its bias to zero."""
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return
    if init == "he":
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    else:  # TensorFlow truncates at two standard deviations
        nn.init.trunc_normal_(module.weight, std=0.01, a=-0.02, b=0.02)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
