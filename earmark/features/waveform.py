"""The waveform itself as a feature, for the models that read samples.

Shapes: T samples at the working rate, R samples at the target rate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool1d

from earmark.features.feature_type import FeatureType, Mix
from earmark.features.spectrum import check_waveform, resampled
from earmark.sound.samples import Float32, Int16, as_int16, resample

LOUDNESS_SAMPLES = 1024  # whose mean power is the loudness of a moment


@dataclass(frozen=True, kw_only=True)
class Waveform(FeatureType):
    """Samples at `target_hz`: rows (R,) int16."""

    sample_rate: int
    target_hz: int

    segment_key = "segment_samples"
    augmentations = frozenset({"mixup_at"})
    scale = 32768.0  # int16 to [-1, 1]
    dtype = np.dtype(np.int16)
    row_shape = ()

    def __post_init__(self) -> None:
        if self.target_hz < 1:
            raise ValueError(f"target_hz: {self.target_hz}; it must be at least 1")

    @property
    def silence(self) -> NDArray[np.int16]:
        return np.zeros(self.row_shape, self.dtype)

    @classmethod
    def mix_as_waveforms(cls, x: Any, mix: Mix) -> Any:
        return mix(x)

    @classmethod
    def amplitudes(cls, x: torch.Tensor) -> torch.Tensor:
        powers = avg_pool1d(x.unsqueeze(1) ** 2, min(LOUDNESS_SAMPLES, x.shape[1]))
        return powers.amax((1, 2)).clamp(1.0).sqrt()  # 1 is the smallest step of int16

    def __call__(self, waveform: Float32) -> Int16:
        """Samples (R,) int16 of a waveform (T,), R at least 1 however short it is."""
        check_waveform(waveform)
        rows = as_int16(resample(waveform, from_hz=self.sample_rate, to_hz=self.target_hz))
        return rows if len(rows) else np.zeros(1, self.dtype)

    def blocks(self, waveform: Int16) -> Iterator[Int16]:
        n_rows = 0
        for part in resampled(waveform, from_hz=self.sample_rate, to_hz=self.target_hz):
            n_rows += len(part)
            yield as_int16(part)
        if not n_rows:
            yield np.zeros(1, self.dtype)
