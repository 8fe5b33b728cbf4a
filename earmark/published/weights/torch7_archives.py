"""Torch7's binary archives (.t7), read without Lua; functions in them are skipped, never run.

The layout is that of torch/torch7's File.lua: every object is a type, and then its value; tables
and objects of classes carry a number, under which later references find them again.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[Any]

_NIL, _NUMBER, _STRING, _TABLE, _OBJECT, _BOOLEAN = range(6)
_FUNCTIONS = (6, 7, 8)  # without a number of its own, and the older and newer form with one
_HOST_DTYPES = {
    "Byte": "u1",
    "Char": "i1",
    "Short": "<i2",
    "Int": "<i4",
    "Long": "<i8",
    "Half": "<f2",
    "Float": "<f4",
    "Double": "<f8",
}
_DTYPES = _HOST_DTYPES | {f"Cuda{kind}": dtype for kind, dtype in _HOST_DTYPES.items()}
_DTYPES["Cuda"] = "<f4"


@dataclass(eq=False)
class Torch7Object:
    """An object of a Lua class, such as nn.SpatialConvolution, and its fields."""

    class_name: str
    fields: dict[Any, Any] = field(default_factory=dict)


def is_archive(data: memoryview) -> bool:
    """Whether the data start with a table or object that has the number 1."""
    return bytes(data[:8]) in (struct.pack("<ii", kind, 1) for kind in (_TABLE, _OBJECT))


def read_archive(data: memoryview) -> Any:
    """The object that an archive holds: tables are dicts, tensors and storages are arrays.

    Raises:
        ValueError: it is cut short, damaged, or of another machine's number sizes.
    """
    try:
        return _Reader(data).object()
    except RecursionError:
        raise ValueError("its tables are nested too deeply") from None


def _is_storage(value: Any, dtype: np.dtype[Any]) -> bool:
    """Whether it is a plain array; the length of a view says nothing of the memory behind it."""
    is_plain = isinstance(value, np.ndarray) and value.ndim == 1 and value.flags.c_contiguous
    return is_plain and value.dtype == dtype


class _Reader:
    """Reads one object after another, and remembers those with numbers."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0
        self.known: dict[int, Any] = {}

    def object(self) -> Any:
        kind = self.int32()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return self.unpack("<d")
        if kind == _STRING:
            return self.text()
        if kind == _BOOLEAN:
            return self.int32() == 1
        if kind == _FUNCTIONS[0]:
            return self.function(None)
        if kind not in (_TABLE, _OBJECT, *_FUNCTIONS):
            raise ValueError(f"it is damaged: an object at byte {self.at - 4} has type {kind}")
        number = self.int32()
        if number in self.known:
            return self.known[number]
        if kind == _TABLE:
            return self.table(number)
        return self.instance(number) if kind == _OBJECT else self.function(number)

    def table(self, number: int) -> dict[Any, Any]:
        table: dict[Any, Any] = {}
        self.known[number] = table  # before its contents: they may refer to it
        for _ in range(self.int32()):
            key, value = self.object(), self.object()
            if not isinstance(key, str | float | bool | Torch7Object):
                raise ValueError("a table in it has keys that are neither text nor numbers")
            table[key] = value
        return table

    def function(self, number: int | None) -> None:
        self.take(self.int32())  # bytecode
        if number is not None:
            self.known[number] = None
        self.object()  # the variables that it had caught

    def instance(self, number: int) -> Any:
        version = self.text()
        class_name = self.text() if version.startswith("V ") else version
        kind = class_name.removeprefix("torch.")
        if (name := kind.removesuffix("Storage")) != kind and name in _DTYPES:
            self.known[number] = self.storage(np.dtype(_DTYPES[name]))
        elif (name := kind.removesuffix("Tensor")) != kind and name in _DTYPES:
            self.known[number] = self.tensor(np.dtype(_DTYPES[name]))
        else:
            value = Torch7Object(class_name)
            self.known[number] = value
            fields = self.object()
            if not isinstance(fields, dict):
                raise ValueError(f"it has an object of class {class_name}, which is not known here")
            value.fields.update(fields)
        return self.known[number]

    def storage(self, dtype: np.dtype[Any]) -> Array:
        n_values = self.int64()
        return np.frombuffer(self.take(n_values * dtype.itemsize), dtype)

    def tensor(self, dtype: np.dtype[Any]) -> Array:
        n_axes = self.int32()
        axes = struct.Struct(f"<{max(0, n_axes)}q")
        shape, strides = (axes.unpack(self.take(axes.size)) for _ in range(2))
        offset = self.int64() - 1  # Lua counts from 1
        storage = self.object()
        if n_axes <= 0 or storage is None:
            return np.empty(0, dtype)
        # The stride of an axis of length 1 is never taken, and may be anything.
        strides = tuple(s if size != 1 else 0 for size, s in zip(shape, strides, strict=True))
        is_within = offset >= 0 and min(shape) > 0 and min(strides) >= 0
        if not is_within or not _is_storage(storage, dtype):
            raise ValueError(f"it is damaged: a tensor {shape} in it does not fit its storage")
        last = offset + sum((size - 1) * s for size, s in zip(shape, strides, strict=True))
        if last >= len(storage):
            raise ValueError(f"it is damaged: a tensor {shape} in it is longer than its storage")
        in_bytes = [dtype.itemsize * s for s in strides]
        return as_strided(storage[offset:], shape, in_bytes, writeable=False)

    def take(self, n_bytes: int) -> memoryview:
        if n_bytes < 0 or self.at + n_bytes > len(self.data):
            raise ValueError(f"it is cut short or damaged: {n_bytes} bytes wanted at {self.at}")
        self.at += n_bytes
        return self.data[self.at - n_bytes : self.at]

    def text(self) -> str:
        return str(self.take(self.int32()), "latin1")

    def int32(self) -> int:
        return int(self.unpack("<i"))

    def int64(self) -> int:
        return int(self.unpack("<q"))

    def unpack(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]
