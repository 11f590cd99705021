"""Whose vector on the replaced side of a switch may be older than the text beside it.

An application that sends a text and then its vector, in two requests, can have a switch come between them. The old
side then keeps the new text beside the vector of the one before, and nothing there shows it. So every point
whose text changed shortly before a switch, and whose vector did not, is noted, and is embedded anew when it is
carried back.

What is noted is a bucket for each id, not the id. So the note has a bounded size and leaves nothing out; what it
names by chance only costs an embedding.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable
from typing import Self

from teal.domain.ledger import RawId
from teal.domain.marks import Stale

BUCKETS = 1 << 16
SIZE = BUCKETS // 8
KEPT_SECONDS = 600.0
"""How far apart the two requests of an application may be."""
REMEMBERED = 20_000
"""Vectors, by their hash. Of a point whose vector is not remembered, any new text counts."""


class Sieve:
    """A set of points that may have others in it, too, and misses none."""

    def __init__(self, bits: bytes = bytes(SIZE)) -> None:
        self._bits = bytearray(bits)

    def add(self, points: Iterable[RawId]) -> None:
        for point in points:
            byte, bit = _place(point)
            self._bits[byte] |= bit

    def __contains__(self, point: RawId) -> bool:
        byte, bit = _place(point)
        return bool(self._bits[byte] & bit)

    def __or__(self, other: Sieve) -> Sieve:
        return Sieve(bytes(a | b for a, b in zip(self._bits, other._bits, strict=True)))

    @classmethod
    def of_all(cls) -> Self:
        return cls(b"\xff" * SIZE)

    def as_mark(self, partner: str) -> Stale:
        """As it is noted about `partner`."""
        return Stale(partner, base64.b64encode(zlib.compress(bytes(self._bits), 9)).decode())

    @classmethod
    def read(cls, mark: Stale | None) -> Self:
        """What `as_mark` noted; none without a mark, all of them if it cannot be read."""
        if mark is None:
            return cls()
        try:
            bits = zlib.decompress(base64.b64decode(mark.points, validate=True))
        except (binascii.Error, zlib.error):
            return cls.of_all()
        return cls(bits) if len(bits) == SIZE else cls.of_all()


def _place(point: RawId) -> tuple[int, int]:
    """The byte and the bit of its bucket."""
    byte, bit = divmod(zlib.crc32(point) % BUCKETS, 8)
    return byte, 1 << bit


class Lately:
    """The points of one collection whose text has changed in the last ten minutes, and whose vector has not."""

    def __init__(self) -> None:
        self._vectors: dict[RawId, int] = {}
        self._since: dict[RawId, float] = {}
        self._recalled: tuple[float, Sieve] | None = None

    def see(self, point: RawId, vector: bytes, now: float, *, new_text: bool) -> None:
        """At the monotonic time `now` it was found with this vector, and with another text than before or not."""
        before, found = self._vectors.pop(point, None), hash(vector)
        self._vectors[point] = found
        if len(self._vectors) > REMEMBERED:
            del self._vectors[next(iter(self._vectors))]
        if before not in (None, found):
            self._since.pop(point, None)
        elif new_text:
            self._since.pop(point, None)
            self._since[point] = now
            self._forget(now)

    def _forget(self, now: float) -> None:
        while now - next(iter(self._since.values())) > KEPT_SECONDS:
            del self._since[next(iter(self._since))]

    def recall(self, known: Sieve, now: float) -> None:
        """What an earlier process had noted, not long before `now`."""
        self._recalled = now, known

    def sieve(self, now: float) -> Sieve:
        """All whose vector may be older than their text."""
        found = Sieve()
        found.add(point for point, since in self._since.items() if now - since <= KEPT_SECONDS)
        if self._recalled and now - self._recalled[0] <= KEPT_SECONDS:
            return found | self._recalled[1]
        return found
