"""Log-mel spectrograms and MFCCs as the spectrogram models read them.

Shapes: T samples, N frames, F bins, M mel bins, D cepstral coefficients.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.features.feature_type import FeatureType
from earmark.features.spectra import SILENCE_DB, Decibels
from earmark.features.spectrum import (
    BLOCK_SAMPLES,
    CHUNK_FRAMES,
    MelBank,
    check_waveform,
    hann,
    spectra_in_chunks,
)
from earmark.sound.samples import Float32, Int16, write_float
from earmark.spool import release

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LogMel(Decibels):
    """Power mel spectrogram in dB against 1, frames centred: rows (N, M), N = 1 + T // hop_length.

    Shan and Ren, section 2.1: 2 s at 44.1 kHz, window 2048, hop 512 and 80 filters give 173 x 80.
    """

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    f_min_hz: float
    f_max_hz: float

    standardisation = "array"

    def __post_init__(self) -> None:
        if self.n_fft < 2 or self.n_fft % 2:
            raise ValueError(f"n_fft: {self.n_fft}; it must be even and at least 2")
        for name in ("hop_length", "n_mels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.f_min_hz < self.f_max_hz:
            raise ValueError(f"f_min_hz: {self.f_min_hz}; it must be from 0 to below f_max_hz")
        if self.f_max_hz > self.sample_rate / 2:
            half = f"half the sample rate, {self.sample_rate / 2}"
            raise ValueError(f"f_max_hz: {self.f_max_hz}; it must be at most {half}")

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (self.n_mels,)

    def segment_rows(self, length: float) -> int:
        """Centred frames of so many seconds: 2 s at 44.1 kHz and hop 512 are 173."""
        return 1 + round(length * self.sample_rate) // self.hop_length

    def __call__(self, waveform: Float32) -> Float32:
        """Log-mel (N, M) float32 of a waveform (T,)."""
        check_waveform(waveform)
        return self._frames(waveform, 0, 1 + len(waveform) // self.hop_length)

    def blocks(self, waveform: Int16) -> Iterator[Float32]:
        n_frames = 1 + len(waveform) // self.hop_length
        # Whole chunks, so that each is computed as it is within the whole.
        n_chunks = BLOCK_SAMPLES // max(self.hop_length, self.n_mels) // CHUNK_FRAMES
        step = max(1, n_chunks) * CHUNK_FRAMES
        for first in range(0, n_frames, step):
            yield self._frames(waveform, first, min(step, n_frames - first))
            if n_frames > step:
                release(waveform)

    def _frames(self, waveform: Float32 | Int16, first: int, n_frames: int) -> Float32:
        """Log-mel (n, M) of n frames; what they read outside of the waveform (T,) is silence.

        Frame 0 is centred at sample 0:

            0 0 0 | waveform           | 0 0
            `---------`  frame 0
                 `---------`  frame 1, one hop later
        """
        start = first * self.hop_length - self.n_fft // 2
        stop = start + (n_frames - 1) * self.hop_length + self.n_fft
        part = waveform[max(start, 0) : max(stop, 0)]
        padded = torch.zeros(stop - start)
        write_float(part, padded.numpy()[max(-start, 0) : max(-start, 0) + len(part)])
        mel, bank = torch.empty(n_frames, self.n_mels), _paired_bank(self)
        for frames, spectra in spectra_in_chunks(
            padded, window=hann(self.n_fft), n_fft=self.n_fft, hop_length=self.hop_length
        ):
            parts = torch.view_as_real(spectra).flatten(1)  # (n, 2F): real, imaginary, real, ...
            bank.apply(parts.mul_(parts), out=mel[frames])
        log_mel: Float32 = self.of_powers(mel).numpy()
        return log_mel


@dataclass(frozen=True, kw_only=True)
class Mfcc(FeatureType):
    """The first `n_mfcc` coefficients of the orthonormal DCT-II of the log-mel: rows (N, D)."""

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    n_mfcc: int
    f_min_hz: float
    f_max_hz: float

    segment_key = "segment_seconds"
    standardisation = "column"
    augmentations = frozenset({"mask_frames", "mask_bands"})
    dtype = np.dtype(np.float16)

    def __post_init__(self) -> None:
        if not 1 <= self.n_mfcc <= self.n_mels:
            limits = f"from 1 to n_mels, {self.n_mels}"
            raise ValueError(f"n_mfcc: {self.n_mfcc}; it must be {limits}")
        _ = self.log_mel  # checks the other options

    @property
    def log_mel(self) -> LogMel:
        return LogMel(
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
            f_min_hz=self.f_min_hz,
            f_max_hz=self.f_max_hz,
        )

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (self.n_mfcc,)

    @property
    def silence(self) -> NDArray[np.float16]:
        row = torch.full((self.n_mels,), SILENCE_DB) @ _dct(self.n_mels, self.n_mfcc)  # (D,)
        return np.asarray(row, self.dtype)

    def segment_rows(self, length: float) -> int:
        return self.log_mel.segment_rows(length)

    def __call__(self, waveform: Float32) -> Float32:
        """MFCCs (N, D) float32 of a waveform (T,)."""
        return self._cepstra(self.log_mel(waveform))

    def blocks(self, waveform: Int16) -> Iterator[Float32]:
        yield from map(self._cepstra, self.log_mel.blocks(waveform))

    def _cepstra(self, log_mel: Float32) -> Float32:
        cepstra: Float32 = (torch.from_numpy(log_mel) @ _dct(self.n_mels, self.n_mfcc)).numpy()
        return cepstra  # (N, D)


def slaney_mel_weights(spec: LogMel) -> NDArray[np.float64]:
    """The bank (F, M) of Slaney's Auditory Toolbox: triangles in Hz, of equal area.

    It equals librosa.filters.mel; importing librosa would cost every process most of a second.
    """
    bins_hz = np.fft.rfftfreq(spec.n_fft, 1 / spec.sample_rate)[:, None]  # (F, 1)
    lowest_mel, highest_mel = _hz_to_mel(spec.f_min_hz), _hz_to_mel(spec.f_max_hz)
    edges_hz = _mel_to_hz(np.linspace(lowest_mel, highest_mel, spec.n_mels + 2))
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    weights: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return weights


def _hz_to_mel(frequency_hz: float) -> float:
    """Slaney's scale: linear below 1 kHz, which is 15 mel, and 27 mel to a factor of 6.4 above."""
    if frequency_hz < 1000:
        return frequency_hz * 3 / 200
    return 15 + math.log(frequency_hz / 1000) * 27 / math.log(6.4)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


@cache
def _paired_bank(spec: LogMel) -> MelBank:
    """The Slaney bank with each bin's row twice: for the square of its real and imaginary part.

    Adding the two in the product spares a pass over strided memory.
    """
    weights = slaney_mel_weights(spec)  # (F, M)
    n_empty = int((weights.max(axis=0) == 0).sum())
    if n_empty:
        logger.warning(
            "%d of %d mel filters hold no bin; lower n_mels or raise n_fft", n_empty, spec.n_mels
        )
    return MelBank.of(np.repeat(weights, 2, axis=0))


@cache
def _dct(n_mels: int, n_mfcc: int) -> torch.Tensor:
    """The DCT-II as a matrix (M, D)."""
    import scipy.fft  # which a log-mel does without

    basis = scipy.fft.dct(np.eye(n_mels), type=2, norm="ortho", axis=1)
    return torch.from_numpy(np.ascontiguousarray(basis[:, :n_mfcc], np.float32))
