"""Samples that a program gives in the place of a file: checked, and written as one.

Shapes: T samples, C channels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark.errors import UserError

_RATES = range(1000, 10_000_001)  # as of files
_MOST_CHANNELS = 1024  # of a wav that soundfile writes


def checked_rate(sample_rate: Any) -> int:
    """Hz as a whole number; some libraries give 44100.0.

    Raises:
        UserError: it is none, or out of range.
    """
    if sample_rate is None:
        raise UserError("samples without a rate; give sample_rate, in Hz")
    try:
        rate = int(sample_rate)
    except (TypeError, ValueError, OverflowError):
        rate = 0
    if rate != sample_rate or rate not in _RATES:
        fix = f"give a whole number of Hz from {_RATES.start} to {_RATES.stop - 1}"
        raise UserError(f"sample_rate is {sample_rate!r}; {fix}")
    return rate


def write_samples(path: Path, samples: NDArray[Any], sample_rate: int) -> None:
    """Write samples `(T,)` or `(T, C)` as a wav file.

    Raises:
        UserError: they have another type or shape.
    """
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fi" or not samples.size:
        what = f"samples of shape {samples.shape} and type {samples.dtype}"
        raise UserError(f"{what}; give (T,) or (T, C), of int16 or of floats of full scale 1")
    is_float = samples.dtype.kind == "f"
    if not is_float and samples.dtype.newbyteorder("=") != np.int16:
        raise UserError(f"samples of type {samples.dtype}; give int16, or floats of full scale 1")
    n_channels = 1 if samples.ndim == 1 else samples.shape[1]
    if n_channels > min(len(samples), _MOST_CHANNELS):
        what = f"samples of shape {samples.shape} have {n_channels} channels"
        raise UserError(f"{what}; give (T, C), time first")
    # Half precision, long doubles and the other order of bytes, which soundfile does not know.
    native = samples.astype(np.float32 if is_float else np.int16, copy=False)
    subtype = "FLOAT" if is_float else "PCM_16"
    soundfile.write(path, native, sample_rate, subtype=subtype, format="WAV")
