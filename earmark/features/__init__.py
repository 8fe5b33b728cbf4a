"""The kinds of input that models read: each turns a waveform (T,) into rows ready to store."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earmark.features.logmel import LogMel, Mfcc
from earmark.features.vggish import VggishPatches, vggish_log_mel
from earmark.features.wave import Waveform
from earmark.sound.decoding import Float32

__all__ = [
    "KINDS",
    "Extractor",
    "LogMel",
    "Mfcc",
    "VggishPatches",
    "Waveform",
    "build",
    "vggish_log_mel",
]


class Extractor(Protocol):
    """What every kind offers.

    Attributes:
        row_shape: of one row: (M,) of a frame, (96, 64) of a patch, () of a sample.
        dtype: that rows are stored in; calls return float32, or int16 for samples.
        silence: one row of silence, for padding.
    """

    @property
    def row_shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def silence(self) -> NDArray[Any]: ...

    def rows_for(self, seconds: float) -> int:
        """How many rows a segment of that length has."""

    def __call__(self, waveform: Float32) -> NDArray[Any]:
        """Rows (n, *row_shape) of a float32 waveform (T,) at the working rate."""


KINDS: dict[str, type[LogMel | Mfcc | VggishPatches | Waveform]] = {
    "logmel": LogMel,
    "mfcc": Mfcc,
    "patches": VggishPatches,
    "wave44k": Waveform,
    "wave16k": Waveform,
}


def build(kind: str, options: Mapping[str, Any], *, sample_rate: int) -> Extractor:
    """Make the extractor of `kind` for waveforms at the working rate.

    Raises:
        ValueError: an unknown kind, or options that are unknown, missing or out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of feature {kind!r}; there are {', '.join(KINDS)}")
    valid = [field.name for field in fields(KINDS[kind]) if field.name != "sample_rate"]
    known = f"it takes {', '.join(valid) or 'no options'}"
    if unknown := [name for name in options if name not in valid]:
        raise ValueError(f"features.{kind}: unknown option {', '.join(unknown)}; {known}")
    if missing := [name for name in valid if name not in options]:
        raise ValueError(f"features.{kind}: missing option {', '.join(missing)}; {known}")
    return KINDS[kind](sample_rate=sample_rate, **options)
