"""What CED reads, 64 mel bands in dB at 16 kHz, and what it makes of it (Dinkel et al., "CED:
Consistent ensemble distillation for audio tagging", ICASSP 2024).

Shapes: T samples, N frames, M mel bins, F bins.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.features.backbone import Backbone
from earmark.features.spectra import Decibels
from earmark.features.spectrum import MelBank, centred_mel, check_waveform, hann, triangles
from earmark.networks.ced import CED, N_MELS, PATCH, SIZES
from earmark.sound.samples import Float32, resample

SAMPLE_RATE = 16_000
N_FFT = 512
HOP_LENGTH = 160
RANGE_DB = 120.0  # what is further below the loudest band of a clip is raised to it
SHORTEST_SAMPLES = (PATCH - 1) * HOP_LENGTH


@dataclass(frozen=True, kw_only=True)
class CedLogMel(Decibels):
    """Power mel bands in dB against 1: rows (N, 64), 100 a second. What is under 0.15 s repeats."""

    sample_rate: int

    row_shape = (N_MELS,)

    def segment_rows(self, length: float) -> int:
        return 1 + max(round(length * SAMPLE_RATE), SHORTEST_SAMPLES) // HOP_LENGTH

    def __call__(self, waveform: Float32) -> Float32:
        """Log-mel (N, 64) float32 of a waveform (T,) at the working rate."""
        check_waveform(waveform)
        at_16k = resample(waveform, from_hz=self.sample_rate, to_hz=SAMPLE_RATE)
        if len(at_16k) < SHORTEST_SAMPLES:
            at_16k = np.resize(at_16k, SHORTEST_SAMPLES)  # repeats
        mel = centred_mel(
            at_16k, window=hann(N_FFT), n_fft=N_FFT, hop_length=HOP_LENGTH, bank=_bank()
        )
        decibels = self.of_powers(mel)
        log_mel: Float32 = decibels.clamp_(min=decibels.max() - RANGE_DB).numpy()
        return log_mel


@dataclass(frozen=True, kw_only=True)
class Ced(Backbone):
    """Embeddings of a CED, 6.25 a second: the mean of its patches of one time.

    Attributes:
        size: tiny, mini, small or base.
    """

    size: str

    network = CED

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"size: {self.size!r}; choose one of {', '.join(SIZES)}")

    @property
    def network_options(self) -> dict[str, Any]:
        return {"size": self.size}

    @property
    def front_end(self) -> CedLogMel:
        return CedLogMel(sample_rate=self.sample_rate)


def ced_mel_weights() -> NDArray[np.float64]:
    """The bank (257, 64): edges on HTK's mel scale, triangles that are linear in Hz, height 1."""
    highest_mel = np.log1p(SAMPLE_RATE / 2 / 700)  # the scale's factor cancels out
    edges_hz = 700 * np.expm1(np.linspace(0, highest_mel, N_MELS + 2))
    return triangles(np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1), edges_hz)


@cache
def _bank() -> MelBank:
    return MelBank.of(ced_mel_weights())
