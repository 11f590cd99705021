"""What blue held when green was last brought to its state, and which of a few points have moved since.

It stands in a ledger (`copying.side_ledger`), in files, and is read a piece at a time: nothing here grows with the
collection but the files. Only a sample of some hundred thousand points is kept in memory, as columns.

Whether a point has moved decides whether a difference counts against green. Invariant: it is never guessed. A
version says something only in the epoch in which it was noted (`domain.epoch`), which is read again *after* the
versions of now; else the content decides, by the digest that was noted when it was copied; and where there is
none, nothing can be said (`MovedUnknownError`), and the question is asked again after another pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from teal.domain import keys as k
from teal.domain.buckets import MIN_BUCKETS, id_hashes
from teal.domain.columns import (
    CONTENT,
    EMPTY,
    NO_DIGEST,
    UNKNOWN,
    Columns,
    Digests,
    Versions,
    columns_of,
    merged,
    pieces,
    together,
)
from teal.domain.epoch import Scan, comparable
from teal.domain.errors import TransientError
from teal.domain.keys import Keys, Mask, RawId
from teal.domain.observed import CollectionState, Version
from teal.domain.point_state import out_of_order
from teal.domain.slices import slice_of
from teal.migration.copying.circumstances import circumstances_on
from teal.migration.copying.scan import PartScan
from teal.migration.copying.scratch import Scratch
from teal.migration.copying.side_ledger import Change, SideLedger
from teal.qdrant import raw_keys, wire
from teal.qdrant.barrier import Barriers
from teal.qdrant.feed import Feed
from teal.qdrant.peers import identify
from teal.qdrant.pool import Server

SAMPLED: Final = 200_000
"""So many points are drawn at once; smaller samples are part of this one."""
READ: Final = 250
"""Contents that are read in one request."""
TURN: Final = 5000
"""Rows that are turned into ids in one go."""


class MovedUnknownError(TransientError):
    """Nothing tells whether some points have moved: look again after another pass."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "MovedUnknown",
            f"whether points of {name} were written meanwhile cannot be told, because versions from before and "
            "after a change in the cluster cannot be compared",
        )


