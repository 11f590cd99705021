"""A write-ahead log: which points Teal is about to write to one of two live collections.

After a crash, a point that only one side has is either the application's newest write there, or one that Teal
copied there and the application has deleted on the other side since. Versions do not tell which. Without this log
every such point would count as new, and deleted points would come back.

The log is short: what both sides' marks prove (`domain.ledger.restore`) is dropped from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from teal.domain.ledger import RawId
from teal.domain.marks import Carried
from teal.migration.context import Context
from teal.qdrant import wire

MOST = 5_000
"""Points; a longer list would be too large for a mark, and what it leaves out counts as new after a crash."""


@dataclass
class WriteAheadLog:
    """Ids by the collection that they are written to, of the serving one and `retained`."""

    retained: str
    told: dict[str, set[RawId]] = field(default_factory=dict)
    lately: dict[str, set[RawId]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def read(cls, retained: str, mark: Carried | None) -> WriteAheadLog:
        """What an earlier process told."""
        points = mark.points if mark else {}
        return cls(retained, {name: {wire.raw_id(each) for each in ids} for name, ids in points.items()})

    def to(self, collection: str) -> set[RawId]:
        """What Teal may have written to it."""
        return self.told.get(collection, set())

    async def tell(self, ctx: Context, serving: str, collection: str, points: Iterable[RawId]) -> None:
        """On `serving`: these are going to be written to `collection`."""
        async with self._lock:
            told = self.told.setdefault(collection, set())
            room = MOST - len(told)
            fresh = set(list(set(points) - told)[: max(0, room)])
            self.lately.setdefault(collection, set()).update(points)
            if fresh:
                told |= fresh
                await ctx.server.mark(serving, self.as_mark())

    def keep_lately(self) -> None:
        """A round is over, and the marks vouch for all that was there when it began."""
        self.told, self.lately = self.lately, {}

    def as_mark(self) -> Carried:
        """As it stands on the serving collection."""
        points = {name: tuple(sorted(map(wire.plain_id, ids), key=str)) for name, ids in self.told.items() if ids}
        return Carried(self.retained, points)
