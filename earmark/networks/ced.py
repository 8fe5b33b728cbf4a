"""CED, a vision transformer over log-mel patches (Dinkel et al., "CED: Consistent ensemble
distillation for audio tagging", ICASSP 2024; blocks of Dosovitskiy et al., "An image is worth 16x16
words", 2021).

Shapes: B segments, N frames, M mel bins (64), F patches of one time (4), S columns of patches in
time (N / 16), P tokens (F * S), H heads, D dims, K tags.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from earmark.networks.base import Network
from earmark.networks.inputs import check_mel_frames
from earmark.networks.layers import Float32Linear, check_choice

N_MELS = 64
PATCH = 16
SIZES = {"tiny": 192, "mini": 256, "small": 384, "base": 768}  # dims
DEPTH = 12
HEAD_DIM = 64
MAX_COLUMNS = 1012 // PATCH  # whose positions were learned: 10.12 s


class CED(Network):
    """Twelve transformer blocks over patches of 16 frames and 16 bands, and a linear layer.

    The features are the mean of all tokens. Positions in time and in frequency are learned apart
    and added, so any length up to 10.12 s works; what is longer is read in equal parts, each from
    position 0. (The published code fills a last, shorter part with zeros.) The names are those of
    the published weights without `encoder.`; their `outputlayer` is `head` here.
    Parameters with AudioSet's 527 classes: 5,503,183 (tiny), 9,696,655, 21,622,543
    and 85,711,759 (base).
    """

    feature_types = frozenset({"ced_logmel"})

    def __init__(self, n_tags: int, *, size: str = "tiny", depth: int = DEPTH) -> None:
        super().__init__()
        check_choice("size", size, tuple(SIZES))
        dims = SIZES[size]
        self.feature_dim = dims
        self.init_bn = nn.BatchNorm1d(N_MELS, momentum=0.01)
        convolution = nn.Conv2d(1, dims, PATCH, PATCH)
        self.patch_embed = nn.Sequential(OrderedDict(proj=convolution))
        self.time_pos_embed = nn.Parameter(0.02 * torch.randn(1, dims, 1, MAX_COLUMNS))
        self.freq_pos_embed = nn.Parameter(0.02 * torch.randn(1, dims, N_MELS // PATCH, 1))
        self.blocks = nn.Sequential(*(_Block(dims) for _ in range(depth)))
        self.norm = nn.LayerNorm(dims, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(dims), Float32Linear(dims, n_tags))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features (B, D) of log-mel frames (B, N, 64), N at least 16."""
        return self.features_over_time(x).mean(dim=1)

    def features_over_time(self, x: Tensor) -> Tensor:
        """Return the mean of the tokens of each time, (B, S, D), of log-mel frames (B, N, 64)."""
        check_mel_frames(x, min_frames=PATCH, n_mels=N_MELS)
        normalised = self.init_bn(x.transpose(1, 2))  # (B, M, N)
        maps = self.patch_embed(normalised.unsqueeze(1))  # (B, D, F, S)
        n_parts = -(-maps.shape[3] // MAX_COLUMNS)
        return torch.cat([self._encoded(part) for part in maps.tensor_split(n_parts, dim=3)], dim=1)

    def _encoded(self, maps: Tensor) -> Tensor:
        placed = maps + self.time_pos_embed[..., : maps.shape[3]] + self.freq_pos_embed
        tokens = placed.flatten(2).transpose(1, 2)  # (B, P, D)
        encoded: Tensor = self.norm(self.blocks(tokens)).transpose(1, 2)  # (B, D, P)
        return encoded.reshape(maps.shape).mean(dim=2).transpose(1, 2)  # (B, S, D)


class _Block(nn.Module):
    def __init__(self, dims: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dims, eps=1e-6), nn.LayerNorm(dims, eps=1e-6)
        self.attn = _Attention(dims)
        layers = OrderedDict(
            fc1=nn.Linear(dims, 4 * dims), act=nn.GELU(), fc2=nn.Linear(4 * dims, dims)
        )
        self.mlp = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class _Attention(nn.Module):
    def __init__(self, dims: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(dims, 3 * dims), nn.Linear(dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).reshape(*x.shape[:2], 3, -1, HEAD_DIM)  # (B, P, 3, H, 64)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # (B, H, P, 64) each
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return y
