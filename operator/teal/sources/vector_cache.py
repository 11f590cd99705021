"""Vectors of texts that were embedded lately, so that equal texts are paid for once.

Bounded in bytes, least recently used first out. Texts are kept as hashes: a cache of someone's documents in the
operator's memory would be a leak waiting for a core dump.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class VectorCache:
    """An LRU of vectors by text, of at most `max_bytes` of vectors."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._vectors: OrderedDict[bytes, Floats] = OrderedDict()

    def get(self, text: str) -> Floats | None:
        """The vector of `text`, if it is still known."""
        key = _key(text)
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, text: str, vector: Floats) -> None:
        """Remember the vector of `text`; the ones unused for longest are forgotten for it."""
        key = _key(text)
        self._forget(key)
        # A copy: a row of a batch would keep the whole batch in memory.
        self._vectors[key] = vector.copy()
        self._bytes += vector.nbytes
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._vectors)))

    def __len__(self) -> int:
        return len(self._vectors)

    def _forget(self, key: bytes) -> None:
        vector = self._vectors.pop(key, None)
        if vector is not None:
            self._bytes -= vector.nbytes


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
