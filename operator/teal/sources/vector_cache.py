"""Vectors of recently embedded texts, so that equal texts are paid for once.

Limited in bytes; the least recently used vector is dropped first. Texts are kept as hashes: a core dump of the
operator must not contain documents of users.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class VectorCache:
    """An LRU cache of vectors by text, with at most `max_bytes` of vectors."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._vectors: OrderedDict[bytes, Floats] = OrderedDict()

    def get(self, text: str) -> Floats | None:
        """The vector of `text`, if it is cached."""
        key = _key(text)
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, text: str, vector: Floats) -> None:
        """Cache the vector of `text`; the least recently used ones are dropped for it."""
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
