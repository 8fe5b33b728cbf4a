"""Writers of the formats that published weights came in, for the tests of their readers.

They follow the formats' definitions and share no code with the readers.
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

VGGISH_CONVOLUTIONS = (
    *("conv1", "conv2", "conv3/conv3_1", "conv3/conv3_2", "conv4/conv4_1", "conv4/conv4_2"),
)
SOUNDNET_KERNELS = (64, 32, 16, 8, 4, 4, 4)


def vggish_variables(rng: np.random.Generator) -> Arrays:
    """Random variables of a VGGish of width 1/64 with TensorFlow's names and axes."""
    variables: Arrays = {}

    def add(name: str, *shape: int) -> None:
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        variables[f"vggish/{name}/weights"] = (scale * rng.normal(size=shape)).astype("f4")
        variables[f"vggish/{name}/biases"] = (0.1 * rng.normal(size=shape[-1:])).astype("f4")

    channels = (1, 1, 2, 4, 4, 8, 8)
    for name, read, made in zip(VGGISH_CONVOLUTIONS, channels, channels[1:], strict=False):
        add(name, 3, 3, read, made)
    for name, read, made in (("fc1_1", 6 * 4 * 8, 64), ("fc1_2", 64, 64)):
        add(f"fc1/{name}", read, made)
    add("fc2", 64, 128)
    return variables


def soundnet_layers(rng: np.random.Generator) -> dict[str, Arrays]:
    """Random layers of a SoundNet of width 1/16 with the names and axes of sound8.npy."""
    layers: dict[str, Arrays] = {}
    channels = (1, 1, 2, 4, 8, 16, 32, 64)
    for i, taps in enumerate(SOUNDNET_KERNELS):
        read, made = channels[i : i + 2]
        values = {name: rng.normal(size=made) for name in ("biases", "gamma", "beta", "mean")}
        values |= {"weights": rng.normal(size=(taps, 1, read, made)) / np.sqrt(taps * read)}
        values |= {"var": rng.uniform(0.5, 2, made)}
        layers[f"conv{i + 1}"] = {name: v.astype("f4") for name, v in values.items()}
    for name, made in (("conv8", 10), ("conv8_2", 4)):
        layers[name] = {
            "weights": rng.normal(size=(8, 1, 64, made)).astype("f4"),
            "biases": rng.normal(size=made).astype("f4"),
        }
    return layers


# Protocol buffers and LevelDB's tables


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def crc32c(data: bytes) -> int:
    """Bit by bit, as the definition has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_OF_BYTE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_OF_BYTE = [_crc_of(byte) for byte in range(256)]


def masked_crc32c(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def field(number: int, value: int | bytes) -> bytes:
    """A field of a message: a number, or bytes, text or a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed32(number: int, value: int) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<I", value)


def shape(sizes: tuple[int, ...]) -> bytes:
    return b"".join(field(2, field(1, size)) for size in sizes)


def table(
    records: Mapping[bytes, bytes], *, block_bytes: int = 4096, compression: int = 0
) -> bytes:
    out = b""
    index: dict[bytes, bytes] = {}
    waiting: dict[bytes, bytes] = {}

    def flush() -> None:
        nonlocal out, waiting
        content = _block(waiting, compression)
        index[max(waiting)] = varint(len(out)) + varint(len(content) - 5)
        out, waiting = out + content, {}

    for key in sorted(records):
        waiting[key] = records[key]
        if sum(map(len, waiting.values())) >= block_bytes:
            flush()
    if waiting:
        flush()
    places = b""
    for block in (_block({}, 0), _block(index, 0)):  # the metaindex is empty
        places += varint(len(out)) + varint(len(block) - 5)
        out += block
    return out + places.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def _block(records: Mapping[bytes, bytes], compression: int) -> bytes:
    out, restarts, last = b"", [0], b""
    for i, (key, value) in enumerate(records.items()):
        shared = 0
        if i % 16 == 0:
            restarts = [*restarts, len(out)] if i else restarts
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        last = key
    out += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    typed = out + bytes([compression])
    return typed + struct.pack("<I", masked_crc32c(typed))


