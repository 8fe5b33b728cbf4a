"""Protocol buffers by their wire format alone: numbered fields, whatever message they are of."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

_N_BYTES = {1: 8, 5: 4}  # of the wire types of fixed length


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where the next thing starts.

    Raises:
        ValueError: the data end first, or it is longer than 64 bits.
    """
    value = 0
    for n_read, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * n_read
        if byte < 0x80:
            return value, at + n_read + 1
    raise ValueError("a number in it has no end")


@dataclass(frozen=True)
class Message:
    """The fields of one message by number; nothing of their contents is copied."""

    fields: dict[int, list[int | memoryview]]

    @classmethod
    def parse(cls, data: memoryview) -> Self:
        """Raises ValueError if the data are no message."""
        fields: dict[int, list[int | memoryview]] = defaultdict(list)
        at = 0
        while at < len(data):
            key, at = varint(data, at)
            number, wire_type = key >> 3, key & 7
            if wire_type == 0:
                value, at = varint(data, at)
                fields[number].append(value)
                continue
            if wire_type == 2:
                length, at = varint(data, at)
            elif wire_type in _N_BYTES:
                length = _N_BYTES[wire_type]
            else:
                raise ValueError(f"a field in it has the unknown wire type {wire_type}")
            if at + length > len(data):
                raise ValueError("a field in it is longer than what is there")
            fields[number].append(data[at : at + length])
            at += length
        return cls(dict(fields))

    def number(self, field: int) -> int:
        """A number, 0 if it is not there: writers leave zeros out."""
        value = self.fields.get(field, [0])[-1]
        return value if isinstance(value, int) else int.from_bytes(value[:8], "little")

    def all(self, field: int) -> list[memoryview]:
        """Every value of a field of bytes, text or messages."""
        values = self.fields.get(field, [])
        buffers = [value for value in values if isinstance(value, memoryview)]
        if len(buffers) < len(values):
            raise ValueError(f"field {field} in it is a number where bytes belong")
        return buffers

    def messages(self, field: int) -> list[Self]:
        return [self.parse(data) for data in self.all(field)]

    def text(self, field: int) -> str:
        """The text of a field, empty if it is not there."""
        return b"".join(self.all(field)[-1:]).decode("utf-8", "replace")
