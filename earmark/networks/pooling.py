"""One vector of a clip from its rows over time, which the networks linear and mlp read.

Shapes: B clips, N rows, NaN after those of the shorter clips, D values of a row, P of a vector.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d

from earmark.networks.layers import check_choice

POOLINGS = ("mean", "mean_max", "statistics", "modulation")
_N_VECTORS = {"mean": 1, "mean_max": 2, "statistics": 5, "modulation": 5}

# Of the modulation spectrum. Bin b of a window is b / 2 Hz at 50 rows a second.
WINDOW_ROWS = 100
MOST_GROUPS = 32  # of columns
_BANDS = ((1, 2), (2, 3), (3, 5), (5, 6), (6, 8), (8, 11), (11, 15), (15, 21), (21, 28), (28, 38),
          (38, 51))  # fmt: skip
_PEAKS = ((4, 15), (15, 30), (30, 51))
_LEAST_POWER = 1e-5  # of a bin, where columns are standardised


def pooled_dim(n_inputs: int, pooling: str) -> int:
    """P, for rows of so many values.

    Raises:
        ValueError: there is no such pooling.
    """
    check_choice("pooling", pooling, POOLINGS)
    n_pooled = _N_VECTORS[pooling] * n_inputs
    if pooling == "modulation":
        n_pooled += (len(_BANDS) + len(_PEAKS)) * min(n_inputs, MOST_GROUPS)
    return n_pooled


def pooled(x: Tensor, pooling: str) -> Tensor:
    """Return vectors (B, P) in float32, of rows (B, N, D) of which each clip has one at least.

    `mean_max`: the mean and the largest value of each column. `statistics`: its mean, deviation,
    smallest and largest value, and the mean step from row to row, which tells a steady sound from a
    restless one. With percentiles beside or instead the log loss of a linear layer was higher, on
    ESC-10's log-mels and MFCCs within the training folds. `modulation`: the statistics, and how
    strongly neighbouring columns rise and fall at which rates; see `modulation_spectrum`.
    """
    x = x.float()
    is_row = ~x[..., 0].isnan()  # (B, N)
    n_rows = is_row.sum(1, keepdim=True)  # (B, 1)
    mean = _total(x) / n_rows  # (B, D)
    if pooling == "mean":
        return mean
    highest = x.nan_to_num(nan=-torch.inf).amax(1)
    if pooling == "mean_max":
        return torch.cat([mean, highest], 1)
    lowest = x.nan_to_num(nan=torch.inf).amin(1)
    deviation = (_total((x - mean[:, None]).square()) / n_rows).sqrt()
    step = _total(x.diff(dim=1).abs()) / (n_rows - 1).clamp(min=1)
    vectors = [mean, deviation, lowest, highest, step]
    if pooling == "modulation":
        vectors.append(modulation_spectrum(x, n_rows.squeeze(1)))
    return torch.cat(vectors, 1)


def modulation_spectrum(x: Tensor, n_rows: Tensor) -> Tensor:
    """Return how regularly, and how fast, rows rise and fall: (B, 14 G), on a log scale.

    A helicopter and rain have much the same spectrum; the beat of the rotor tells them apart. Rows
    of D columns, averaged in G groups of neighbours, are cut into windows that overlap by half, and
    the power spectra of these are averaged. Of each group there is the mean power in 11 bands of
    rates, and in 3 the highest over the mean, which tells a beat from a flutter. A clip that is
    shorter than a window is repeated. docs/recipes.md has what this is worth.

    Args:
        x: rows (B, N, D).
        n_rows: how many of them are a clip's, (B,); the others do not count.
    """
    n_groups = min(x.shape[2], MOST_GROUPS)
    rows = torch.arange(max(x.shape[1], WINDOW_ROWS), device=x.device) % n_rows[:, None]  # (B, N')
    groups = adaptive_avg_pool1d(x, n_groups)  # (B, N, G)
    groups = groups.take_along_dim(rows[..., None], 1)  # (B, N', G), without a row of NaN
    windows = groups.unfold(1, WINDOW_ROWS, WINDOW_ROWS // 2)  # (B, W, G, rows)
    windows = windows - windows.mean(3, keepdim=True)
    taper = torch.hann_window(WINDOW_ROWS, device=x.device)
    power = torch.fft.rfft(windows * taper).abs().square()  # (B, W, G, bins)
    ends = torch.arange(windows.shape[1], device=x.device) * (WINDOW_ROWS // 2) + WINDOW_ROWS
    is_whole = (ends <= n_rows.clamp(min=WINDOW_ROWS)[:, None]).to(power)  # (B, W)
    weights = is_whole / is_whole.sum(1, keepdim=True)
    power = (power * weights[..., None, None]).sum(1) + _LEAST_POWER  # (B, G, bins)
    bands = [power[..., low:high].mean(2) for low, high in _BANDS]
    peaks = [power[..., low:high].amax(2) / power[..., low:high].mean(2) for low, high in _PEAKS]
    return torch.cat([*bands, *peaks], 1).log()


def _total(x: Tensor) -> Tensor:
    return x.nan_to_num(nan=0.0).sum(1)
