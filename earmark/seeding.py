"""Random generators that depend on their key alone, never on call order, worker or machine."""

import hashlib

import numpy as np


def seed_for(seed: int, *keys: str | int) -> int:
    """Derive a 64-bit seed from the experiment's seed and a key such as ("pitch", clip)."""
    text = "\x1f".join([str(seed), *map(str, keys)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def rng_for(seed: int, *keys: str | int) -> np.random.Generator:
    """Return a generator that is the same for the same seed and key, on every machine."""
    return np.random.Generator(np.random.PCG64(seed_for(seed, *keys)))
