"""What EfficientAT's MobileNets read, 128 bands at 32 kHz, and what they make of it (Schmid,
Koutini and Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge
distillation", ICASSP 2023).

Shapes: T samples, N frames, M mel bins.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.features.backbone import Backbone
from earmark.features.spectra import Spectra
from earmark.features.spectrum import MelBank, centred_mel, check_waveform, mel_triangles
from earmark.networks.mobilenet import MobileNet
from earmark.sound.samples import Float32, resample

SAMPLE_RATE = 32_000
N_FFT = 1024
WINDOW_LENGTH = 800
HOP_LENGTH = 320
N_MELS = 128
F_MIN_HZ = 0.0
F_MAX_HZ = 15_000.0
PRE_EMPHASIS = 0.97
POWER_OFFSET = 1e-5
LEVEL, SPREAD = -4.5, 5.0  # of the logarithm, about those of AudioSet


@dataclass(frozen=True, kw_only=True)
class MnLogMel(Spectra):
    """Natural log of power mel bands, scaled as in training: rows (N, 128), 100 a second."""

    sample_rate: int

    row_shape = (N_MELS,)

    @property
    def silence(self) -> NDArray[np.float16]:
        return np.full(self.row_shape, (np.log(POWER_OFFSET) - LEVEL) / SPREAD, self.dtype)

    @classmethod
    def powers(cls, x: torch.Tensor) -> torch.Tensor:
        return ((x * SPREAD + LEVEL).exp() - POWER_OFFSET).clamp(0)

    @classmethod
    def of_powers(cls, powers: torch.Tensor) -> torch.Tensor:
        return ((powers + POWER_OFFSET).log() - LEVEL) / SPREAD

    def segment_rows(self, length: float) -> int:
        """Centred frames of so many seconds, but for the sample that pre-emphasis takes."""
        return 1 + (round(length * SAMPLE_RATE) - 1) // HOP_LENGTH

    def __call__(self, waveform: Float32) -> Float32:
        """Log-mel (N, 128) float32 of a waveform (T,) at the working rate."""
        check_waveform(waveform)
        at_32k = resample(waveform, from_hz=self.sample_rate, to_hz=SAMPLE_RATE)
        if len(at_32k) < 2:
            at_32k = np.resize(at_32k, 2)
        emphasised = at_32k[1:] - np.float32(PRE_EMPHASIS) * at_32k[:-1]  # (T - 1,)
        mel = centred_mel(
            emphasised, window=_window(), n_fft=N_FFT, hop_length=HOP_LENGTH, bank=_bank()
        )
        log_mel: Float32 = mel.add_(POWER_OFFSET).log_().sub_(LEVEL).div_(SPREAD).numpy()
        return log_mel


@dataclass(frozen=True, kw_only=True)
class Mn(Backbone):
    """Embeddings of a MobileNet, 3.1 a second: the mean of its last maps over the frequencies."""

    width: float

    network = MobileNet

    @property
    def network_options(self) -> dict[str, Any]:
        return {"width": self.width}

    @property
    def front_end(self) -> MnLogMel:
        return MnLogMel(sample_rate=self.sample_rate)


@cache
def _window() -> torch.Tensor:
    return torch.hann_window(WINDOW_LENGTH, periodic=False)


@cache
def _bank() -> MelBank:
    return MelBank.of(mel_triangles(SAMPLE_RATE, N_FFT, N_MELS, F_MIN_HZ, F_MAX_HZ))
