"""Stale vectors: points of the replaced collection whose vector may be older than their text.

An application may send a text and its vector in two requests, and a cut-over may come between them. Then the
replaced collection keeps the new text with the old vector, and nothing there shows it. So every point whose text
changed shortly before a cut-over, and whose vector did not, is noted, and is embedded again when it is copied
back.

The note is a Bloom filter with one hash: it has a fixed size and no false negatives. A false positive only costs
an embedding.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable
from typing import Self

from teal.domain.keys import RawId
from teal.domain.marks import Stale

BUCKETS = 1 << 16
SIZE = BUCKETS // 8
KEPT_SECONDS = 600.0
"""The longest time between the two requests of an application."""
REMEMBERED = 20_000
"""How many vectors are remembered, as hashes. For a point whose vector is not, any new text counts."""


class BloomFilter:
    """A Bloom filter with one hash: a set of points with no false negatives, and with some false positives."""

    def __init__(self, bits: bytes = bytes(SIZE)) -> None:
        self._bits = bytearray(bits)

    def add(self, points: Iterable[RawId]) -> None:
        for point in points:
            byte, bit = _place(point)
            self._bits[byte] |= bit

    def __contains__(self, point: RawId) -> bool:
        byte, bit = _place(point)
        return bool(self._bits[byte] & bit)

    def __or__(self, other: BloomFilter) -> BloomFilter:
        return BloomFilter(bytes(a | b for a, b in zip(self._bits, other._bits, strict=True)))

    @classmethod
    def of_all(cls) -> Self:
        return cls(b"\xff" * SIZE)

    def as_mark(self, partner: str) -> Stale:
        """The mark that notes this filter about `partner`."""
        return Stale(partner, base64.b64encode(zlib.compress(bytes(self._bits), 9)).decode())

    @classmethod
    def read(cls, mark: Stale | None) -> Self:
        """The filter that `as_mark` noted: empty without a mark, full if the mark cannot be read."""
        if mark is None:
            return cls()
        try:
            bits = zlib.decompress(base64.b64decode(mark.points, validate=True))
        except (binascii.Error, zlib.error):
            return cls.of_all()
        return cls(bits) if len(bits) == SIZE else cls.of_all()


def _place(point: RawId) -> tuple[int, int]:
    """The byte and the bit that stand for a point."""
    byte, bit = divmod(zlib.crc32(point) % BUCKETS, 8)
    return byte, 1 << bit


class RecentTextChanges:
    """The points of one collection whose text has changed in the last ten minutes, and whose vector has not."""

    def __init__(self) -> None:
        self._vectors: dict[RawId, int] = {}
        self._since: dict[RawId, float] = {}
        self._recalled: tuple[float, BloomFilter] | None = None

    def see(self, point: RawId, vector: bytes, now: float, *, new_text: bool) -> None:
        """At the monotonic time `now` the point had this vector; `new_text` says whether its text had changed."""
        before, present = self._vectors.pop(point, None), hash(vector)
        self._vectors[point] = present
        if len(self._vectors) > REMEMBERED:
            del self._vectors[next(iter(self._vectors))]
        if before not in (None, present):
            self._since.pop(point, None)
        elif new_text:
            self._since.pop(point, None)
            self._since[point] = now
            self._forget(now)

    def _forget(self, now: float) -> None:
        while now - next(iter(self._since.values())) > KEPT_SECONDS:
            del self._since[next(iter(self._since))]

    def recall(self, known: BloomFilter, now: float) -> None:
        """Take over what an earlier process had noted shortly before `now`."""
        self._recalled = now, known

    def stale(self, now: float) -> BloomFilter:
        """The points whose vector may be older than their text."""
        recent = BloomFilter()
        recent.add(point for point, since in self._since.items() if now - since <= KEPT_SECONDS)
        if self._recalled and now - self._recalled[0] <= KEPT_SECONDS:
            return recent | self._recalled[1]
        return recent
