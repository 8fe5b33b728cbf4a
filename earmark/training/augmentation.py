"""What training does to the frames of each clip: another tempo, another pitch, other filters.

Shapes: B clips, L rows of a longer segment, S rows of a segment, M mel bins.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from earmark.features.feature_type import AUGMENTATIONS
from earmark.params import Recipe
from earmark.taggers.device import on_device
from earmark.taggers.input import Input

GAIN_POINTS = 6  # of the line that the random equaliser's gains lie on


def applicable(recipe: Recipe, supported: frozenset[str]) -> Recipe:
    """The recipe without the augmentations that the type of feature does not support.

    The shared recipe is for all models; what an entry asks for itself must fit, and is checked.
    """
    return recipe.model_copy(update={k: v for k, v in AUGMENTATIONS.items() if k not in supported})


def rows_to_cut(n_rows: int, recipe: Recipe) -> int:
    """L: how long a segment must be cut, so that S rows are left at the highest tempo."""
    return math.ceil(n_rows * (1 + recipe.time_stretch))


def augmented(
    raw: Any, n_rows: int, input_: Input, recipe: Recipe, rng: np.random.Generator
) -> Any:
    """Change segments as stored (B, L, ..., M), and cut them to (B, S, ..., M).

    No paper has these two as they are here: they stand for the tempo, the pitch and the microphone
    of another recording, drawn anew for each clip of each batch, where SoX makes one variant of
    each effect. docs/recipes.md has what each is worth.
    """
    if recipe.time_stretch or recipe.band_shift:
        raw = _warped(raw, n_rows, recipe, rng)
    if recipe.band_gain_db:
        gains = _gains(len(raw), raw.shape[-1], recipe.band_gain_db, rng, raw.device.type)
        raw = input_.feature_type.amplified(raw, gains.view(len(raw), *[1] * (raw.ndim - 2), -1))
    return raw


def _warped(raw: Tensor, n_rows: int, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Read the rows faster or slower, and the bands from further up or down: (B, S, M).

    Tempos lie between 1 / (1 + s) and 1 + s, on a logarithmic scale; shifts of the bands between
    minus and plus `band_shift`, about an equal change of pitch above 1 kHz, where mel bands are
    equally spaced in octaves. What lies beyond the lowest or highest band is that band again.
    """
    n_clips, n_cut, n_bands = raw.shape
    tempo = (1 + recipe.time_stretch) ** rng.uniform(-1, 1, (n_clips, 1))
    shift = recipe.band_shift * rng.uniform(-1, 1, (n_clips, 1))
    rows = np.arange(n_rows) * tempo  # (B, S), at most L - 1
    bands = np.arange(n_bands) + shift  # (B, M)
    x, y = (  # from -1 to 1
        on_device((2 * places / max(n_all - 1, 1) - 1).astype(np.float32), raw.device.type)
        for places, n_all in ((bands, n_bands), (rows, n_cut))
    )
    size = (n_clips, n_rows, n_bands)
    grid = torch.stack([x[:, None, :].expand(size), y[:, :, None].expand(size)], dim=-1)
    maps = raw.unsqueeze(1)  # (B, 1, L, M)
    return grid_sample(maps, grid, padding_mode="border", align_corners=True).squeeze(1)


def _gains(
    n_clips: int, n_bands: int, most: float, rng: np.random.Generator, device: str
) -> Tensor:
    """Gains (B, M) in dB, on lines through a few random points."""
    points = rng.uniform(-most, most, (n_clips, 1, GAIN_POINTS)).astype(np.float32)
    through = on_device(points, device)
    return interpolate(through, size=n_bands, mode="linear", align_corners=True).squeeze(1)
