"""What training does to a batch before the network sees it: mixup and masks.

Shapes: B clips, N frames, M mel bins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.params import Recipe
from earmark.taggers.input import Input


@dataclass(frozen=True)
class Mix:
    """One draw of mixup: each clip's share of itself, and the clip that the rest comes from."""

    share: float
    partner: NDArray[np.int64]  # (B,)

    def __call__(self, x: Tensor) -> Tensor:
        return self.share * x + (1 - self.share) * x[self.partner]


def draw_mix(size: int, recipe: Recipe, rng: np.random.Generator) -> Mix | None:
    """One lambda ~ Beta(alpha, alpha) a batch, and a permuted copy as partners.

    One a batch is the authors' reference practice (Zhang et al., 2018). `mixup_share` of the
    batches are mixed; alpha 0 is off.
    """
    if recipe.mixup_alpha == 0 or size < 2:
        return None
    if recipe.mixup_share < 1 and rng.random() >= recipe.mixup_share:
        return None
    share = float(rng.beta(recipe.mixup_alpha, recipe.mixup_alpha))
    return Mix(share, rng.permutation(size))


def mixed_input(batch: Any, input_: Input, recipe: Recipe, mix: Mix | None, device: str) -> Any:
    """Segments as stored -> what the network reads, mixed as features or as waveforms."""
    raw = input_.raw(batch, device)
    if mix is not None:
        raw = input_.mix(raw, mix, recipe.mixup_at)
    return input_.standardise(raw)


def masked(x: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Two masks of frames and two of mel bins a clip, at most so wide (SpecAugment, 2019).

    Masked values are 0, the mean of standardised features.
    """
    for axis, widest in ((1, recipe.mask_frames), (2, recipe.mask_bands)):
        size = x.shape[axis]
        if not widest:
            continue
        widths = rng.integers(0, min(widest, size) + 1, size=(len(x), 2))
        starts = (rng.random((len(x), 2)) * (size - widths + 1)).astype(np.int64)
        places = np.arange(size)
        inside = (places >= starts[..., None]) & (places < (starts + widths)[..., None])
        hidden = torch.from_numpy(inside.any(axis=1)).to(x.device)  # (B, N) or (B, M)
        x = x.masked_fill(hidden.unsqueeze(3 - axis), 0.0)
    return x
