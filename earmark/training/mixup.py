"""What training does to a batch before the network sees it: augmentation, mixup and masks.

Shapes: B clips, N frames, M mel bins, K tags, A auxiliary labels.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from earmark.params import Recipe
from earmark.taggers.device import on_device
from earmark.taggers.input import Input
from earmark.training.augmentation import augmented
from earmark.training.batches import Batch


@dataclass
class Mix:
    """One draw of mixup: each clip's share of itself, and the clip that the rest comes from."""

    share: Any  # a float for all clips; or (B,), one for each
    rest: Any  # the partner's share, likewise
    partner: Any  # (B,): numbers of clips

    def on(self, device: str) -> "Mix":
        """The same draw, for tensors of a device."""
        share, rest, partner = (
            value if isinstance(value, float) else on_device(value, device)
            for value in (self.share, self.rest, self.partner)
        )
        return Mix(share, rest, partner)

    def __call__(self, x: Tensor) -> Tensor:
        mix = self.like(x)
        return mix.share * x + mix.rest * x[self.partner]  # type: ignore[no-any-return]

    def like(self, x: Tensor) -> "Mix":
        """The same draw, with shares that can be multiplied with x (B, ...)."""
        if isinstance(self.share, float):
            return self
        share, rest = (
            torch.as_tensor(shares, dtype=x.dtype, device=x.device).view(-1, *[1] * (x.ndim - 1))
            for shares in (self.share, self.rest)
        )
        return Mix(share, rest, self.partner)

    def at_equal_loudness(self, amplitudes: Tensor) -> "Mix":
        """The same draw for sounds of these amplitudes (B,), as if all were equally loud.

        A quiet clip would else be inaudible beside a loud one whose tag counts no more. The shares'
        squares sum to 1, so that a mixture is as loud as a clip (Tokozume et al., "Learning from
        between-class examples for deep sound recognition", 2018, equations 2 and 3).
        """
        share, rest = (
            torch.full_like(amplitudes, shares)  # which no GPU is waited for
            if isinstance(shares, float)
            else torch.as_tensor(shares, dtype=torch.float32, device=amplitudes.device)
            for shares in (self.share, self.rest)
        )
        share, rest = share / amplitudes, rest / amplitudes[self.partner]
        length = torch.hypot(share, rest)
        return Mix(share / length, rest / length, self.partner)


class Mixed(NamedTuple):
    """A batch on the device, as the network reads it."""

    x: Any  # (B, ...), or a pair of such tensors
    targets: Tensor  # (B, K + A)
    unverified: Tensor  # (B,)
    weights: Tensor  # (B,)


def mixup(
    batch: Batch, input_: Input, recipe: Recipe, *, device: str, rng: np.random.Generator
) -> Mixed:
    """Move a batch to the device, augment it, and mix inputs, targets and flags by one draw."""
    targets, unverified, weights = (
        on_device(array, device) for array in (batch.targets, batch.unverified, batch.weights)
    )
    mix = draw_mix(len(targets), recipe, rng)
    raw = augmented(input_.raw(batch.segments, device), batch.n_rows, input_, recipe, rng)
    if mix is not None:
        mix = mix.on(device)
        raw = input_.mix(raw, mix, recipe.mixup_at)
        targets, unverified = mix(targets), mix(unverified)
        # Of equal weights the mixture has the same to the last bit.
        weights = weights + mix.like(weights).rest * (weights[mix.partner] - weights)
    return Mixed(input_.standardise(raw), targets, unverified, weights)


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
        return Mix(shares, 1 - shares, rng.permutation(size))
    if recipe.mixup_share < 1 and rng.random() >= recipe.mixup_share:
        return None
    share = float(rng.beta(recipe.mixup_alpha, recipe.mixup_alpha))
    return Mix(share, 1 - share, rng.permutation(size))


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
    is_masked = on_device(np.asarray(is_inside.any(axis=1)), x.device.type)  # (B, N) or (B, M)
    return x.masked_fill(is_masked.unsqueeze(3 - axis), 0.0)
