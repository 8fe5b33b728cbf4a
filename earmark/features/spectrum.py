"""Spectra of a waveform by cache-sized chunks, and their product with a bank of mel filters.

Shapes: T samples, W window, N frames, n frames of one chunk, F bins, M mel bins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.sound.samples import Float32, Int16, Resampler, as_float
from earmark.spool import blocks_of

# Features of longer waveforms are made of so many samples at a time.
BLOCK_SAMPLES = 1 << 22

# Chunks whose buffers stay in the second-level cache; a whole clip at once is half as fast. Another
# number adds the last frames of a clip up in another order.
CHUNK_FRAMES = 128
_WINDOWED_FRAMES = 64  # of a chunk, at a time; changes no bit
# Whole vector registers: a product 16 columns wide is twice as fast as one 20 wide.
_BLOCK_MELS = 16


@dataclass(frozen=True, eq=False)
class MelBank:
    """A mel bank cut into blocks of neighbouring filters, each with the only bins that it reads.

    Filters are narrow, so four fifths of the (F, M) matrix are zeros that a plain product reads.
    """

    n_mels: int
    blocks: tuple[tuple[slice, slice, torch.Tensor], ...]  # bins, mels, weights

    @classmethod
    def of(cls, weights: NDArray[np.float64] | Float32) -> "MelBank":
        """Cut the weights (F, M)."""
        whole = torch.from_numpy(np.asarray(weights, np.float32))
        blocks = []
        for first in range(0, whole.shape[1], _BLOCK_MELS):
            mels = slice(first, min(first + _BLOCK_MELS, whole.shape[1]))
            used = torch.nonzero(whole[:, mels].any(dim=1))
            bins = slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0, 0)
            blocks.append((bins, mels, whole[bins, mels].contiguous()))
        return cls(whole.shape[1], tuple(blocks))

    def apply(self, spectra: torch.Tensor, out: torch.Tensor) -> None:
        """Write spectra (n, F) times the bank into `out` (n, M)."""
        for bins, mels, weights in self.blocks:
            torch.mm(spectra[:, bins], weights, out=out[:, mels])


def spectra_in_chunks(
    waveform: torch.Tensor, *, window: torch.Tensor, n_fft: int, hop_length: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the frames of each chunk and their spectra, complex64 (n, F), F = n_fft / 2 + 1.

    Frames begin at sample 0 and an incomplete last one is dropped; windows shorter than n_fft are
    followed by zeros. The spectra are overwritten by the next chunk, and may be by the caller.

    Args:
        waveform: float32 (T,), T at least that of the window.
        window: float32 (W,), W at most n_fft.
    """
    frames = waveform.unfold(0, len(window), hop_length)  # (N, W), a view
    windowed = torch.zeros(_WINDOWED_FRAMES, n_fft)
    spectra = torch.empty(CHUNK_FRAMES, n_fft // 2 + 1, dtype=torch.complex64)
    for first in range(0, len(frames), CHUNK_FRAMES):
        chunk = frames[first : first + CHUNK_FRAMES]
        for start in range(0, len(chunk), _WINDOWED_FRAMES):
            part = chunk[start : start + _WINDOWED_FRAMES]
            n = len(part)
            torch.mul(part, window, out=windowed[:n, : len(window)])
            torch.fft.rfft(windowed[:n], out=spectra[start : start + n])
        yield slice(first, first + len(chunk)), spectra[: len(chunk)]


def centred_mel(
    waveform: Float32, *, window: torch.Tensor, n_fft: int, hop_length: int, bank: MelBank
) -> torch.Tensor:
    """Mel bands of the power of frames that are centred on every hop, (N, M), N = 1 + T // hop.

    The waveform (T,) is reflected at both ends. A window shorter than n_fft stands in the middle
    of it elsewhere; here zeros follow, which changes no magnitude.
    """
    padded = np.pad(waveform, len(window) // 2, mode="reflect")
    mel = torch.empty(1 + len(waveform) // hop_length, bank.n_mels)
    for frames, spectra in spectra_in_chunks(
        torch.from_numpy(padded), window=window, n_fft=n_fft, hop_length=hop_length
    ):
        bank.apply(torch.view_as_real(spectra).square().sum(-1), out=mel[frames])
    return mel


def mel_triangles(
    sample_rate: int, n_fft: int, n_mels: int, f_min_hz: float, f_max_hz: float
) -> NDArray[np.float64]:
    """The bank (F, M) of HTK and Kaldi: triangles of height 1 that are linear in mel, not in Hz."""
    bins_mel = _hz_to_mel(np.linspace(0, sample_rate / 2, n_fft // 2 + 1))
    lowest_mel, highest_mel = _hz_to_mel(np.array([f_min_hz, f_max_hz]))
    return triangles(bins_mel, np.linspace(lowest_mel, highest_mel, n_mels + 2))


def triangles(bins: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bank (F, M) of triangles between M + 2 edges, over the F bins, both on one scale."""
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - low) / (centre - low)
    falling = (high - bins[:, None]) / (high - centre)
    weights: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return weights


def _hz_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127 * np.log1p(frequency_hz / 700)
    return mel


@cache
def hann(length: int) -> torch.Tensor:
    """The periodic window (W,)."""
    return torch.hann_window(length, dtype=torch.float64).float()


def resampled(waveform: Int16, *, from_hz: int, to_hz: int) -> Iterator[Float32]:
    """The waveform (T,) at another rate, in pieces; see `Resampler`."""
    resampler = Resampler(from_hz=from_hz, to_hz=to_hz)
    for block in blocks_of(waveform, BLOCK_SAMPLES):
        yield resampler.push(as_float(block))
    yield resampler.finish()


def check_waveform(waveform: Float32) -> None:
    """Refuse what is not a float32 waveform (T,) with at least one sample."""
    if waveform.ndim != 1 or not len(waveform) or waveform.dtype != np.float32:
        raise ValueError(
            f"expected a float32 waveform (T,), T > 0, got {waveform.dtype} {waveform.shape}"
        )
