"""What every type of feature declares about itself.

Shapes: T samples, N rows of a clip, B segments, S rows of a segment.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from earmark.params import Padding
from earmark.sound.samples import Int16, as_float

# Keys of the recipe that not every type of feature supports, and their values that change nothing.
AUGMENTATIONS: dict[str, int | float | str] = {
    "mixup_at": "features",  # else the type must keep the power of the sound
    "mask_frames": 0,
    "mask_bands": 0,
    "band_gain_db": 0.0,
    "band_shift": 0,
    "time_stretch": 0.0,
}


class Mix(Protocol):
    """One draw of mixup: `share` of each example, and `rest` of its partner."""

    share: Any  # a float, or (B,)
    partner: Any

    @property
    def rest(self) -> Any: ...

    def __call__(self, x: Any) -> Any: ...

    def like(self, x: Any) -> "Mix": ...

    def at_equal_loudness(self, amplitudes: Any) -> "Mix": ...


class FeatureType(ABC):
    """Turns a waveform into rows to store, and says how segments of them reach a network.

    Attributes:
        kind: the type that networks know it as; "" is its own name.
        segment_key: the key of a model's `input` that gives the length of a segment.
        padding: of a clip that is shorter than its segment, unless the model's input gives another.
        standardisation: by the mean and deviation of the whole array, of each column, or none.
        scale: what values are divided by where they are not standardised.
        augmentations: those keys of AUGMENTATIONS that training can do to its segments.
        row_shape: of one row: (M,) of a frame, (96, 64) of a patch, () of a sample.
        dtype: that rows are stored in; calls return float32, or int16 for samples.
        silence: one row of silence, for padding.
    """

    kind: ClassVar[str] = ""
    segment_key: ClassVar[str]
    padding: ClassVar[Padding] = "right"
    standardisation: ClassVar[Literal["array", "column", "none"]] = "none"
    scale: ClassVar[float] = 1.0
    augmentations: ClassVar[frozenset[str]] = frozenset()
    dtype: ClassVar[np.dtype[Any]]

    @property
    @abstractmethod
    def row_shape(self) -> tuple[int, ...]: ...

    @property
    @abstractmethod
    def silence(self) -> NDArray[Any]: ...

    @abstractmethod
    def __call__(self, waveform: NDArray[np.float32]) -> NDArray[Any]:
        """Rows (N, *row_shape) of a float32 waveform (T,) at the working rate."""

    def blocks(self, waveform: Int16) -> Iterator[NDArray[Any]]:
        """The rows of a waveform (T,) as it is stored, in pieces so that hours fit into memory.

        Together they are the rows of the whole to the bit. A type that does not say how to make
        them piece by piece makes them at once.
        """
        yield self(as_float(waveform))

    def segment_rows(self, length: float) -> int:
        """The number of rows of a segment; `length` is in the unit of `segment_key`."""
        return max(1, round(length))

    @staticmethod
    def network_view(x: Any) -> Any:
        """Standardised segments (B, S, *row_shape) in the shape that networks read."""
        return x

    @classmethod
    def mix_as_waveforms(cls, x: Any, mix: Mix) -> Any:
        """Mixup of segments (B, S, *row_shape) as if their waveforms had been mixed.

        Raises:
            NotImplementedError: the type does not keep the power of the sound (`mixup_at`).
        """
        raise NotImplementedError

    @classmethod
    def amplitudes(cls, x: Any) -> Any:
        """The amplitude (B,) of each segment where it is loudest, for mixup at equal loudness.

        Raises:
            NotImplementedError: as above.
        """
        raise NotImplementedError

    @classmethod
    def amplified(cls, x: Any, gains: Any) -> Any:
        """Segments (B, S, *row_shape) as if each band had a gain in dB, (B, ..., M).

        Raises:
            NotImplementedError: the type has no bands that keep the power.
        """
        raise NotImplementedError
