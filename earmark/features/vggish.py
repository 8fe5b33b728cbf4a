"""VGGish's front-end: 0.96 s patches of a 64-band log-mel at 16 kHz (Hershey et al., 2017).

Shapes: T samples, N frames, F bins, P patches. The mel triangles are linear in mel, not in Hz, and
the spectrum is a magnitude, so no library's mel spectrogram will do.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.features.spectra import LogMagnitudes
from earmark.features.spectrum import (
    BLOCK_SAMPLES,
    CHUNK_FRAMES,
    MelBank,
    check_waveform,
    hann,
    mel_triangles,
    resampled,
    spectra_in_chunks,
)
from earmark.sound.samples import Float32, Int16, resample

SAMPLE_RATE = 16_000
WINDOW_LENGTH = 400
HOP_LENGTH = 160
N_FFT = 512
N_MELS = 64
F_MIN_HZ = 125.0
F_MAX_HZ = 7500.0
LOG_OFFSET = 0.01
PATCH_FRAMES = 96
SHORTEST_SAMPLES = WINDOW_LENGTH + (PATCH_FRAMES - 1) * HOP_LENGTH


@dataclass(frozen=True, kw_only=True)
class VggishPatches(LogMagnitudes):
    """Patches without overlap: rows (P, 96, 64). A clip under 0.975 s is repeated to fill one."""

    sample_rate: int

    segment_key = "segment_patches"
    augmentations = frozenset({"mixup_at", "mask_frames", "mask_bands", "band_gain_db"})
    padding = "tile"  # Xu et al., section 3.2: a short bag is repeated
    log_offset = LOG_OFFSET
    row_shape = (PATCH_FRAMES, N_MELS)

    @staticmethod
    def network_view(x: torch.Tensor) -> torch.Tensor:
        """Patches (B, P, 96, 64) stacked in time: (B, P * 96, 64)."""
        return x.flatten(1, 2)

    def __call__(self, waveform: Float32) -> Float32:
        """Patches (P, 96, 64) float32 of a waveform (T,) at the working rate."""
        check_waveform(waveform)
        at_16k = resample(waveform, from_hz=self.sample_rate, to_hz=SAMPLE_RATE)
        if len(at_16k) < SHORTEST_SAMPLES:
            at_16k = np.resize(at_16k, SHORTEST_SAMPLES)  # repeats
        return _patches(at_16k)

    def blocks(self, waveform: Int16) -> Iterator[Float32]:
        # Chunks and batches of 64 patches end with a block: all is computed as within the whole.
        frames = math.lcm(CHUNK_FRAMES, 64 * PATCH_FRAMES)
        frames *= max(1, BLOCK_SAMPLES // HOP_LENGTH // frames)
        is_first, rest = True, np.empty(0, np.float32)
        for part in resampled(waveform, from_hz=self.sample_rate, to_hz=SAMPLE_RATE):
            rest = np.concatenate([rest, part])
            while len(rest) >= WINDOW_LENGTH + frames * HOP_LENGTH:  # a frame of the next block
                yield _patches(rest[: WINDOW_LENGTH + (frames - 1) * HOP_LENGTH])
                is_first, rest = False, rest[frames * HOP_LENGTH :]
        if is_first and len(rest) < SHORTEST_SAMPLES:
            rest = np.resize(rest, SHORTEST_SAMPLES)
        yield _patches(rest)


def _patches(at_16k: Float32) -> Float32:
    """The whole patches (P, 96, 64) of (T,)."""
    log_mel = vggish_log_mel(at_16k)  # (N, 64)
    n_patches = len(log_mel) // PATCH_FRAMES
    return log_mel[: n_patches * PATCH_FRAMES].reshape(n_patches, PATCH_FRAMES, N_MELS)


def vggish_log_mel(waveform: Float32, *, log_offset: float = LOG_OFFSET) -> Float32:
    """Log-mel (N, 64) of a waveform (T,) at 16 kHz; N = 1 + (T - 400) // 160, or 0 if shorter."""
    n_frames = max(0, 1 + (len(waveform) - WINDOW_LENGTH) // HOP_LENGTH)
    mel = torch.empty(n_frames, N_MELS)
    if n_frames:
        bank, window = _bank(), hann(WINDOW_LENGTH)
        for frames, spectra in spectra_in_chunks(
            torch.from_numpy(waveform), window=window, n_fft=N_FFT, hop_length=HOP_LENGTH
        ):
            bank.apply(_magnitudes(spectra), out=mel[frames])
    log_mel: Float32 = mel.add_(log_offset).log_().numpy()
    return log_mel


def _magnitudes(spectra: torch.Tensor) -> torch.Tensor:
    """Magnitudes (n, F) of spectra (n, F).

    In float64 and then rounded they are `torch.abs` to the bit, in two thirds of its time: neither
    squares nor their sum can overflow, and only the last rounding loses anything.
    """
    squares = np.square(torch.view_as_real(spectra).numpy(), dtype=np.float64)  # (n, F, 2)
    power = np.add(squares[..., 0], squares[..., 1])
    return torch.from_numpy(np.sqrt(power, out=power).astype(np.float32))


def vggish_mel_weights() -> NDArray[np.float64]:
    """The mel matrix (257, 64), which ignores the mean of the waveform."""
    weights = mel_triangles(SAMPLE_RATE, N_FFT, N_MELS, F_MIN_HZ, F_MAX_HZ)
    weights[0] = 0
    return weights


@cache
def _bank() -> MelBank:
    return MelBank.of(vggish_mel_weights())
