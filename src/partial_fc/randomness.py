"""Stateless randomness: every random choice is a function of (seed, purpose, indices), never of earlier draws.

A run therefore restarts bit for bit from its seed and its step, and neither the initial centers nor the order of the
data depends on the number of ranks.
"""

import hashlib
from typing import Sequence, Union

import numpy as np


def random_key(seed: int, purpose: str, *indices: int) -> int:
    """128-bit key of one random choice: a hash of the seed, the purpose and its indices."""
    name = "/".join([str(int(seed)), purpose] + [str(int(index)) for index in indices])
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """NumPy generator whose stream depends on the arguments alone (Philox: counter based, no warm-up)."""
    return np.random.Generator(np.random.Philox(key=random_key(seed, purpose, *indices)))


def uniforms(seed: int, purpose: str, index: int, things: Union[Sequence[int], np.ndarray], count: int) -> np.ndarray:
    """`count` random numbers for each thing, a function of (seed, purpose, index) and the thing alone.

    SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014), whose n-th number is a hash
    of n: a generator for each thing would cost more than decoding an image.

    Args:
        seed, purpose, index: as in `random_key`.
        things: (n,) integers.
        count: random numbers per thing.

    Returns:
        (n, count) float64, uniform in [0, 1).
    """
    start = np.uint64(random_key(seed, purpose, index) % 2**64)
    numbers = np.asarray(things).astype(np.uint64)[:, None] * np.uint64(count) + np.arange(count, dtype=np.uint64)
    bits = start + (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return (bits >> np.uint64(11)) * 2.0**-53