class Known:
    """The rows of `ledger`, which are of the collection `state` on `server`."""

    def __init__(self, server: Server, state: CollectionState, ledger: SideLedger, version: Version) -> None:
        """`version` is the server's."""
        self._server, self._state, self._ledger, self._version = server, state, ledger, version
        self._reads = server.reads(state)
        self._feed: Feed | None = None
        self._sample: Columns = EMPTY

    def __len__(self) -> int:
        return len(self._ledger)

    # What is known

    @property
    def total(self) -> int:
        """The number of parts, which are slices of the ids (`domain.slices`)."""
        return self._ledger.total

    def rows(self, part: int) -> Iterator[Columns]:
        """One part."""
        return self._ledger.rows(part)

    def in_order(self) -> Iterator[Columns]:
        """All parts as one stream."""
        return merged(*(self._ledger.rows(part) for part in range(self.total)))

    async def sampled(self, count: int) -> list[RawId]:
        """`count` points, or all if there are no more: those with the smallest hashes, so always the same ones."""
        if len(self._sample) < min(count, len(self)):
            self._sample = await self._drawn(max(count, SAMPLED))
        found: list[RawId] = []
        for piece in pieces(_smallest(self._sample, count), TURN):
            found += raw_keys.raw_ids(piece.keys)
            await asyncio.sleep(0)
        return found

    async def _drawn(self, count: int) -> Columns:
        drawn, limit = [EMPTY], np.uint64(2**64 - 1)
        async for piece in self._ledger.all_rows():
            drawn.append(piece.take(id_hashes(piece.keys) <= limit))
            if sum(map(len, drawn)) >= 2 * count:
                drawn = [_smallest(_joined(drawn), count)]
                limit = id_hashes(drawn[0].keys).max()
        return _smallest(_joined(drawn), count)

    async def held(self, ids: Sequence[RawId]) -> set[RawId]:
        """Those of `ids` that are known at all."""
        keys = raw_keys.of(ids)
        there = k.locate(keys, (await self._known(keys)).keys)[1]
        return {ids[row] for row in np.flatnonzero(there).tolist()}

    async def _known(self, keys: Keys) -> Columns:
        """What is known of these, in ascending order."""
        keys = columns_of(keys).keys
        rows, there = k.locate(keys, self._sample.keys)
        if there.all():
            return self._sample.take(rows)
        found: list[Columns] = []
        parts = slice_of(keys, self.total)
        for part in np.unique(parts).tolist():
            wanted = k.take(keys, parts == part)
            for piece in self.rows(part):
                rows, there = k.locate(wanted, piece.keys)
                found.append(piece.take(rows[there]))
                await asyncio.sleep(0)
        return _joined(found)

    # What has moved since

    async def moved(self, ids: Sequence[RawId]) -> set[RawId]:
        """Those of `ids`, of which there are at most some thousands, that have been written, added or deleted on
        blue since they were known. What is not known was added, even if it has been deleted since.

        Raises:
            MovedUnknownError: of some of them nobody can tell.
        """
        if not ids:
            return set()
        asked = raw_keys.of(ids)
        known = await self._known(asked)
        seen = await (await self._the_feed()).versions(known.keys)
        same = await self._unmoved(known, seen)
        stays = k.locate(asked, k.take(known.keys, same))[1]
        return {ids[row] for row in np.flatnonzero(~stays).tolist()}

    async def _unmoved(self, known: Columns, seen: Columns) -> Mask:
        rows, there = k.locate(known.keys, seen.keys)
        now = np.full(len(known), UNKNOWN, np.int64)
        now[there] = seen.versions[rows[there]]
        same, told = _told(known.versions, now, await self._comparable(known, seen))
        unsure = there & ~told
        if unsure.any():
            digests = await self._digests(k.take(known.keys, unsure))
            noted = known.digests[unsure]
            gone = digests == NO_DIGEST
            if (~gone & (noted == NO_DIGEST)).any():
                raise MovedUnknownError(self._state.name)
            same[unsure] = ~gone & (noted == digests)
        return there & same

    async def _comparable(self, known: Columns, seen: Columns) -> Mask:
        """Of which rows the versions that are `known` can be compared with those `seen` just now."""
        now = await self.circumstances()
        parts = slice_of(known.keys, self.total)
        found = np.zeros(len(known), np.bool_)
        for part in np.unique(parts).tolist():
            floors = comparable(self._ledger.scans[part], now)
            if floors is None:
                continue
            of_part = parts == part
            if out_of_order(known.take(of_part), _within(seen, part, self.total), floors).any():
                return np.zeros(len(known), np.bool_)  # another replica has answered, and to all of it
            found |= of_part
        return found

    async def _digests(self, keys: Keys) -> Digests:
        """The digests of the contents of now; `NO_DIGEST` for what is not there."""
        found: dict[RawId, int] = {}
        ids = raw_keys.raw_ids(keys)
        for start in range(0, len(ids), READ):
            for point in await self._reads.fetch(self._state.name, ids[start : start + READ]):
                found[point.id] = wire.content_digest(point)
            await asyncio.sleep(0)
        return np.array([found.get(point, NO_DIGEST) for point in ids], np.uint64)

    async def circumstances(self) -> Scan:
        """The present ones (`copying.circumstances`)."""
        admin = self._server.admin
        barriers = Barriers(admin, self._state.name, await identify(admin))
        return await circumstances_on(self._version, self._state, barriers)

    async def _the_feed(self) -> Feed:
        if self._feed is None:
            self._feed = await self._server.feed(self._state)
        return self._feed


async def listed(
    server: Server, state: CollectionState, scratch: Scratch, say: Callable[[int], None] = lambda _: None
) -> Known:
    """What a collection holds now, by one scan of it; `say` is called with the number of points that were listed.

    No content is read: where versions cannot be compared, nothing tells later what has moved.
    """
    feed = await server.feed(state)
    ledger = SideLedger(scratch, await feed.slices(), MIN_BUCKETS)
    known = Known(server, state, ledger, await server.admin.version())
    before = await known.circumstances()
    scan, count, rewrite = PartScan(server, state, ledger.total), 0, None
    while (seen := await scan.next()) is not None:
        rewrite = rewrite or ledger.rewrite(seen.slice.index)
        await rewrite.put((), Change(recorded=seen.points))
        count += len(seen.points)
        say(count)
        if seen.upto is None:
            rewrite.finish()
            rewrite = None
    after = await known.circumstances()
    ledger.scans = [Scan.between(before.epoch, before.floors, after.epoch)] * ledger.total
    return known


def _told(then: Versions, now: Versions, comparable_: Mask) -> tuple[Mask, Mask]:
    """Which versions are the same, and of which pairs that tells anything."""
    numbers = comparable_ & (then != UNKNOWN) & (now != UNKNOWN) & (then < CONTENT) & (now < CONTENT)
    contents = (then >= CONTENT) & (now >= CONTENT)
    return then == now, numbers | contents


def _within(columns: Columns, part: int, total: int) -> Columns:
    return columns.take(slice_of(columns.keys, total) == part)


def _joined(found: Sequence[Columns]) -> Columns:
    """Columns of different points as one, in order."""
    whole = together(found)
    return whole.take(k.order(whole.keys))


def _smallest(columns: Columns, count: int) -> Columns:
    """The rows with the smallest hashes of their ids."""
    if count >= len(columns):
        return columns
    return columns.take(np.sort(np.argpartition(id_hashes(columns.keys), count - 1)[:count])) if count else EMPTY
