"""A write-ahead log: which contents Teal is about to write to one of two live collections.

After a crash, a point that changed on one side is either the application's write, or one that Teal brought there.
Its version does not tell which; the digest of what was written does. Without this log, points that the application
has deleted meanwhile would be brought back.

An entry stays until the notes of both sides (`InStep`) are from after the write. The log is written in pieces, so
it may have any length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from teal.domain.marks import Carried, Key
from teal.domain.observed import CollectionState
from teal.migration.context import Context
from teal.qdrant import wire
from teal.qdrant.wire import RawId

PER_MARK = 1_000
DELETED = 0
"""The digest of a point that is deleted."""


@dataclass(eq=False)
class _Told:
    """What one caller told; `durable` once it is written."""

    collection: str
    written: Mapping[RawId, int]
    durable: bool = False


@dataclass
class WriteAheadLog:
    """Digests by point, by the collection that they are written to: all that were told, because a process that
    died in between has written some of them or none.

    It is written on the `newer` collection; on `retained` an earlier one may stand, from when that was the newer.

    `marks` are the pieces, each with the collection that it stands on.
    """

    newer: str
    retained: str
    marks: list[tuple[str, Carried]] = field(default_factory=list)
    _entries: dict[str, dict[RawId, tuple[int, ...]]] = field(default_factory=dict)
    _next: int = 0
    _sealed: int = 0
    _told: list[_Told] = field(default_factory=list)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def read(cls, newer: CollectionState, retained: CollectionState) -> WriteAheadLog:
        """What an earlier process told, or this one before a rollback."""
        earlier = [(retained.name, mark) for mark in retained.marks.carried_about(newer.name)]
        own = [(newer.name, mark) for mark in sorted(newer.marks.carried_about(retained.name), key=_number)]
        found = cls(newer.name, retained.name, [*earlier, *own])
        found._next = _number(own[-1][1]) + 1 if own else 0
        found.seal()
        found._index()
        return found

    def exchanged(self) -> WriteAheadLog:
        """The same log when the retained one is the newer, from now on."""
        found = WriteAheadLog(self.retained, self.newer, list(self.marks), dict(self._entries))
        found.seal()
        return found

    def __bool__(self) -> bool:
        return bool(self.marks)

    def has(self, collection: str, point: RawId, digest: int) -> bool:
        """Whether Teal may have written just this to it."""
        return digest in self._entries.get(collection, {}).get(point, ())

    def brought(self, collection: str, point: RawId) -> bool:
        """Whether Teal may have written the point to it, whatever the content."""
        return any(digest != DELETED for digest in self._entries.get(collection, {}).get(point, ()))

    async def tell(self, ctx: Context, collection: str, written: Mapping[RawId, int]) -> None:
        """These are going to be written to `collection`; durable when it returns.

        What several callers tell at the same time is written together.
        """
        if not written:
            return
        self._index_also(collection, written)
        mine = _Told(collection, written)
        self._told.append(mine)
        async with self._lock:
            if mine.durable:
                return
            together = list(self._told)
            await ctx.server.mark(self.newer, *self._append(together))
            for each in together:
                each.durable = True
            self._told = [each for each in self._told if not each.durable]

    def _append(self, told: Sequence[_Told]) -> Sequence[Carried]:
        """The marks that change by it. The last one is filled up, unless it was there when the round began."""
        first = len(self.marks) - 1 if len(self.marks) > self._sealed else len(self.marks)
        for each in told:
            collection, points = each.collection, _as_text(each.written)
            last = self.marks[-1][1] if len(self.marks) > self._sealed else None
            if last is not None and sum(map(len, last.points.values())) + len(points) <= PER_MARK:
                merged = {**last.points, collection: {**last.points.get(collection, {}), **points}}
                self.marks[-1] = self.newer, Carried(last.partner, merged)
            else:
                self.marks.append((self.newer, Carried(f"{self.retained}/{self._next}", {collection: points})))
                self._next += 1
        return [mark for _, mark in self.marks[max(first, 0) :]]

    def seal(self) -> None:
        """A round begins: if it leaves nothing over, its notes cover all that stands here now."""
        self._sealed = len(self.marks)

    def covered(self) -> dict[str, list[Key]]:
        """Forget what was sealed; by collection, the keys of the marks that go with the notes that cover them."""
        keys: dict[str, list[Key]] = {}
        for collection, mark in self.marks[: self._sealed]:
            keys.setdefault(collection, []).append(mark.key)
        del self.marks[: self._sealed]
        self._sealed = 0
        self._index()
        return keys

    def _index(self) -> None:
        self._entries = {}
        for _, mark in self.marks:
            for collection, points in mark.points.items():
                told = {wire.raw_id(wire.plain(point)): int(digest or "0", 16) for point, digest in points.items()}
                self._index_also(collection, told)

    def _index_also(self, collection: str, told: Mapping[RawId, int]) -> None:
        entries = self._entries.setdefault(collection, {})
        for point, digest in told.items():
            entries[point] = (*entries.get(point, ()), digest)


def _as_text(written: Mapping[RawId, int]) -> dict[str, str]:
    return {str(wire.plain_id(point)): f"{digest:x}" if digest else "" for point, digest in written.items()}


def _number(mark: Carried) -> int:
    text = mark.partner.rpartition("/")[2]
    return int(text) if text.isdecimal() else 0
