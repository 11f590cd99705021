"""Whose vector on the replaced side of a switch may be older than the text beside it.

An application that sends a text and then its vector, in two requests, can have a switch come between them. The old
side then keeps the new text beside the vector of the one before, and nothing there shows it. So whatever changed
shortly before a switch is noted, and is embedded anew when it is carried back.

What is noted is a bucket for each id, not the id. So the note has a bounded size and leaves nothing out; what it
names by chance only costs an embedding.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Self

from teal.domain.ledger import RawId

BUCKETS = 1 << 16
SIZE = BUCKETS // 8
KEPT_SECONDS = 300.0
"""How far apart the two requests of an application may be, at least; twice of it at most."""


class Sieve:
    """A set of points that may have others in it, too, and misses none."""

    def __init__(self, bits: bytes = bytes(SIZE)) -> None:
        self._bits = bytearray(bits)

    def add(self, points: Iterable[RawId]) -> None:
        for point in points:
            bucket = zlib.crc32(point) % BUCKETS
            self._bits[bucket >> 3] |= 1 << (bucket & 7)

    def __contains__(self, point: RawId) -> bool:
        bucket = zlib.crc32(point) % BUCKETS
        return bool(self._bits[bucket >> 3] >> (bucket & 7) & 1)

    def __or__(self, other: Sieve) -> Sieve:
        return Sieve(bytes(a | b for a, b in zip(self._bits, other._bits, strict=True)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sieve) and self._bits == other._bits

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of_all(cls) -> Self:
        return cls(b"\xff" * SIZE)

    def about(self, collection: str) -> dict[str, Any]:
        """The mark that says that these are stale on `collection`."""
        packed = base64.b64encode(zlib.compress(bytes(self._bits), 9)).decode()
        return {"collection": collection, "points": packed}

    @classmethod
    def read(cls, mark: Mapping[str, Any] | None, collection: str) -> Self:
        """Those that `mark` says to be stale on `collection`: all of them if it cannot be read."""
        if mark is None or mark.get("collection") != collection:
            return cls()
        try:
            bits = zlib.decompress(base64.b64decode(str(mark.get("points")), validate=True))
        except (binascii.Error, zlib.error):
            return cls.of_all()
        return cls(bits) if len(bits) == SIZE else cls.of_all()


class Lately:
    """Which points have changed in the last five to ten minutes, in constant space."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, Sieve]] = []

    def note(self, points: Iterable[RawId], now: float) -> None:
        """At the monotonic time `now` these were found changed."""
        if not self._spans or now - self._spans[-1][0] > KEPT_SECONDS:
            self._spans = [*self._spans[-1:], (now, Sieve())]
        self._spans[-1][1].add(points)

    def recall(self, known: Sieve, now: float) -> None:
        """What an earlier process had noted not long before `now`."""
        self._spans = [(now, known | self.sieve(now))]

    def sieve(self, now: float) -> Sieve:
        found = Sieve()
        for since, points in self._spans:
            if now - since <= 2 * KEPT_SECONDS:
                found |= points
        return found
