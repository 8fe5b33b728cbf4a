"""CRC-32C of large buffers, which TensorFlow's tables carry and no library here computes.

Shapes: L lanes of 128 words (16 bits) each; a register is the state of a division by the
polynomial, and is linear in the bytes, so that lanes run side by side and are combined afterwards.
"""

from functools import cache
from itertools import count

import numpy as np
from numpy.typing import NDArray

Registers = NDArray[np.uint32]

_POLYNOMIAL = np.uint32(0x82F63B78)  # Castagnoli's, reflected
_LANE_WORDS = 128
_PIECE_BYTES = 1 << 20  # the registers and words of one piece stay in the cache


def crc32c(data: memoryview) -> int:
    """The checksum of all bytes; 0xE3069283 for b"123456789"."""
    register = np.uint32(0)
    head = len(data) % _PIECE_BYTES
    if head:  # zeros before the data leave a register of zero as it is
        padded = np.zeros(_PIECE_BYTES, np.uint8)
        padded[-head:] = np.frombuffer(data[:head], np.uint8)
        register = _remainder(padded.view("<u2"))
    for start in range(head, len(data), _PIECE_BYTES):
        words = np.frombuffer(data[start : start + _PIECE_BYTES], "<u2")
        register = _advance(register, _PIECE_BYTES) ^ _remainder(words)
    start_value = _advance(np.uint32(0xFFFFFFFF), len(data))
    return int(register ^ start_value) ^ 0xFFFFFFFF


def is_masked_crc32c(data: memoryview, masked: int) -> bool:
    """Whether `masked` is the checksum as LevelDB stores it: rotated, and a constant added."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF == crc32c(data)


def _remainder(words: NDArray[np.uint16]) -> np.uint32:
    """The register after one piece of words that starts from zero."""
    lanes = np.ascontiguousarray(words.reshape(-1, _LANE_WORDS).T)  # (128, L)
    table = _word_table()
    registers: Registers = np.zeros(lanes.shape[1], np.uint32)
    for word in lanes:
        registers = table[(registers & 0xFFFF) ^ word] ^ (registers >> 16)
    for power in count(int(np.log2(2 * _LANE_WORDS))):  # neighbours are combined, again and again
        if len(registers) == 1:
            break
        registers = _apply(_zero_bytes(power), registers[0::2]) ^ registers[1::2]
    return np.uint32(registers[0])


def _advance(register: np.uint32, n_bytes: int) -> np.uint32:
    """The register after so many bytes of zero."""
    registers: Registers = np.array([register])
    for power in range(n_bytes.bit_length()):
        if n_bytes >> power & 1:
            registers = _apply(_zero_bytes(power), registers)
    return np.uint32(registers[0])


def _apply(columns: Registers, registers: Registers) -> Registers:
    """Multiply a matrix of bits, given by its columns (32,), with each of the registers."""
    is_set = registers[:, None] >> np.arange(32, dtype=np.uint32) & 1  # (L, 32)
    product: Registers = np.bitwise_xor.reduce(is_set * columns, axis=1)
    return product


@cache
def _zero_bytes(power: int) -> Registers:
    """The matrix that 2^power bytes of zero multiply a register with, as columns (32,)."""
    if power:
        half = _zero_bytes(power - 1)
        return _apply(half, half)
    return _clocked(np.uint32(1) << np.arange(32, dtype=np.uint32), n_bits=8)


@cache
def _word_table() -> Registers:
    return _clocked(np.arange(1 << 16, dtype=np.uint32), n_bits=16)


def _clocked(registers: Registers, *, n_bits: int) -> Registers:
    for _ in range(n_bits):
        registers = np.where(registers & 1, (registers >> 1) ^ _POLYNOMIAL, registers >> 1)
    return registers