def checkpoint_v1(variables: Arrays, *, extent: bytes = b"", **options: int) -> bytes:
    """TensorFlow's first format; `extent` is what each axis of a slice says (empty: all of it)."""
    types = {"float32": 1, "int64": 9}
    metas, records = b"", {}
    for name, values in variables.items():
        axes = field(1, extent) * values.ndim
        kind = types[values.dtype.name]
        meta = field(1, name.encode()) + field(2, shape(values.shape)) + field(3, kind)
        metas += field(1, meta + field(4, axes))
        packed = values.tobytes() if kind == 1 else b"".join(map(varint, values.ravel().tolist()))
        data = field(5 if kind == 1 else 10, packed)
        saved = field(1, name.encode()) + field(2, axes) + field(3, data)
        rank = bytes([1, values.ndim]) if values.ndim else b"\0"
        key = b"\0" + name.encode() + b"\0\1" + rank + b"\x80\x7f" * values.ndim
        records[key] = field(2, saved)
    return table({b"": field(1, metas), **records}, **options)


def checkpoint_v2(variables: Arrays) -> tuple[bytes, bytes]:
    """TensorFlow's second format: the index, and the values."""
    types = {"float32": 1, "int64": 9}
    records, content = {b"": field(1, 1) + field(3, field(1, 1))}, b""
    for name in sorted(variables):
        values = variables[name].tobytes()
        entry = field(1, types[variables[name].dtype.name])
        entry += field(2, shape(variables[name].shape))
        entry += (field(4, len(content)) if content else b"") + field(5, len(values))
        records[name.encode()] = entry + fixed32(6, masked_crc32c(values))
        content += values
    return table(records), content


# Torch7


class Lua:
    """An object of a Lua class, to be written."""

    def __init__(self, class_name: str, **fields: Any) -> None:
        self.class_name, self.fields = class_name, fields


class View:
    """A tensor that reads a part of a flat storage, as getParameters() leaves them."""

    def __init__(self, storage: Any, offset: int, shape: tuple[int, ...]) -> None:
        self.storage, self.offset, self.shape = storage, offset, shape
        self.strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]


FUNCTION = object()


class Torch7Writer:
    """Follows File.lua: types, then numbers under which later references find an object again."""

    def __init__(self) -> None:
        self.out = b""
        self.numbers: dict[int, int] = {}
        self.kept: list[Any] = []  # otherwise another object could get the same id

    def write(self, value: Any) -> bytes:
        if value is None:
            self.ints(0)
        elif isinstance(value, bool):
            self.ints(5, value)
        elif isinstance(value, int | float):
            self.ints(1)
            self.out += struct.pack("<d", value)
        elif isinstance(value, str):
            self.ints(2)
            self.text(value)
        else:
            self.ints(3 if isinstance(value, dict) else 8 if value is FUNCTION else 4)
            self.numbered(value)
        return self.out

    def numbered(self, value: Any) -> None:
        if id(value) in self.numbers:
            self.ints(self.numbers[id(value)])
            return
        self.kept.append(value)
        self.numbers[id(value)] = len(self.kept)
        self.ints(len(self.kept))
        if value is FUNCTION:
            self.text("\x1bLJ bytecode")
            self.write({})
        elif isinstance(value, dict):
            self.ints(len(value))
            for key, item in value.items():
                self.write(key)
                self.write(item)
        elif isinstance(value, Lua):
            self.named(value.class_name)
            self.write(value.fields)
        elif isinstance(value, View):
            self.named("torch.CudaTensor")
            self.ints(len(value.shape))
            self.longs(*value.shape, *value.strides, value.offset + 1)
            self.write(value.storage)
        else:
            self.named("torch.CudaStorage")
            self.longs(len(value))
            self.out += value.tobytes()

    def named(self, class_name: str) -> None:
        self.text("V 1")
        self.text(class_name)

    def text(self, value: str) -> None:
        self.ints(len(value))
        self.out += value.encode("latin1")

    def ints(self, *values: int) -> None:
        self.out += struct.pack(f"<{len(values)}i", *values)

    def longs(self, *values: int) -> None:
        self.out += struct.pack(f"<{len(values)}q", *values)


