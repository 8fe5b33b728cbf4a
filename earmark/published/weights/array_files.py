"""What numpy, PyTorch and safetensors wrote, without running anything of a pickle in it.

Pickled arrays are rebuilt here from their bytes: numpy's own classes would take flags from a
pickle on trust, by which a file could make it read memory that is not its own.
"""

import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

_DAMAGED = "it is cut short or damaged"


class _Dtype:
    """Stands in for numpy.dtype: kind and byte order, and nothing else of what a pickle says."""

    def __init__(self, kind: str, _align: object = 0, _copy: object = 0) -> None:
        self.kind, self.order = kind, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        if not re.fullmatch(r"[fiu][1248]", self.kind) or self.order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"an array of {self.order}{self.kind}")
        return np.dtype(self.order + self.kind)


class _Array:
    """Stands in for numpy.ndarray; `value` is the array, or the object that it held alone."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_by_columns, raw = state
        if dtype.kind.startswith("O"):
            (self.value,) = raw
            return
        content = raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2: text
        flat = np.frombuffer(content, dtype.numpy())
        self.value = flat.reshape(shape, order="F" if is_by_columns else "C")


def _blank_array(*_: object) -> _Array:
    return _Array()


def _latin1(text: str, _encoding: str) -> bytes:
    """Stands in for _codecs.encode, by which Python 3 pickles bytes for Python 2."""
    return text.encode("latin1")


_ALLOWED: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": _blank_array,  # numpy 1
    "numpy._core.multiarray._reconstruct": _blank_array,  # numpy 2
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "_codecs.encode": _latin1,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (wanted := f"{module}.{name}") not in _ALLOWED:
            raise pickle.UnpicklingError(f"GLOBAL {wanted} is not allowed")
        return _ALLOWED[wanted]


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file; one with pickles in it is refused by ValueError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # damaged, it raises whatever zipfile and numpy come upon
        raise ValueError(_DAMAGED) from error


def read_pickled_npy(data: memoryview) -> Any:
    """The one object of an npy file, such as a dictionary of arrays, of Python 2 or 3.

    Raises:
        ValueError: it is cut short, or holds anything but arrays, dictionaries and text.
    """
    file = io.BytesIO(data)
    try:
        is_first = npy.read_magic(file) == (1, 0)
        read_header = npy.read_array_header_1_0 if is_first else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except Exception as error:  # as above
        raise ValueError(_DAMAGED) from error
    if shape or not dtype.hasobject:
        raise ValueError(f"it is one array {shape}, not a dictionary of arrays")
    try:
        return _plain(_ArraysOnly(file, encoding="latin1").load())
    except Exception as error:  # as above
        raise ValueError(_refusal(error)) from error


def read_torch(path: Path) -> Any:
    """What torch.save wrote, in its old form or its new one: tensors, arrays, dictionaries, text.

    Raises:
        ValueError: it is cut short, or holds anything else.
    """
    allowed = [(stand_in, name) for name, stand_in in _ALLOWED.items()]
    try:
        with torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            return _plain(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # as above
        raise ValueError(_refusal(error)) from error


def read_safetensors(data: memoryview) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file.

    Raises:
        ValueError: it is cut short or damaged, or earmark itself wrote it.
    """
    content = bytes(data)
    try:
        arrays = safetensors.numpy.load(content)
    except Exception as error:  # as above
        raise ValueError(_DAMAGED) from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    if "earmark" in header.get("__metadata__", {}):
        raise ValueError("it is converted already; name it in params.yaml")
    return arrays


def _plain(value: Any) -> Any:
    """Arrays for their stand-ins, at any depth of dictionaries."""
    if isinstance(value, _Array):
        return _plain(value.value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _refusal(error: Exception) -> str:
    """One line; torch's own is many, and tells the reader to run what the file wants to run."""
    if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it wants to run {wanted[1]}, which no weight file needs"
    return f"{_DAMAGED}, or holds more than arrays"
