"""What the PANNs read, 64 mel bands in dB at 32 or 16 kHz, and what CNN14 makes of it (Kong et al.,
"PANNs: Large-scale pretrained audio neural networks for audio pattern recognition", IEEE/ACM TASLP
2020).

Shapes: T samples, N frames, M mel bins.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from earmark.features.backbone import Backbone
from earmark.features.logmel import LogMel, slaney_mel_weights
from earmark.features.spectra import Decibels
from earmark.features.spectrum import MelBank, centred_mel, check_waveform, hann
from earmark.networks.cnn14 import CNN14, MIN_FRAMES, N_MELS
from earmark.sound.samples import Float32, resample

F_MIN_HZ = 50.0
# The networks of 32 kHz (section IV.A) and those that were published for 16 kHz beside them:
# window, hop and the upper end of the mel bands.
_FRAMES = {32_000: (1024, 320, 14_000.0), 16_000: (512, 160, 8_000.0)}


@dataclass(frozen=True, kw_only=True)
class PannsLogMel(Decibels):
    """Power mel bands in dB against 1: rows (N, 64), 100 a second. What is under 0.31 s repeats.

    Attributes:
        target_hz: 32,000 for Cnn14_mAP=0.431, 16,000 for Cnn14_16k_mAP=0.438.
    """

    sample_rate: int
    target_hz: int

    row_shape = (N_MELS,)

    def __post_init__(self) -> None:
        if self.target_hz not in _FRAMES:
            choices = " or ".join(map(str, _FRAMES))
            raise ValueError(f"target_hz: {self.target_hz}; it must be {choices}")

    @property
    def shortest_samples(self) -> int:
        _, hop_length, _ = _FRAMES[self.target_hz]
        return (MIN_FRAMES - 1) * hop_length

    def segment_rows(self, length: float) -> int:
        n_samples = max(round(length * self.target_hz), self.shortest_samples)
        return 1 + n_samples // self._log_mel.hop_length

    def __call__(self, waveform: Float32) -> Float32:
        """Log-mel (N, 64) float32 of a waveform (T,) at the working rate."""
        check_waveform(waveform)
        resampled = resample(waveform, from_hz=self.sample_rate, to_hz=self.target_hz)
        if len(resampled) < self.shortest_samples:
            resampled = np.resize(resampled, self.shortest_samples)  # repeats
        spec = self._log_mel
        mel = centred_mel(
            resampled,
            window=hann(spec.n_fft),
            n_fft=spec.n_fft,
            hop_length=spec.hop_length,
            bank=_bank(spec),
        )
        log_mel: Float32 = self.of_powers(mel).numpy()
        return log_mel

    @property
    def _log_mel(self) -> LogMel:
        """The same bands; a `LogMel` itself has silence before and after a clip."""
        n_fft, hop_length, f_max_hz = _FRAMES[self.target_hz]
        return LogMel(
            sample_rate=self.target_hz,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=N_MELS,
            f_min_hz=F_MIN_HZ,
            f_max_hz=f_max_hz,
        )


@dataclass(frozen=True, kw_only=True)
class Cnn14(Backbone):
    """Embeddings of a CNN14: one for each window of about 10 s, since its last layer follows a
    maximum over time."""

    target_hz: int

    network = CNN14

    def __post_init__(self) -> None:
        _ = self.front_end  # checks the rate

    @property
    def network_options(self) -> dict[str, Any]:
        return {}

    @property
    def front_end(self) -> PannsLogMel:
        return PannsLogMel(sample_rate=self.sample_rate, target_hz=self.target_hz)


@cache
def _bank(spec: LogMel) -> MelBank:
    return MelBank.of(slaney_mel_weights(spec))
