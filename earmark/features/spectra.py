"""What features of frames and mel bands share: their powers can be computed back.

Shapes: B segments, S rows of a segment, N frames, M mel bins.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.features.feature_type import AUGMENTATIONS, FeatureType, Mix

POWER_FLOOR = 1e-10  # of a band
SILENCE_DB = -100.0  # the same


class Spectra(FeatureType):
    """Frames of mel bands on a logarithmic scale: rows (N, M), or patches of such frames."""

    segment_key = "segment_seconds"
    augmentations = frozenset(AUGMENTATIONS)
    dtype = np.dtype(np.float16)

    @classmethod
    @abstractmethod
    def powers(cls, x: torch.Tensor) -> torch.Tensor:
        """The powers that rows (B, S, ..., M) are the logarithm of."""

    @classmethod
    @abstractmethod
    def of_powers(cls, powers: torch.Tensor) -> torch.Tensor:
        """The rows that have such powers, the reverse of `powers`."""

    @classmethod
    def mix_as_waveforms(cls, x: torch.Tensor, mix: Mix) -> torch.Tensor:
        """The powers of two sounds add, but for the cross term.

        The cross term of independent sounds is 0 on average.
        """
        powers = cls.powers(x)
        return cls.of_powers(mix.share**2 * powers + mix.rest**2 * powers[mix.partner])

    @classmethod
    def amplitudes(cls, x: torch.Tensor) -> torch.Tensor:
        loudest = cls.powers(x).sum(-1).flatten(1).nan_to_num().amax(1)
        return loudest.clamp(POWER_FLOOR).sqrt()

    @classmethod
    def amplified(cls, x: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
        return cls.of_powers(cls.powers(x) * 10 ** (gains / 10))


class Decibels(Spectra):
    """Powers in dB against 1."""

    @property
    def silence(self) -> NDArray[np.float16]:
        return np.full(self.row_shape, SILENCE_DB, self.dtype)

    @classmethod
    def powers(cls, x: torch.Tensor) -> torch.Tensor:
        return 10 ** (x / 10)

    @classmethod
    def of_powers(cls, powers: torch.Tensor) -> torch.Tensor:
        return powers.clamp(POWER_FLOOR).log10_().mul_(10)

    @classmethod
    def amplified(cls, x: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
        return x + gains


class LogMagnitudes(Spectra):
    """Natural logarithm of magnitudes, to which `log_offset` is added."""

    log_offset: ClassVar[float]

    @property
    def silence(self) -> NDArray[np.float16]:
        return np.full(self.row_shape, np.log(self.log_offset), self.dtype)

    @classmethod
    def powers(cls, x: torch.Tensor) -> torch.Tensor:
        return (x.exp() - cls.log_offset).clamp(0) ** 2

    @classmethod
    def of_powers(cls, powers: torch.Tensor) -> torch.Tensor:
        return torch.log(powers.sqrt() + cls.log_offset)
