"""What YAMNet reads, VGGish's log-mel with another offset, and what it makes of it (Plakal and
Ellis, TensorFlow's models repository, research/audioset/yamnet).

Shapes: T samples, N frames, M mel bins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.features.backbone import Backbone
from earmark.features.spectra import LogMagnitudes
from earmark.features.spectrum import check_waveform
from earmark.features.vggish import (
    HOP_LENGTH,
    N_MELS,
    SAMPLE_RATE,
    SHORTEST_SAMPLES,
    WINDOW_LENGTH,
    vggish_log_mel,
)
from earmark.networks.yamnet import PATCH_FRAMES, PATCH_HOP, YAMNet
from earmark.sound.samples import Float32, resample

LOG_OFFSET = 0.001


@dataclass(frozen=True, kw_only=True)
class YamnetLogMel(LogMagnitudes):
    """Natural log of magnitude mel bands: rows (N, 64), 100 a second.

    Silence follows until patches of 0.96 s, one each 0.48 s, reach the end, as in `pad_waveform` of
    the published code: N = 96 + 48 k.
    """

    sample_rate: int

    log_offset = LOG_OFFSET
    row_shape = (N_MELS,)

    def segment_rows(self, length: float) -> int:
        return max(PATCH_FRAMES, 1 + (round(length * SAMPLE_RATE) - WINDOW_LENGTH) // HOP_LENGTH)

    def __call__(self, waveform: Float32) -> Float32:
        """Log-mel (N, 64) float32 of a waveform (T,) at the working rate."""
        check_waveform(waveform)
        at_16k = resample(waveform, from_hz=self.sample_rate, to_hz=SAMPLE_RATE)
        n_missing = SHORTEST_SAMPLES - len(at_16k)
        n_silent = n_missing if n_missing > 0 else n_missing % (PATCH_HOP * HOP_LENGTH)
        return vggish_log_mel(np.pad(at_16k, (0, n_silent)), log_offset=LOG_OFFSET)


@dataclass(frozen=True, kw_only=True)
class Yamnet(Backbone):
    """Embeddings of YAMNet, one for each patch: 2.1 a second."""

    network = YAMNet

    @property
    def network_options(self) -> dict[str, Any]:
        return {}

    @property
    def front_end(self) -> YamnetLogMel:
        return YamnetLogMel(sample_rate=self.sample_rate)
