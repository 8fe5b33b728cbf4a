"""What training does to a batch before the network sees it: mixup and masks.

Shapes: B clips, N frames, M mel bins, K tags, A auxiliary labels.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.params import Recipe
from earmark.taggers.input import Input
from earmark.training.batches import Batch


@dataclass
class Mix:
    """One draw of mixup: each clip's share of itself, and the clip that the rest comes from."""

    share: Any  # a float for all clips; or (B,), one for each
    partner: NDArray[np.int64]  # (B,)

    def __call__(self, x: Tensor) -> Tensor:
        share = self.like(x).share
        return share * x + (1 - share) * x[self.partner]  # type: ignore[no-any-return]

    def like(self, x: Tensor) -> "Mix":
        """The same draw, with shares that can be multiplied with x (B, ...)."""
        if isinstance(self.share, float):
            return self
        share = torch.as_tensor(self.share, dtype=x.dtype, device=x.device)
        return Mix(share.view(-1, *[1] * (x.ndim - 1)), self.partner)


class Mixed(NamedTuple):
    """A batch on the device, as the network reads it."""

    x: Any  # (B, ...), or a pair of such tensors
    targets: Tensor  # (B, K + A)
    unverified: Tensor  # (B,)


def mixup(
    batch: Batch, input_: Input, recipe: Recipe, *, device: str, rng: np.random.Generator
) -> Mixed:
    """Move a batch to the device, and mix inputs, targets and flags by one draw (or none)."""
    targets, unverified = (
        torch.from_numpy(array).to(device) for array in (batch.targets, batch.unverified)
    )
    mix = draw_mix(len(targets), recipe, rng)
    x = mixed_input(batch.segments, input_, recipe, mix, device)
    if mix is None:
        return Mixed(x, targets, unverified)
    return Mixed(x, mix(targets), mix(unverified))


def draw_mix(size: int, recipe: Recipe, rng: np.random.Generator) -> Mix | None:
    """Lambda ~ Beta(alpha, alpha), and a permuted copy as partners.

    One lambda per batch is the authors' reference practice (Zhang et al., 2018); `mixup_draw: clip`
    is one for each pair, as their formula and Xu et al.'s equation 1 have it. `mixup_share` of the
    batches or clips are mixed; alpha 0 is off.
    """
    if recipe.mixup_alpha == 0 or size < 2:
        return None
    if recipe.mixup_draw == "clip":
        shares = rng.beta(recipe.mixup_alpha, recipe.mixup_alpha, size)
        if recipe.mixup_share < 1:
            shares[rng.random(size) >= recipe.mixup_share] = 1.0
        return Mix(shares, rng.permutation(size))
    if recipe.mixup_share < 1 and rng.random() >= recipe.mixup_share:
        return None
    share = float(rng.beta(recipe.mixup_alpha, recipe.mixup_alpha))
    return Mix(share, rng.permutation(size))


def mixed_input(segments: Any, input_: Input, recipe: Recipe, mix: Mix | None, device: str) -> Any:
    """Segments as stored -> what the network reads, mixed as features or as waveforms."""
    raw = input_.raw(segments, device)
    if mix is not None:
        raw = input_.mix(raw, mix, recipe.mixup_at)
    return input_.standardise(raw)


def masked(x: Any, recipe: Recipe, rng: np.random.Generator) -> Any:
    """Two masks of frames and two of mel bins per clip, at most so wide (SpecAugment, 2019).

    Masked values are 0, the mean of standardised features. Of a pair the frames are masked.
    """
    if isinstance(x, tuple):
        return x[0], masked(x[1], recipe, rng)
    for axis, max_width in ((1, recipe.mask_frames), (2, recipe.mask_bands)):
        if max_width:
            x = _masked_along(x, axis, max_width, rng)
    return x


def _masked_along(x: Tensor, axis: int, max_width: int, rng: np.random.Generator) -> Tensor:
    size = x.shape[axis]
    widths = rng.integers(0, min(max_width, size) + 1, size=(len(x), 2))
    starts = (rng.random((len(x), 2)) * (size - widths + 1)).astype(np.int64)
    index = np.arange(size)
    is_inside = (index >= starts[..., None]) & (index < (starts + widths)[..., None])
    is_masked = torch.from_numpy(is_inside.any(axis=1)).to(x.device)  # (B, N) or (B, M)
    return x.masked_fill(is_masked.unsqueeze(3 - axis), 0.0)
