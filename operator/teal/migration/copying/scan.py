"""A scan of a collection's versions, part by part, that can stop between two parts and go on later.

Invariant: a part is given out once. After an error the scan goes on behind the last part that was given out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from teal.domain.observed import CollectionState
from teal.qdrant.feed import Part
from teal.qdrant.pool import Server


class PartScan:
    """`where`, a serialized `Filter`, restricts it to some points."""

    def __init__(self, server: Server, state: CollectionState, total: int, where: bytes | None = None) -> None:
        self._server, self._state, self._total, self._where = server, state, total, where
        self._parts: AsyncGenerator[Part] | None = None
        self._last: Part | None = None
        self._asking = False

    async def next(self) -> Part | None:
        """The next part; `None` when all have been given out. Parts behind it are being asked for meanwhile."""
        if self._last is not None and _ends(self._last, self._total):
            return None
        if self._parts is None:
            feed = await self._server.feed(self._state)
            self._parts = feed.scan(self._total, where=self._where, after=self._last)
        self._asking = True
        try:
            found = await anext(self._parts, None)
        except BaseException:
            self._parts = None
            raise
        finally:
            self._asking = False
        if found is not None:
            self._last = found
        return found

    def stop(self) -> None:
        """Ask for nothing more."""
        parts, self._parts = self._parts, None
        # One that is being asked just now ends with whoever asks.
        if parts is not None and not self._asking:
            _CLOSING.add(task := asyncio.ensure_future(parts.aclose()))
            task.add_done_callback(_CLOSING.discard)


_CLOSING: set[asyncio.Future[None]] = set()
"""Kept until they are done, because the event loop keeps only weak references."""


def _ends(part: Part, total: int) -> bool:
    return part.upto is None and part.slice.index == total - 1
