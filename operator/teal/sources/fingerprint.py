"""A short fingerprint of an encoder, to notice if a provider changes a model under the same name.

The fingerprint is a locality-sensitive hash: for each of 64 fixed directions, one bit says on which side of it
the vector of a fixed sentence lies. Rounding differs between batches, machines and number formats, but changes
at most one or two bits. Another model changes about half of them. So compare two fingerprints by the number of
bits that differ, not with `==`. (A hash of rounded numbers would change whenever one number is close to a
rounding boundary.)
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

SENTENCE = "The quick brown fox jumps over the lazy dog while the port turns teal."
BITS = 64


def fingerprint(vector: NDArray[np.float32]) -> str:
    """`<dimensions>-<16 hex digits>` of a finite vector; only its direction matters, not its length."""
    sides = _directions(len(vector)) @ vector > 0
    return f"{len(vector)}-{np.packbits(sides).tobytes().hex()}"


def _directions(dimensions: int) -> NDArray[np.float32]:
    """BITS directions of +1 and -1, from a hash: the numbers of a random generator may change with its library."""
    raw = hashlib.shake_256(b"teal encoder fingerprint").digest(BITS * dimensions // 8)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8)).reshape(BITS, dimensions)
    return bits.astype(np.float32) * 2 - 1
