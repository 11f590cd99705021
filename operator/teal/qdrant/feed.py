"""The version feed: every point of a collection with the number of its last change, part by part, as columns.

Qdrant has no feed of changes, but a scored answer tells for each point the sequence number of its last change. A
formula that scores all points alike reads no vector and needs none, so it answers for every point of every
collection. It is asked slice by slice (from 1.19 on), else by pages of ids. Where a server answers no formula,
pages of ids are asked for by their nearest vectors, and by content where there is none.

Invariants:
- The parts of a scan cover the collection: what is in no part was not there. So an answer that may have been cut
  by its limit is never taken for whole. It must leave a quarter of the limit unused, because a server first cuts,
  then leaves out what was deleted meanwhile; else the slice is asked for again in halves. And points of another
  slice mean that some peer does not know slices: over gRPC it does not refuse them, it answers with all points.
- A point has one version. One that is told twice has none that is known: of one shard the server tells the
  newest, so two shards hold the point, each numbering by itself, and the higher number would hide the changes of
  the other. `UNKNOWN` counts as changed whenever it is looked at.

The versions are those of one replica of each shard only if `points` is pinned, or every shard has one replica.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto
from math import ceil
from typing import Any, Final

import numpy as np
from qdrant_client import grpc as qdrant

from teal.domain import keys as k
from teal.domain.columns import EMPTY, NO_DIGEST, UNKNOWN, Columns, Versions
from teal.domain.errors import TerminalError, TransientError
from teal.domain.keys import Keys
from teal.domain.observed import CollectionState, Version
from teal.domain.slices import slice_of
from teal.qdrant import answers, raw_keys, wire
from teal.qdrant.errors import TooLargeError
from teal.qdrant.points import Points, Probe
from teal.qdrant.together import in_flight
from teal.qdrant.wire import RawId

SLICES_SINCE: Final = Version(1, 19)
SLICE_POINTS = 100_000
MOST_SLICES = 512  # every slice is looked for among all ids, so with many of them pages of ids are cheaper
LEAST_LIMIT = 1000
PAGE = 10_000

UNDERSAMPLED_FROM = 128
"""A limit from which on a server asks each of several shards for its share alone."""

_NO_FORMULA: Final = ("QdrantRefused", "QdrantUnsupported")


class Way(Enum):
    """How a server is asked for versions."""

    SLICES = auto()
    PAGES = auto()
    PROBE = auto()


@dataclass(frozen=True)
class Slice:
    """One of `total` parts of equal size that a hash of the ids makes of a collection, the same ones for ever."""

    total: int
    index: int

    def parts(self, count: int) -> list[Slice]:
        """The `count` slices that make up this one."""
        return [Slice(self.total * count, self.index + part * self.total) for part in range(count)]

    def filter(self, where: bytes | None = None) -> Any:
        """A `wire.Filter` for the points of this slice, of which `where` (a serialized `Filter`) is true."""
        sliced = qdrant.SliceCondition(total=self.total, index=self.index).SerializeToString()
        conditions = [{"slice": sliced}] if self.total > 1 else []
        return wire.Filter(must=[*conditions, *([{"filter": where}] if where else [])])


def power_of_two(wanted: int) -> int:
    """The least one that is not below `wanted`."""
    return 1 << max(0, wanted - 1).bit_length()


WHOLE: Final = Slice(1, 0)


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a collection: the points of `slice` whose keys lie above `after` and not above `upto`.

    A bound is a key of full length, `None` where there is none. What is not among `points` was not there.
    """

    slice: Slice
    points: Columns
    after: bytes | None = None
    upto: bytes | None = None


