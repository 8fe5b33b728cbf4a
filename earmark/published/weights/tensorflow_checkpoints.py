"""TensorFlow's checkpoints of either version, read without TensorFlow.

V1 is one table: under the empty key a list of the variables, then the values of each. V2 is a table
of places, `NAME.index`, beside the values, `NAME.data-00000-of-00001`. The numbers of the fields
are those of TensorFlow's saved_tensor_slice.proto and tensor_bundle.proto.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.published.weights.checksums import is_masked_crc32c
from earmark.published.weights.protobuf import Message, varint
from earmark.published.weights.sstables import entries, is_table

Array = NDArray[Any]

_FLOAT32 = 1  # DataType.DT_FLOAT


def is_checkpoint(data: memoryview) -> bool:
    """Whether the data end as a table, or begin as a checkpoint whose end was cut off."""
    if is_table(data):
        return True
    if len(data) < 16 or bytes(data[:2]) != b"\0\0":  # an empty key ...
        return False
    _, at = varint(data, 2)
    return data[at] in (0x0A, 0x08)  # ... and the first field of a V1 or V2 head


def read_checkpoint(path: Path, data: memoryview) -> tuple[str, dict[str, Array]]:
    """Which version it is, and its float32 variables by name.

    Args:
        path: where a V2 index lies; its values lie beside it.
        data: the whole file.

    Raises:
        ValueError: it is cut short or damaged, or a variable was saved in slices.
    """
    records = dict(entries(data))
    if b"" not in records:
        raise ValueError("it is a table, but no checkpoint: the list of variables is missing")
    head = Message.parse(records.pop(b""))
    # In V1 field 1 is the list of variables; in V2 it is the number of files.
    if isinstance(head.fields.get(1, [0])[0], int):
        return "TensorFlow V2 checkpoint", _read_v2(path, head, records)
    return "TensorFlow V1 checkpoint", _read_v1(head, records)


def _read_v1(head: Message, records: dict[bytes, memoryview]) -> dict[str, Array]:
    variables = [variable for meta in head.messages(1) for variable in meta.messages(1)]
    shapes = {v.text(1): _shape(v, 2) for v in variables if v.number(3) == _FLOAT32}
    arrays: dict[str, Array] = {}
    for record in records.values():
        for saved in Message.parse(record).messages(2):
            name = saved.text(1)
            if name not in shapes:
                continue
            _refuse_slices(name, saved.messages(2))
            packed = [values for tensor in saved.messages(3) for values in tensor.all(5)]
            values = packed[0] if len(packed) == 1 else memoryview(b"".join(packed))
            arrays[name] = _array(name, values, shapes[name])
    if missing := sorted(shapes.keys() - arrays.keys()):
        raise ValueError(f"it is damaged: the values of {missing[0]} are missing")
    return arrays


def _refuse_slices(name: str, slices: list[Message]) -> None:
    """A slice that covers a whole axis is written as an empty extent."""
    if any(extent.fields for saved in slices for extent in saved.messages(1)):
        raise ValueError(f"{name} was saved in slices; save it whole")


def _read_v2(path: Path, head: Message, records: dict[bytes, memoryview]) -> dict[str, Array]:
    n_files = head.number(1)
    if n_files != 1:
        raise ValueError(f"its values lie in {n_files} files; save it in one")
    values_path = path.with_name(f"{path.name.removesuffix('.index')}.data-00000-of-00001")
    if not values_path.is_file():
        raise ValueError(f"its values, {values_path.name}, are not beside it")
    values = memoryview(values_path.read_bytes())
    arrays: dict[str, Array] = {}
    for key, record in records.items():
        name, entry = key.decode("utf-8", "replace"), Message.parse(record)
        if entry.number(1) != _FLOAT32:
            continue
        if entry.fields.get(7):
            raise ValueError(f"{name} was saved in slices; save it whole")
        start = entry.number(4)
        content = values[start : start + entry.number(5)]
        if not is_masked_crc32c(content, entry.number(6)):
            raise ValueError(f"{values_path.name}: the values of {name} fail their checksum")
        arrays[name] = _array(name, content, _shape(entry, 2))
    return arrays


def _shape(message: Message, field: int) -> tuple[int, ...]:
    return tuple(axis.number(1) for shape in message.messages(field) for axis in shape.messages(2))


def _array(name: str, values: memoryview, shape: tuple[int, ...]) -> Array:
    if len(values) != 4 * np.prod(shape, dtype=object):
        raise ValueError(f"it is damaged: {name} {shape} has {len(values)} bytes of values")
    return np.frombuffer(values, "<f4").reshape(shape)