def soundnet_t7(layers: Mapping[str, Arrays]) -> bytes:
    """The authors' nn.Sequential; all parameters are views of one storage."""
    storage, at, modules = np.concatenate([_flat(layer) for layer in layers.values()]), 0, []

    def view(*sizes: int) -> View:
        nonlocal at
        at += int(np.prod(sizes))
        return View(storage, at - int(np.prod(sizes)), sizes)

    for name, layer in layers.items():
        taps, _, read, made = layer["weights"].shape
        conv = Lua("cudnn.SpatialConvolution", weight=view(made, read, taps, 1), bias=view(made))
        conv.fields |= {"kH": taps, "kW": 1, "gradInput": None, "groups": 1, "check": FUNCTION}
        modules.append(conv)
        if "gamma" not in layer:
            continue
        norm = Lua("nn.SpatialBatchNormalization", weight=view(made), bias=view(made), eps=1e-5)
        for theirs, ours in (("running_mean", "mean"), ("running_var", "var")):
            norm.fields[theirs] = View(layer[ours], 0, (made,))
        modules += [norm, Lua("cudnn.ReLU", inplace=True)]
        if name in ("conv1", "conv2", "conv5"):
            modules.append(Lua("cudnn.SpatialMaxPooling", kH=8, ceil_mode=False))
    *backbone, conv8, conv8_2 = modules
    heads = Lua("nn.ConcatTable", modules={1: conv8, 2: conv8_2})
    inside = dict(enumerate([*backbone, heads], start=1))
    network = Lua("nn.Sequential", modules=inside, train=False, _type="torch.CudaTensor")
    network.fields["itself"] = network
    return Torch7Writer().write(network)


def _flat(layer: Arrays) -> np.ndarray:
    """A layer's parameters in the order of getParameters()."""
    kernel = layer["weights"].transpose(3, 2, 0, 1)
    order = [kernel.ravel(), layer["biases"]]
    return np.concatenate([*order, *(layer[n] for n in ("gamma", "beta") if n in layer)])


# numpy's pickles of Python 2


def python2_npy(layers: Mapping[str, Arrays], *, flags: bytes = b"\0") -> bytes:
    """What np.save of Python 2 made of a dictionary of dictionaries of arrays.

    `flags` of the arrays' dtype are 0 for numbers; 63 says that they are pointers to objects.
    """
    inside = _dictionary(
        {name: _dictionary(_pickled(layer, flags)) for name, layer in layers.items()}
    )
    held = _array_opcodes(b"(t", b"O8", b"|", b"(lp1\n" + inside + b"a", b"?")
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header = header.ljust((-10 - len(header) - 1) % 64 + len(header)) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + b"\x80\2" + held + b"."


def _pickled(layer: Arrays, flags: bytes) -> dict[str, bytes]:
    found = {}
    for name, values in layer.items():
        sizes = b"(" + b"".join(b"M" + struct.pack("<H", size) for size in values.shape) + b"t"
        raw = values.tobytes()
        content = b"T" + struct.pack("<i", len(raw)) + raw
        found[name] = _array_opcodes(sizes, b"f4", b"<", content, flags)
    return found


def _dictionary(items: Mapping[str, bytes]) -> bytes:
    pairs = b"".join(b"U" + bytes([len(k)]) + k.encode() + v for k, v in items.items())
    return b"}(" + pairs + b"u"


def _array_opcodes(sizes: bytes, kind: bytes, order: bytes, content: bytes, flags: bytes) -> bytes:
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\1btR"
    dtype = b"cnumpy\ndtype\n(U\2" + kind + b"K\0K\1tR(K\3U\1" + order + b"NNNJ\xff\xff\xff\xff"
    dtype += b"J\xff\xff\xff\xffK" + flags + b"tb"
    return array + b"(K\1" + sizes + dtype + b"\x89" + content + b"tb"
