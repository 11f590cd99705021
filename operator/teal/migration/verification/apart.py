"""What only one of two sides has, in one go over the ids of both, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final

from teal.domain import keys as k
from teal.domain.columns import Columns
from teal.domain.keys import NO_KEYS, Keys, RawId
from teal.migration.verification.comparison import Comparison, Side
from teal.qdrant import raw_keys

CONFIRMED: Final = 10_000
"""How many differences are checked again."""
TOO_MANY: Final = f"more than {CONFIRMED:,} points were written meanwhile: too many"


class Few:
    """Up to `room` ids; of the others, only how many (`more`)."""

    def __init__(self, room: int = CONFIRMED) -> None:
        self.ids: list[RawId] = []
        self.more = 0
        self._room = room

    def __len__(self) -> int:
        return len(self.ids) + self.more

    def add(self, keys: Keys) -> None:
        """These, too."""
        room = self._room - len(self.ids)
        self.ids += raw_keys.raw_ids(k.take(keys, slice(0, room)))
        self.more += max(0, len(keys) - room)


def without(keys: Keys, others: Keys) -> Keys:
    """The sorted `keys` that are not among the sorted `others`."""
    return k.take(keys, ~k.locate(keys, others)[1])


async def ids_of(side: Side, where: bytes | None = None) -> AsyncIterator[Keys]:
    """The ids of a collection in ascending order; `where`, a serialized `Filter`, restricts it to some points."""
    async for page in side.reads.ids(side.name, where=where):
        yield raw_keys.of(page)


async def keys_in(stream: Iterable[Columns]) -> AsyncIterator[Keys]:
    """The keys of a stream."""
    for piece in stream:
        yield piece.keys


async def side_by_side(*streams: AsyncIterator[Keys]) -> AsyncIterator[tuple[Keys, ...]]:
    """Ascending keys side by side: what each of them has in the same range. An id that several have is in one
    row (as `columns.aligned`)."""
    heads = [await _next(stream) for stream in streams]
    while any(map(len, heads)):
        last = min(k.key_bytes(head, -1) for head in heads if len(head))
        row = []
        for place, head in enumerate(heads):
            cut = k.count_up_to(head, last) if len(head) else 0
            row.append(k.take(head, slice(0, cut)))
            rest = k.take(head, slice(cut, None))
            heads[place] = rest if len(rest) else await _next(streams[place])
        yield tuple(row)
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Sides:
    """What two sides list: how many each, and what only one of them does."""

    blue: int
    green: int
    only_blue: Few
    only_green: Few


class Listings:
    """Listings of both sides, each of the points of which some filter is true, and what has moved of those that
    only one side lists.

    At most about `CONFIRMED` points are asked about. `too_many`: there are more, and some of those that were asked
    about have moved. Then the others are taken as moved, too: that can excuse a difference, and makes up none.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._moved: set[RawId] = set()
        self.found: list[Sides] = []
        self.too_many = False

    async def add(self, where: bytes, *, on_blue: bool = True) -> None:
        """List the points of which `where`, a serialized `Filter`, is true; without `on_blue`, blue has none."""
        blue = ids_of(self._comparison.blue, where) if on_blue else keys_in(())
        green = ids_of(self._comparison.green, where)
        room = max(0, CONFIRMED - len(self._asked()))
        here, there, only_blue, only_green = 0, 0, Few(room), Few(room)
        async for ours, theirs in side_by_side(blue, green):
            here, there = here + len(ours), there + len(theirs)
            only_blue.add(without(ours, theirs))
            only_green.add(without(theirs, ours))
        self.found.append(Sides(here, there, only_blue, only_green))

    async def settle(self) -> None:
        """Find out what has moved, now that everything was listed."""
        self._moved = await self._comparison.known.moved(list(dict.fromkeys(self._asked())))
        self.too_many = bool(self._moved) and any(few.more for few in self._apart())

    def blue(self) -> list[int]:
        """By listing: how many points blue has, without those that only blue lists and that have moved."""
        return [each.blue - self._excused(each.only_blue) for each in self.found]

    def green(self) -> list[int]:
        """As `blue`."""
        return [each.green - self._excused(each.only_green) for each in self.found]

    def only_on_green(self) -> set[RawId]:
        """Points that only green lists, and that have not moved."""
        return {point for each in self.found for point in each.only_green.ids} - self._moved

    def _excused(self, few: Few) -> int:
        return len(self._moved.intersection(few.ids)) + (few.more if self.too_many else 0)

    def _apart(self) -> list[Few]:
        return [few for each in self.found for few in (each.only_blue, each.only_green)]

    def _asked(self) -> list[RawId]:
        return [point for few in self._apart() for point in few.ids]


async def _next(stream: AsyncIterator[Keys]) -> Keys:
    """The next keys; none at the end."""
    async for keys in stream:
        if len(keys):
            return keys
    return NO_KEYS
