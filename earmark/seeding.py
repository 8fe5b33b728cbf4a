"""Random generators that depend on their key alone, never on call order, worker or machine."""

import hashlib

import numpy as np


def seed_for(seed: int, *keys: str | int) -> int:
    """Derive a 64-bit seed from the experiment's seed and a key such as ("pitch", clip)."""
    text = "\x1f".join([str(seed), *map(str, keys)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def rng_for(seed: int, *keys: str | int) -> np.random.Generator:
    """Return a generator that is the same for the same seed and key, on every machine.

    Args:
        seed: of the corpus (`seed` of params.yaml) or of a training (`model.seed`).
        keys: what is drawn, and for which clip, epoch or step.

    >>> rng_for(20181119, "pitch", "dog.wav").integers(100, size=4)
    array([50, 95, 63, 91])
    >>> rng_for(20181119, "pitch", "cat.wav").integers(100, size=4)
    array([62, 50, 18, 22])
    """
    return np.random.Generator(np.random.PCG64(seed_for(seed, *keys)))
