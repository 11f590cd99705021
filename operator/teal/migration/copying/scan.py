"""A scan of all points' versions that can stop in the middle and go on later.

Given a `Since`, it believes the ledger where the field by which points change says that nothing has: then only
ids are read, to see what is new and what is gone, and the versions of points that are new or have a high value.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from teal.domain.ledger import UNKNOWN, Ledger, RawId
from teal.domain.observed import CollectionState
from teal.migration.context import Context
from teal.qdrant.points import Probe


@dataclass(frozen=True)
class Since:
    """What is known, and by which filter those are found that may have changed."""

    ledger: Ledger
    where: bytes


class Scan:
    """`seen` is complete when `advance` has returned true. A scan that broke off begins anew, for what it has seen
    is a part that must not be taken for all."""

    def __init__(self, ctx: Context, state: CollectionState, since: Since | None = None) -> None:
        self._clock = ctx.clock
        self._since = since
        self._points, self._name, self._probe = ctx.server.points, state.name, Probe.of(state.schema)
        self._begin()

    def _begin(self) -> None:
        self.seen: dict[RawId, int] = {}
        self._pages: AsyncIterator[Mapping[RawId, int]] | None = (
            self._changed(self._since) if self._since else self._points.scan(self._name, self._probe)
        )

    async def _changed(self, since: Since) -> AsyncIterator[Mapping[RawId, int]]:
        suspects: set[RawId] = set()
        async for page in self._points.ids(self._name, where=since.where):
            suspects.update(page)
        known = since.ledger.versions
        async for page in self._points.ids(self._name):
            asked = [point for point in page if point in suspects or known.get(point, UNKNOWN) < 0]
            told = {point: known[point] for point in page if point in known}
            for point in asked:
                told.pop(point, None)
            yield told | await self._points.versions(self._name, asked, self._probe)

    async def advance(self, until: float) -> bool:
        """Read on until the monotonic time `until`, or to the end."""
        if self._pages is None:
            return True
        try:
            async for page in self._pages:
                self.seen.update(page)
                if self._clock.monotonic() >= until:
                    return False
        except BaseException:
            self._begin()
            raise
        self._pages = None
        return True


async def versions_of(ctx: Context, state: CollectionState) -> dict[RawId, int]:
    """All points of a collection with their versions, in one go."""
    found: dict[RawId, int] = {}
    async for page in ctx.server.points.scan(state.name, Probe.of(state.schema)):
        found.update(page)
    return found
