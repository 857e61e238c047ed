"""Stateless randomness: every random choice is a function of (seed, purpose, indices), never of what was drawn before.

A run therefore restarts bit for bit from its seed and its step, and neither the initial centers nor the order of the
data depend on the number of ranks.
"""

import hashlib

import numpy as np


def random_key(seed, purpose, *indices):
    """128-bit key of one random choice: a hash of the seed (int), the purpose (str) and its indices (ints)."""
    name = "/".join([str(int(seed)), purpose] + [str(int(index)) for index in indices])
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")


def generator(seed, purpose, *indices):
    """NumPy generator whose stream depends on the arguments alone (Philox: counter based, no warm-up)."""
    return np.random.Generator(np.random.Philox(key=random_key(seed, purpose, *indices)))


def uniforms(seed, purpose, index, things, count):
    """`count` random numbers for each of many things, a function of (seed, purpose, index) and the thing alone.

    SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014), whose n-th number is a hash
    of n: a generator for each thing would cost more than to decode an image.

    Args:
        seed, purpose, index: as in `random_key`.
        things: (n,) integers.
        count: numbers a thing.

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
