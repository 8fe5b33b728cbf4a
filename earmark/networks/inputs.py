"""Checks at the networks' door; each refusal names the shape that is needed.

Shapes: B clips or bags, T samples, N frames or rows, M mel bins, P patches, D embedding dims or
values of a row.
"""

from torch import Tensor


def check_waveform(waveform: Tensor, *, n_samples: int) -> None:
    """Refuse what is not (B, T) with exactly so many samples."""
    if waveform.ndim != 2 or waveform.shape[1] != n_samples:
        raise ValueError(f"expected (clips, {n_samples}) samples, got {tuple(waveform.shape)}")


def check_length(waveform: Tensor, *, min_samples: int) -> None:
    """Refuse what is not (B, T) with at least so many samples."""
    if waveform.ndim != 2 or waveform.shape[1] < min_samples:
        raise ValueError(
            f"expected (clips, samples) with at least {min_samples} samples, "
            f"got {tuple(waveform.shape)}"
        )


def check_frames(frames: Tensor, *, min_size: int) -> None:
    """Refuse what is not (B, N, M) with at least so many frames and mel bins."""
    if frames.ndim != 3 or min(frames.shape[1:]) < min_size:
        raise ValueError(
            f"expected (clips, frames, mels) with at least {min_size} frames "
            f"and {min_size} mels, got {tuple(frames.shape)}"
        )


def check_mel_frames(frames: Tensor, *, min_frames: int, n_mels: int) -> None:
    """Refuse what is not (B, N, M) with at least so many frames and exactly so many mel bins."""
    if frames.ndim != 3 or frames.shape[1] < min_frames or frames.shape[2] != n_mels:
        raise ValueError(
            f"expected (clips, at least {min_frames} frames, {n_mels} mels), "
            f"got {tuple(frames.shape)}"
        )


def check_bags(bags: Tensor, *, n_inputs: int) -> None:
    """Refuse what is not (B, P, D) with a patch at least, and D dims."""
    if bags.ndim != 3 or bags.shape[1] < 1 or bags.shape[2] != n_inputs:
        raise ValueError(f"expected (bags, at least 1 patch, {n_inputs}), got {tuple(bags.shape)}")


def check_rows(rows: Tensor, *, n_inputs: int) -> None:
    """Refuse what is not (B, N, D) with a row at least, and D values in each."""
    if rows.ndim != 3 or rows.shape[1] < 1 or rows.shape[2] != n_inputs:
        raise ValueError(f"expected (clips, at least 1 row, {n_inputs}), got {tuple(rows.shape)}")
