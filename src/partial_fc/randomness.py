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
