"""A scan of all points' versions that can stop in the middle and go on later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from teal.domain.ledger import RawId
from teal.domain.observed import CollectionState
from teal.migration.work import Work
from teal.qdrant.points import Probe


class Scan:
    """`seen` is complete when `advance` has returned true."""

    def __init__(self, work: Work, state: CollectionState) -> None:
        self._clock = work.clock
        self._pages: AsyncIterator[Mapping[RawId, int]] | None = work.server.points.scan(
            state.name, Probe.of(state.schema)
        )
        self.seen: dict[RawId, int] = {}

    async def advance(self, until: float) -> bool:
        """Read on until the monotonic time `until`, or to the end."""
        if self._pages is None:
            return True
        async for page in self._pages:
            self.seen.update(page)
            if self._clock.monotonic() >= until:
                return False
        self._pages = None
        return True