class Feed:
    """The versions of one collection, as its state and its server's version were when this was made.

    At most `streams` requests are under way. Methods raise as those of `Points` do, and a `TransientError` with
    the reason `SlicesUnknown` where a peer answers for more than the slice that it is asked for.
    """

    def __init__(self, points: Points, state: CollectionState, version: Version, *, streams: int = 4) -> None:
        strict = state.config.get("strict_mode_config") or {}
        limits = strict if strict.get("enabled") else {}
        self._points = points
        self._name = state.name
        self._shards = state.schema.shard_number or 1
        self._probe = Probe.of(state.schema)
        self._version = version
        self._streams = streams
        self._exact = limits.get("search_allow_exact") is not False
        self._most: int | None = limits.get("max_query_limit")
        self._most_ids = min(PAGE, limits.get("condition_max_size") or PAGE)
        self._way: Way | None = None

    async def way(self) -> Way:
        """How this server is asked; whether it answers formulas is tried once, with one point."""
        if self._way is None:
            self._way = await self._tried()
        return self._way

    async def slices(self) -> int:
        """How many slices suit a scan: a power of two, and not many, since each costs a look at all ids.

        1 without slices.
        """
        if await self.way() is not Way.SLICES:
            return 1
        count = await self._points.count(self._name, exact=False)
        wanted = max(ceil(count / SLICE_POINTS), min(self._streams, count // LEAST_LIMIT))
        return min(MOST_SLICES, power_of_two(wanted))

    async def scan(
        self, total: int | None = None, *, where: bytes | None = None, after: Part | None = None
    ) -> AsyncGenerator[Part]:
        """All points, or those of which `where` (a serialized `Filter`) is true, in parts.

        A part is one whole slice of `total` (default: `slices`), in the order of their indices; where the server
        has no slices, a range of keys, in ascending order. `after` is the last part that was taken of an earlier
        scan, which is gone on with.
        """
        if await self.way() is Way.SLICES:
            start = 0 if after is None else after.slice.index + 1
            requests = self._by_slice(total or await self.slices(), start, where)
        else:
            requests = self._by_range(after.upto if after else None, where)
        async with aclosing(in_flight(requests, self._streams)) as parts:
            async for part in parts:
                yield part

    async def versions(self, asked: Keys) -> Columns:
        """The points that exist of these, and their versions."""
        await self.way()
        return await self._versions(raw_keys.raw_ids(asked))

    # By slice

    async def _by_slice(
        self, total: int, start: int, where: bytes | None
    ) -> AsyncGenerator[Coroutine[Any, Any, Part]]:
        expected = await self._points.count(self._name, exact=False) / total
        for index in range(start, total):
            yield self._slice(Slice(total, index), expected, where)

    async def _slice(self, wanted: Slice, expected: float, where: bytes | None) -> Part:
        limit = self._limit(expected)
        pieces = wanted.parts(max(1, ceil(2 * expected / self._room(limit))))
        found: list[Columns] = []
        while pieces:
            piece = pieces.pop()
            if piece.total > max(MOST_SLICES, wanted.total):
                return self._part(wanted, [await self._paged(wanted, where)])
            try:
                columns, cut = await self._told(piece.filter(where), limit, piece)
            except TooLargeError as error:
                self._learn(error, limit)
                return await self._slice(wanted, expected, where)
            if cut:
                pieces += piece.parts(2)
            else:
                found.append(columns)
        return self._part(wanted, found)

    async def _paged(self, wanted: Slice, where: bytes | None) -> Columns:
        """A slice that would have to be cut into too many, as pages of its ids."""
        condition = wanted.filter(where).SerializeToString()
        pages = [
            await self._versions(ids)
            async for ids in self._points.ids(self._name, self._page, where=condition or None)
        ]
        return _joined(pages)

    def _part(self, wanted: Slice, found: Sequence[Columns]) -> Part:
        return Part(wanted, _joined(found))

    # By range of keys

    async def _by_range(
        self, after: bytes | None, where: bytes | None
    ) -> AsyncGenerator[Coroutine[Any, Any, Part]]:
        held = None
        start = raw_keys.raw_id(after) if after else None
        async for page in self._points.ids(self._name, self._page, start=start, where=where):
            ids = page[1:] if page[0] == start else page
            if not ids:
                continue
            if held is not None:
                upto = _last(held)
                yield self._range(held, after, upto)
                after = upto
            held = ids
        yield self._range(held or [], after, None)

    async def _range(self, ids: Sequence[RawId], after: bytes | None, upto: bytes | None) -> Part:
        return Part(WHOLE, await self._versions(ids), after, upto)

    async def _versions(self, ids: Sequence[RawId]) -> Columns:
        if self._way is Way.PROBE:
            return _of(await self._points.versions(self._name, ids, self._probe))
        found: list[Columns] = []
        start = 0
        while start < len(ids):
            page = ids[start : start + self._page]
            limit = self._limit(len(page))
            try:
                columns, cut = await self._told(wire.Filter(must=[{"has_id": {"has_id": page}}]), limit, WHOLE)
            except TooLargeError as error:
                self._learn(error, max(limit, len(page)))
                continue
            if cut and len(page) > 1:
                half = len(page) // 2
                columns = _joined([await self._versions(page[:half]), await self._versions(page[half:])])
            found.append(columns)
            start += len(page)
        return _joined(found)

    # What the server is asked, and for how much

    async def _tried(self) -> Way:
        try:
            await self._points.told(self._name, wire.Filter(), 1, exact=self._exact)
        except TerminalError as error:
            if error.reason not in _NO_FORMULA:
                raise
            return Way.PROBE
        return Way.SLICES if self._version >= SLICES_SINCE else Way.PAGES

    async def _told(self, condition: Any, limit: int, asked: Slice) -> tuple[Columns, bool]:
        """What is told of one slice, and whether the limit may have cut it."""
        answer = await self._points.told(self._name, condition, limit, exact=self._exact)
        found, rows = await asyncio.to_thread(self._read, answer, asked)
        return found, rows * 4 > self._room(limit) * 3

    def _read(self, answer: bytes, asked: Slice) -> tuple[Columns, int]:
        """The points of an answer, and how many rows it had."""
        told, versions = answers.read_versions(answer)
        found = _ordered(told, versions)
        if asked.total > 1 and (slice_of(found.keys, asked.total) != asked.index).any():
            raise TransientError(
                "SlicesUnknown",
                f"{self._points.endpoint.grpc_target} was asked for a part of {self._name!r} and answered with "
                "points of other parts, as a peer before Qdrant 1.19 does. Finish the upgrade of all peers; Teal "
                "looks again.",
            )
        return found, len(told)

    def _limit(self, expected: float) -> int:
        """The limit of a request for so many points: room for twice as many, as far as it is allowed."""
        wanted = max(LEAST_LIMIT, ceil(2 * expected))
        limit = wanted if self._exact else wanted * self._shards
        return limit if self._most is None else min(limit, self._most)

    def _room(self, limit: int) -> int:
        """How many points of one shard an answer with this limit can have at least."""
        return limit if self._exact or limit < UNDERSAMPLED_FROM else max(1, limit // self._shards)

    @property
    def _page(self) -> int:
        """How many ids are asked for at once."""
        most = self._most_ids if self._most is None else min(self._most_ids, self._room(self._most) // 2)
        return max(1, most)

    def _learn(self, error: TooLargeError, tried: int) -> None:
        """Keep to a limit that came meanwhile, unless asking for less cannot help."""
        if not 0 < error.limit < tried:
            raise error
        self._most = error.limit


def _of(versions: dict[RawId, int]) -> Columns:
    return _ordered(raw_keys.of(list(versions)), np.fromiter(versions.values(), np.int64, len(versions)))


def _joined(found: Sequence[Columns]) -> Columns:
    if len(found) == 1:
        return found[0]
    versions = [EMPTY.versions, *(columns.versions for columns in found)]
    return _ordered(k.joined(columns.keys for columns in found), np.concatenate(versions))


def _ordered(found: Keys, versions: Versions) -> Columns:
    """The points in order, each of them once."""
    rows = k.order(found)
    found, versions = k.take(found, rows), versions[rows]
    again = k.repeats(found)
    if again.any():
        versions[again[1:].nonzero()[0]] = UNKNOWN
        found, versions = k.take(found, ~again), versions[~again]
    return Columns(found, versions, np.full(len(found), NO_DIGEST, np.uint64))


def _last(ids: Sequence[RawId]) -> bytes:
    return raw_keys.of(ids[-1:]).tobytes()
