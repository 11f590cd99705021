"""A scan of all points' versions that can stop in the middle and go on later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from teal.domain.ledger import RawId
from teal.domain.observed import CollectionState
from teal.migration.work import Work
from teal.qdrant.points import Probe


class Scan:
    """`seen` is complete when `advance` has returned true. A scan that broke off begins anew, for what it has seen
    is a part that must not be taken for all."""

    def __init__(self, work: Work, state: CollectionState) -> None:
        self._clock = work.clock
        self._points, self._name, self._probe = work.server.points, state.name, Probe.of(state.schema)
        self._begin()

    def _begin(self) -> None:
        self.seen: dict[RawId, int] = {}
        self._pages: AsyncIterator[Mapping[RawId, int]] | None = self._points.scan(self._name, self._probe)

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
